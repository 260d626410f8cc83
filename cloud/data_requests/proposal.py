"""A proposal to use the members' data: its states, and what each step needs. Pure.

```
SCREENED ── two of the board for it ──► NOTICE ── 14 days, then the vote ──► APPROVED ──► FROZEN ──► RELEASED
    │ two against                          │ the vote says no                    │ too few    │ the privacy
    ▼                                      ▼                                     ▼ homes      ▼ floor refuses
REJECTED                                FAILED                               CANCELLED    CANCELLED
```

Only templates with a known number of cells can be asked for, never a free query, so that what a
result can give away is known before anything is computed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from cloud.errors import StateConflict
from gateway.wire.reading import Purpose, Quantity
from gateway.wire.record import AwareTime, ShortText, WireRecord

NOTICE_TIME = timedelta(days=14)
REVIEWS_NEEDED = 2
PERIOD_MAX = timedelta(days=1_100)
RECIPIENT = {Purpose.RESEARCH: "researcher:voted", Purpose.OPEN_STATISTICS: "public"}
"""Whom the homes' consents name for a purpose."""


class Template(enum.StrEnum):
    """What may be asked for; the number is that of its cells."""

    TYPICAL_DAY = "typical_day_576"
    TIME_OF_USE = "tou_36"
    MONTHLY = "monthly_12"
    ANNUAL = "annual_1"

    @property
    def cells(self) -> int:
        """How many figures a result holds."""
        return int(self.value.rsplit("_", 1)[1])


class Modifier(enum.StrEnum):
    """Promises a requester may make."""

    NO_RESELL = "no_resell"
    NO_LINK = "no_link"
    NO_MARKETING = "no_marketing"
    RETURN_RESULTS = "return_results"
    ETHICS = "ethics"


class State(enum.StrEnum):
    """How far a proposal is."""

    SCREENED = "screened"
    REJECTED = "rejected"
    NOTICE = "notice"
    FAILED = "failed"
    APPROVED = "approved"
    FROZEN = "frozen"
    CANCELLED = "cancelled"
    RELEASED = "released"


_NEXT = {
    State.SCREENED: {State.NOTICE, State.REJECTED},
    State.NOTICE: {State.APPROVED, State.FAILED},
    State.APPROVED: {State.FROZEN, State.CANCELLED},
    State.FROZEN: {State.RELEASED, State.CANCELLED},
}


class ProposalText(WireRecord, frozen=True, kw_only=True):
    """What is proposed. Its hash is logged: the text cannot change after the vote.

    Args:
        title: A short name.
        question: What shall be found out, in words members understand.
        purpose: Research or open statistics; other uses have no proposals.
        template: Which result.
        period_start: Start of the data, included.
        period_end: End of the data, excluded.
        recipient: Who gets the result.
        retention_days: How long they may keep it [days].
        modifiers: What they promise.
        price_minor: What they pay, in minor units of the co-op's currency.
        quantity: Of what: energy bought or sold.
        homes_min: Homes the requester needs at least; the privacy floor holds in any case.
    """

    title: ShortText
    question: Annotated[str, msgspec.Meta(min_length=20, max_length=4_000)]
    purpose: Purpose
    template: Template
    period_start: AwareTime
    period_end: AwareTime
    recipient: ShortText
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=3_660)]
    modifiers: Annotated[tuple[Modifier, ...], msgspec.Meta(max_length=8)] = ()
    price_minor: Annotated[int, msgspec.Meta(ge=0, le=10**12)] = 0
    quantity: Quantity = Quantity.IMPORT_WH
    homes_min: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What one of the board thinks.

    Args:
        person_id: Who.
        is_for: For it or against.
        reasons: Why, published.
    """

    person_id: str
    is_for: bool
    reasons: str


def why_not_screened(text: ProposalText, now: datetime) -> tuple[str, ...]:
    """All reasons why a proposal is not even looked at; empty if it is."""
    tests = (
        (
            text.purpose not in (Purpose.RESEARCH, Purpose.OPEN_STATISTICS),
            "only research and open statistics can be proposed",
        ),
        (text.period_start >= text.period_end, "the period ends before it begins"),
        (text.period_end > now, "the period is not over yet"),
        (
            any(moment.timestamp() % 3600 for moment in (text.period_start, text.period_end)),
            "the period must begin and end on a full hour",
        ),
        (
            text.quantity not in (Quantity.IMPORT_WH, Quantity.EXPORT_WH),
            "only import_wh and export_wh can be asked for",
        ),
        (
            text.period_end - text.period_start > PERIOD_MAX,
            f"the period is longer than {PERIOD_MAX.days} days",
        ),
        (Modifier.NO_LINK not in text.modifiers, "the promise no_link is needed"),
    )
    return tuple(reason for failed, reason in tests if failed)


def state_after(reviews: tuple[Review, ...]) -> State:
    """Where the board's reviews lead: two of one mind decide."""
    if sum(not review.is_for for review in reviews) >= REVIEWS_NEEDED:
        return State.REJECTED
    if sum(review.is_for for review in reviews) >= REVIEWS_NEEDED:
        return State.NOTICE
    return State.SCREENED


def require_step(old: State, new: State) -> None:
    """Refuse a step that the picture above does not have.

    Raises:
        StateConflict: It does not.
    """
    if new not in _NEXT.get(old, set()):
        raise StateConflict(f"a proposal that is {old} cannot become {new}")


def notice_ends(notice_from: datetime) -> datetime:
    """When members were told for long enough."""
    return notice_from + NOTICE_TIME


PROPOSALS = msgspec.json.Decoder(ProposalText)
"""Made at import, because two threads that first meet a record at once can crash msgspec."""
