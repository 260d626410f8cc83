"""From a period's measured savings to pockets, reserve and fund, exact to the cent.

Every member with a gain is billed the old price, so the gains arrive at the cooperative as the
pool. Out of the pool, in this order:

1. members who lost are made whole, and losses carried from earlier periods are repaid;
2. an uncertain part is held back until the twelve-month true-up;
3. direct costs, up to a cap;
4. the reserve, until it holds its target; what overflows goes on to the fund;
5. the solar fund, credited to each member's capital by own gain (patronage);
6. the members' pockets: the rest, by own gain.

If the losses exceed the gains nothing is distributed: losers are still made whole, and the deficit
stands on the equalisation account until later gains repay it. Shares are rounded down, so that the
rounding cents land in the pockets; among members the largest remainder decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from solar_fund.errors import DistributionRefused, ParameterOutOfBounds
from solar_fund.money import AMOUNT_MINOR_MAX, exponent_of, share_down, share_up, split_minor

MEMBERS_MAX = 1_000_000


BOUNDS: Mapping[str, tuple[Decimal, Decimal]] = {
    "cost_cap_share": (Decimal(0), Decimal("0.10")),
    "reserve_share": (Decimal(0), Decimal("0.20")),
    "fund_share": (Decimal("0.10"), Decimal("0.60")),
    "pocket_floor_share": (Decimal("0.40"), Decimal(1)),
    "hold_back_sigmas": (Decimal(0), Decimal(3)),
    "reserve_target_months": (Decimal(0), Decimal(60)),
}
"""Hard bounds of every voted parameter, both ends allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallParameters:
    """What members vote on, each within hard bounds.

    Attributes:
        cost_cap_share: Direct costs may take at most this share of what is distributed.
        reserve_share: Goes to the reserve until it holds its target.
        fund_share: Goes to the solar fund.
        pocket_floor_share: At least this goes to the pockets.
        hold_back_sigmas: Standard errors of the measured saving that are held back.
        reserve_target_months: Months of costs that the reserve should hold.

    Raises:
        ParameterOutOfBounds: A share lies outside its bounds, or together they leave less for the
            pockets than the floor.
    """

    cost_cap_share: Decimal = Decimal("0.10")
    reserve_share: Decimal = Decimal("0.10")
    fund_share: Decimal = Decimal("0.30")
    pocket_floor_share: Decimal = Decimal("0.40")
    hold_back_sigmas: Decimal = Decimal("0.5")
    reserve_target_months: Decimal = Decimal(6)

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            found: Decimal = getattr(self, name)
            if not found.is_finite() or not low <= found <= high:
                raise ParameterOutOfBounds(name, str(found), f"from {low} to {high}")
        taken = self.cost_cap_share + self.reserve_share + self.fund_share
        if taken > 1 - self.pocket_floor_share:
            raise ParameterOutOfBounds(
                "cost_cap_share + reserve_share + fund_share",
                str(taken),
                f"at most {1 - self.pocket_floor_share} so that the pockets keep their floor",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSaving:
    """A member's measured saving in the period.

    Attributes:
        member_id: Whose.
        saving_minor: Cost on the old tariff less actual cost; negative for a loser [minor units].
        evidence: Hash of the member's calculation, SHA-256 in hexadecimal.
    """

    member_id: str
    saving_minor: int
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a period's split needs to know.

    Attributes:
        period: Name of the period, such as `2026-10`; part of the idempotency keys.
        currency: Code of ISO 4217.
        savings: One per member, any order.
        evidence: Hash of the report all savings come from, SHA-256 in hexadecimal.
        costs_minor: Direct costs of the period: metering, licences, bank [minor units].
        sigma_minor: Standard error of the total saving [minor units].
        carried_loss_minor: Deficit that stands on the equalisation account [minor units].
        reserve_minor: What the reserve holds now [minor units].
        monthly_costs_minor: Usual costs of a month, for the reserve's target [minor units].
    """

    period: str
    currency: str
    savings: tuple[MemberSaving, ...]
    evidence: str
    costs_minor: int = 0
    sigma_minor: int = 0
    carried_loss_minor: int = 0
    reserve_minor: int = 0
    monthly_costs_minor: int = 0

    def __post_init__(self) -> None:
        exponent_of(self.currency)
        ids = {saving.member_id for saving in self.savings}
        if not self.savings or len(ids) != len(self.savings) or len(ids) > MEMBERS_MAX:
            raise DistributionRefused(
                f"savings must name 1 to {MEMBERS_MAX} members, each of them once"
            )
        for name in (
            "costs_minor",
            "sigma_minor",
            "carried_loss_minor",
            "reserve_minor",
            "monthly_costs_minor",
        ):
            if not 0 <= getattr(self, name) <= AMOUNT_MINOR_MAX:
                raise DistributionRefused(f"{name} must be from 0 to {AMOUNT_MINOR_MAX}")
        if sum(abs(saving.saving_minor) for saving in self.savings) > AMOUNT_MINOR_MAX:
            raise DistributionRefused(f"the savings exceed {AMOUNT_MINOR_MAX} minor units")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberShare:
    """What a member gets out of a period [minor units]."""

    member_id: str
    saving_minor: int
    made_whole_minor: int
    capital_minor: int
    pocket_minor: int
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingsSplit:
    """A period's split; what comes in equals what goes out [minor units].

    Attributes:
        settlement: What it was made from.
        gains_minor: Sum of the winners' savings: the pool.
        deficit_minor: What the equalisation account adds because losses exceed gains.
        made_whole_minor: To members who lost.
        repaid_loss_minor: Back to the equalisation account.
        held_back_minor: Until the true-up.
        costs_minor: Direct costs that are paid now.
        uncovered_costs_minor: Direct costs above the cap, left for a later period.
        reserve_minor: To the reserve.
        fund_minor: To the solar fund, as members' capital.
        pocket_minor: To members' pockets, without what makes losers whole.
        members: One per member, in order of id.
    """

    settlement: Settlement
    gains_minor: int
    deficit_minor: int
    made_whole_minor: int
    repaid_loss_minor: int
    held_back_minor: int
    costs_minor: int
    uncovered_costs_minor: int
    reserve_minor: int
    fund_minor: int
    pocket_minor: int
    members: tuple[MemberShare, ...]

    @property
    def net_saving_minor(self) -> int:
        """Gains less losses [minor units]."""
        return self.gains_minor - self.made_whole_minor

    @property
    def total_in_minor(self) -> int:
        """All that comes in [minor units]."""
        return self.gains_minor + self.deficit_minor

    @property
    def total_out_minor(self) -> int:
        """All that goes out [minor units]."""
        return (
            self.made_whole_minor
            + self.repaid_loss_minor
            + self.held_back_minor
            + self.costs_minor
            + self.reserve_minor
            + self.fund_minor
            + self.pocket_minor
        )


def split_savings(
    settlement: Settlement, parameters: WaterfallParameters | None = None
) -> SavingsSplit:
    """Split a period's savings by the voted parameters.

    Args:
        settlement: The measured savings and the state of reserve and equalisation account.
        parameters: As voted; None means the defaults.

    Returns:
        A split whose `total_in_minor` equals its `total_out_minor`.

    Source: the waterfall in the cooperative's by-laws template, docs of this project.
    """
    voted = WaterfallParameters() if parameters is None else parameters
    gains_minor = sum(max(saving.saving_minor, 0) for saving in settlement.savings)
    losses_minor = sum(max(-saving.saving_minor, 0) for saving in settlement.savings)
    deficit_minor = max(losses_minor - gains_minor, 0)
    left_minor = max(gains_minor - losses_minor, 0)
    repaid_loss_minor = min(settlement.carried_loss_minor, left_minor)
    left_minor -= repaid_loss_minor
    held_back_minor = min(left_minor, share_up(settlement.sigma_minor, voted.hold_back_sigmas))
    base_minor = left_minor - held_back_minor

    costs_minor = min(settlement.costs_minor, share_down(base_minor, voted.cost_cap_share))
    to_reserve_minor = share_down(base_minor, voted.reserve_share)
    target_minor = share_up(settlement.monthly_costs_minor, voted.reserve_target_months)
    reserve_minor = min(to_reserve_minor, max(target_minor - settlement.reserve_minor, 0))
    overflow_minor = to_reserve_minor - reserve_minor
    fund_minor = share_down(base_minor, voted.fund_share) + overflow_minor
    pocket_minor = base_minor - costs_minor - reserve_minor - fund_minor
    return SavingsSplit(
        settlement=settlement,
        gains_minor=gains_minor,
        deficit_minor=deficit_minor,
        made_whole_minor=losses_minor,
        repaid_loss_minor=repaid_loss_minor,
        held_back_minor=held_back_minor,
        costs_minor=costs_minor,
        uncovered_costs_minor=settlement.costs_minor - costs_minor,
        reserve_minor=reserve_minor,
        fund_minor=fund_minor,
        pocket_minor=pocket_minor,
        members=_member_shares(settlement, fund_minor, pocket_minor),
    )


def _member_shares(
    settlement: Settlement, fund_minor: int, pocket_minor: int
) -> tuple[MemberShare, ...]:
    ordered: Sequence[MemberSaving] = sorted(
        settlement.savings, key=lambda saving: saving.member_id
    )
    patronage = [max(saving.saving_minor, 0) for saving in ordered]
    capital_parts = split_minor(fund_minor, patronage)
    pocket_parts = split_minor(pocket_minor, patronage)
    return tuple(
        MemberShare(
            member_id=saving.member_id,
            saving_minor=saving.saving_minor,
            made_whole_minor=max(-saving.saving_minor, 0),
            capital_minor=capital_minor,
            pocket_minor=own_pocket_minor,
            evidence=saving.evidence or settlement.evidence,
        )
        for saving, capital_minor, own_pocket_minor in zip(
            ordered, capital_parts, pocket_parts, strict=True
        )
    )
