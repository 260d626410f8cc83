"""Paying capital back: at par, first come first served, only as far as the fund stays liquid.

Exits by death or leaving come before ordinary requests. Capital must have been held for a minimum
time, a year's total is capped, and the board may suspend redemptions with a stated reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from solar_fund.errors import DistributionRefused, RedemptionRefused
from solar_fund.ledger.accounts import BANK, CAPITAL, FUND_CASH, POCKET, member_account
from solar_fund.ledger.journal import EntryDraft, Leg
from solar_fund.money import share_down


class RedemptionReason(IntEnum):
    """Why capital is paid back; lower numbers come first."""

    EXIT = 0
    ORDINARY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CapitalLot:
    """Capital credited to a member at one time [minor units]."""

    member_id: str
    credited_at: datetime
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionRequest:
    """A member's wish to have capital back.

    Attributes:
        request_id: Names it for good.
        member_id: Whose capital.
        asked_at: Decides the order, aware UTC.
        amount_minor: How much, positive [minor units].
        reason: An exit comes before ordinary requests and needs no minimum time.
    """

    request_id: str
    member_id: str
    asked_at: datetime
    amount_minor: int
    reason: RedemptionReason = RedemptionReason.ORDINARY

    def __post_init__(self) -> None:
        if self.amount_minor <= 0:
            raise RedemptionRefused(self.member_id, "the amount must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionRules:
    """What the members decided.

    Attributes:
        years_held_min: Capital younger than this stays, except on exit.
        yearly_share_max: Of all capital, at most this much is paid back in a year.
        months_of_costs_kept: Cash for this many months of costs is not touched.
        suspended_because: The board's reason while redemptions are suspended.
    """

    years_held_min: int = 3
    yearly_share_max: Decimal = Decimal("0.10")
    months_of_costs_kept: int = 6
    suspended_because: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.yearly_share_max <= 1 or self.years_held_min < 0:
            raise DistributionRefused("redemption rules need a share from 0 to 1 and whole years")


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidity:
    """What the fund has and owes [minor units].

    Attributes:
        cash_minor: The fund's cash.
        monthly_costs_minor: Usual costs of a month.
        pending_grants_minor: Grants reserved and not yet paid.
        redeemed_this_year_minor: Capital paid back in this year so far.
    """

    cash_minor: int
    monthly_costs_minor: int
    pending_grants_minor: int
    redeemed_this_year_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionDecision:
    """What becomes of a request now.

    Attributes:
        request: Which one.
        paid_minor: What is paid back now; the rest stays in the queue [minor units].
        why_not_more: The rule that limits it; None when it is paid in full.
    """

    request: RedemptionRequest
    paid_minor: int
    why_not_more: str | None


def plan_redemptions(
    requests: Iterable[RedemptionRequest],
    lots: Sequence[CapitalLot],
    redeemed_minor: Mapping[str, int],
    liquidity: Liquidity,
    rules: RedemptionRules,
    now: datetime,
) -> list[RedemptionDecision]:
    """Decide all waiting requests in their order.

    When one request takes the last of the money, later ones wait: nobody overtakes.

    Args:
        requests: Waiting ones, any order.
        lots: All capital ever credited.
        redeemed_minor: Capital paid back before, by member [minor units].
        liquidity: Of the fund now.
        rules: As decided.
        now: Aware UTC.
    """
    ordered = sorted(requests, key=lambda r: (r.reason, r.asked_at, r.request_id))
    if rules.suspended_because is not None:
        why = f"redemptions are suspended: {rules.suspended_because}"
        return [RedemptionDecision(request=r, paid_minor=0, why_not_more=why) for r in ordered]
    credited_minor = sum(lot.amount_minor for lot in lots)
    capital_minor = credited_minor - sum(redeemed_minor.values())
    base_minor = capital_minor + liquidity.redeemed_this_year_minor
    year_left_minor = max(
        share_down(base_minor, rules.yearly_share_max) - liquidity.redeemed_this_year_minor, 0
    )
    kept_minor = rules.months_of_costs_kept * liquidity.monthly_costs_minor
    cash_left_minor = max(liquidity.cash_minor - kept_minor - liquidity.pending_grants_minor, 0)
    taken_minor = dict(redeemed_minor)
    decisions = []
    for request in ordered:
        held_minor = _redeemable_minor(request, lots, taken_minor, rules, now)
        limits = [
            (request.amount_minor, None),
            (held_minor, f"only capital held for {rules.years_held_min} years can be paid back"),
            (year_left_minor, f"at most {rules.yearly_share_max} of all capital a year"),
            (cash_left_minor, "the fund keeps cash for its costs and the grants it promised"),
        ]
        paid_minor, why_not_more = min(limits, key=lambda limit: limit[0])
        year_left_minor -= paid_minor
        cash_left_minor -= paid_minor
        taken_minor[request.member_id] = taken_minor.get(request.member_id, 0) + paid_minor
        decisions.append(
            RedemptionDecision(request=request, paid_minor=paid_minor, why_not_more=why_not_more)
        )
    return decisions


def redemption_draft(
    decision: RedemptionDecision,
    currency: str,
    *,
    round_key: str,
    authorised_by: str | None = None,
) -> EntryDraft:
    """The entry of a decision: capital becomes pocket, the fund's cash goes to the bank account.

    Args:
        decision: Made by `plan_redemptions`.
        currency: Code of ISO 4217.
        round_key: Names this planning for good, such as `2026-11`; a request that is paid in
            parts gets one entry in each round.
        authorised_by: Id of the decision that allows it.

    Raises:
        RedemptionRefused: The decision pays nothing.
    """
    request, paid_minor = decision.request, decision.paid_minor
    if paid_minor == 0:
        raise RedemptionRefused(request.member_id, decision.why_not_more or "nothing is due")
    legs = tuple(
        Leg(account=account, amount_minor=amount_minor, currency=currency)
        for account, amount_minor in (
            (member_account(CAPITAL, request.member_id), paid_minor),
            (member_account(POCKET, request.member_id), -paid_minor),
            (BANK, paid_minor),
            (FUND_CASH, -paid_minor),
        )
    )
    return EntryDraft(
        idempotency_key=f"redemption:{round_key}:{request.request_id}",
        legs=legs,
        memo=f"Capital paid back at par, request {request.request_id}",
        authorised_by=authorised_by,
    )


def _redeemable_minor(
    request: RedemptionRequest,
    lots: Sequence[CapitalLot],
    taken_minor: Mapping[str, int],
    rules: RedemptionRules,
    now: datetime,
) -> int:
    """Capital of a member that is old enough, less what was paid back from it."""
    own = [lot for lot in lots if lot.member_id == request.member_id]
    if request.reason is not RedemptionReason.EXIT:
        own = [lot for lot in own if _years_later(lot.credited_at, rules.years_held_min) <= now]
    old_minor = sum(lot.amount_minor for lot in own)
    return max(old_minor - taken_minor.get(request.member_id, 0), 0)


def _years_later(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, day=28)
