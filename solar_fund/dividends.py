"""What a built project earns, and where it goes, exact to the cent.

In this order: running costs; debt service; the sinking fund for inverter and removal; principal,
which returns to the solar fund and is granted again; interest on members' capital, capped; the
community pot; and the rest as the members voted: to pockets by equal parts, use and capital, or to
the fund. What cannot be paid is reported as uncovered and never borrowed from a later step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from solar_fund.errors import DistributionRefused, ParameterOutOfBounds
from solar_fund.legal_forms import LegalRules
from solar_fund.money import AMOUNT_MINOR_MAX, exponent_of, share_down, split_minor

BOUNDS: Mapping[str, tuple[Decimal, Decimal]] = {
    "interest_rate": (Decimal(0), Decimal("0.03")),
    "community_share": (Decimal(0), Decimal("0.20")),
    "rest_to_fund_share": (Decimal(0), Decimal(1)),
    "equal_share": (Decimal(0), Decimal(1)),
    "use_share": (Decimal(0), Decimal(1)),
    "capital_share": (Decimal(0), Decimal(1)),
}
"""Hard bounds of every voted parameter, both ends allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnsParameters:
    """What members vote on.

    Attributes:
        interest_rate: Yearly, on members' capital.
        community_share: Of what is left after interest, to the energy-poverty pot.
        rest_to_fund_share: Of the rest, to the fund; the remainder goes to pockets.
        equal_share: Part of the pockets' money split equally.
        use_share: Part split by electricity used.
        capital_share: Part split by capital held.

    Raises:
        ParameterOutOfBounds: One lies outside its bounds, or the last three do not sum to 1.
    """

    interest_rate: Decimal = Decimal("0.03")
    community_share: Decimal = Decimal("0.05")
    rest_to_fund_share: Decimal = Decimal(0)
    equal_share: Decimal = Decimal("0.5")
    use_share: Decimal = Decimal("0.5")
    capital_share: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            found: Decimal = getattr(self, name)
            if not found.is_finite() or not low <= found <= high:
                raise ParameterOutOfBounds(name, str(found), f"from {low} to {high}")
        total = self.equal_share + self.use_share + self.capital_share
        if total != 1:
            raise ParameterOutOfBounds(
                "equal_share + use_share + capital_share", str(total), "exactly 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStake:
    """A member's part in the fund.

    Attributes:
        member_id: Who.
        capital_minor: Capital held through the period [minor units].
        use_wh: Electricity used in the period [Wh].
        withholding_rate: Tax withheld from interest, from the member's tax class.
    """

    member_id: str
    capital_minor: int
    use_wh: int
    withholding_rate: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPeriod:
    """What a project earned and owes in a period [minor units].

    Attributes:
        project_id: Which one.
        period: Name of the period, such as `2026-10`.
        currency: Code of ISO 4217.
        avoided_purchases_minor: Metered own use at the group tariff.
        export_revenue_minor: Metered export, as paid.
        running_costs_minor: Operation, insurance, lease.
        debt_service_minor: Interest and principal of loans.
        sinking_due_minor: To be set aside for inverter and removal.
        principal_due_minor: To return to the fund, see `straight_line_due_minor`.
        months: Length of the period, for interest.
        stakes: One per member.
        evidence: Hash of the metered report, SHA-256 in hexadecimal.
    """

    project_id: str
    period: str
    currency: str
    avoided_purchases_minor: int
    export_revenue_minor: int
    running_costs_minor: int
    debt_service_minor: int
    sinking_due_minor: int
    principal_due_minor: int
    months: int
    stakes: tuple[MemberStake, ...]
    evidence: str

    def __post_init__(self) -> None:
        exponent_of(self.currency)
        for name in (
            "avoided_purchases_minor",
            "export_revenue_minor",
            "running_costs_minor",
            "debt_service_minor",
            "sinking_due_minor",
            "principal_due_minor",
        ):
            if not 0 <= getattr(self, name) <= AMOUNT_MINOR_MAX:
                raise DistributionRefused(f"{name} must be from 0 to {AMOUNT_MINOR_MAX}")
        if not 1 <= self.months <= 12:
            raise DistributionRefused("a period has 1 to 12 months")
        if not self.stakes or len({s.member_id for s in self.stakes}) != len(self.stakes):
            raise DistributionRefused("stakes must name at least one member, each of them once")
        if any(s.capital_minor < 0 or s.use_wh < 0 for s in self.stakes):
            raise DistributionRefused("capital and use are not negative")
        if any(not 0 <= s.withholding_rate <= 1 for s in self.stakes):
            raise DistributionRefused("a withholding rate is from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberReturn:
    """What a member gets from a project's period [minor units]."""

    member_id: str
    interest_minor: int
    withheld_minor: int
    pocket_minor: int
    capital_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnsSplit:
    """A project's period, split; the parts sum to `gross_minor` [minor units]."""

    project: ProjectPeriod
    gross_minor: int
    running_costs_minor: int
    debt_service_minor: int
    sinking_minor: int
    principal_minor: int
    interest_minor: int
    community_minor: int
    to_fund_minor: int
    to_pockets_minor: int
    uncovered_minor: int
    members: tuple[MemberReturn, ...]


def straight_line_due_minor(
    cost_minor: int, life_months: int, months_before: int, months: int
) -> int:
    """Principal due in a period when a cost is paid back evenly over its life.

    The parts of all periods sum to the cost exactly.

    Args:
        cost_minor: What the fund granted [minor units].
        life_months: Over how many months it returns.
        months_before: Months that passed before this period.
        months: Length of this period.
    """
    before = min(months_before, life_months)
    after = min(months_before + months, life_months)
    return cost_minor * after // life_months - cost_minor * before // life_months


def split_returns(
    project: ProjectPeriod, rules: LegalRules, parameters: ReturnsParameters | None = None
) -> ReturnsSplit:
    """Split what a project earned in a period.

    Args:
        project: Metered earnings and dues.
        rules: Of the cooperative's legal form.
        parameters: As voted; None means the defaults, lowered to what the form allows.

    Raises:
        DistributionRefused: The form forbids what was voted: interest above its ceiling, or, for a
            society without patronage dividends, anything to pockets.
    """
    voted = _allowed(rules, parameters)
    gross_minor = project.avoided_purchases_minor + project.export_revenue_minor
    left_minor, uncovered_minor, paid = gross_minor, 0, []
    for due_minor in (
        project.running_costs_minor,
        project.debt_service_minor,
        project.sinking_due_minor,
        project.principal_due_minor,
    ):
        paid_minor = min(due_minor, left_minor)
        paid.append(paid_minor)
        left_minor -= paid_minor
        uncovered_minor += due_minor - paid_minor
    stakes = sorted(project.stakes, key=lambda stake: stake.member_id)
    capital = [stake.capital_minor for stake in stakes]
    interest_minor = min(
        left_minor, share_down(sum(capital) * project.months, voted.interest_rate) // 12
    )
    left_minor -= interest_minor
    community_minor = share_down(left_minor, voted.community_share)
    left_minor -= community_minor
    to_fund_minor = share_down(left_minor, voted.rest_to_fund_share)
    to_pockets_minor = left_minor - to_fund_minor
    if rules.surplus_as_capital_credits:
        to_fund_minor, to_pockets_minor = left_minor, 0
    return ReturnsSplit(
        project=project,
        gross_minor=gross_minor,
        running_costs_minor=paid[0],
        debt_service_minor=paid[1],
        sinking_minor=paid[2],
        principal_minor=paid[3],
        interest_minor=interest_minor,
        community_minor=community_minor,
        to_fund_minor=to_fund_minor,
        to_pockets_minor=to_pockets_minor,
        uncovered_minor=uncovered_minor,
        members=_member_returns(stakes, voted, interest_minor, to_fund_minor, to_pockets_minor),
    )


def _allowed(rules: LegalRules, parameters: ReturnsParameters | None) -> ReturnsParameters:
    if parameters is None:
        return ReturnsParameters(
            interest_rate=min(Decimal("0.03"), rules.interest_rate_max),
            rest_to_fund_share=Decimal(0) if rules.patronage_dividend else Decimal(1),
        )
    if parameters.interest_rate > rules.interest_rate_max:
        raise DistributionRefused(
            f"a {rules.form} pays at most {rules.interest_rate_max} interest a year, voted were"
            f" {parameters.interest_rate}"
        )
    if not rules.patronage_dividend and parameters.rest_to_fund_share != 1:
        raise DistributionRefused(
            f"a {rules.form} pays no dividend by use: rest_to_fund_share must be 1"
        )
    return parameters


def _member_returns(
    stakes: Sequence[MemberStake],
    voted: ReturnsParameters,
    interest_minor: int,
    to_fund_minor: int,
    to_pockets_minor: int,
) -> tuple[MemberReturn, ...]:
    weights = _weights(stakes, voted)
    interest = _split_or_none(interest_minor, [stake.capital_minor for stake in stakes])
    pockets = split_minor(to_pockets_minor, weights)
    capital = split_minor(to_fund_minor, weights)
    return tuple(
        MemberReturn(
            member_id=stake.member_id,
            interest_minor=own_interest,
            withheld_minor=share_down(own_interest, stake.withholding_rate),
            pocket_minor=own_pocket,
            capital_minor=own_capital,
        )
        for stake, own_interest, own_pocket, own_capital in zip(
            stakes, interest, pockets, capital, strict=True
        )
    )


def _weights(stakes: Sequence[MemberStake], voted: ReturnsParameters) -> list[Fraction]:
    """Voted mix of equal parts, use and capital; a key nobody has a part in counts as equal."""
    use_wh = sum(stake.use_wh for stake in stakes)
    capital_minor = sum(stake.capital_minor for stake in stakes)
    equal = Fraction(1, len(stakes))
    return [
        Fraction(voted.equal_share) * equal
        + Fraction(voted.use_share) * (Fraction(stake.use_wh, use_wh) if use_wh else equal)
        + Fraction(voted.capital_share)
        * (Fraction(stake.capital_minor, capital_minor) if capital_minor else equal)
        for stake in stakes
    ]


def _split_or_none(amount_minor: int, weights: Sequence[int]) -> list[int]:
    return split_minor(amount_minor, weights) if any(weights) else [0] * len(weights)
