"""The board opens votes on policies, on the split of savings, and on slates."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import RedirectResponse

from cloud.errors import BadInput
from cloud.fund.usecases import parameters_in_force
from cloud.members.access import SessionDep, require_role
from cloud.members.repository import memberships
from cloud.members.roles import Person, Role
from cloud.services import Services, ServicesDep
from cloud.votes import repository
from cloud.votes.policy_votes import (
    CREDITS_MAX,
    ITEMS_MAX,
    Policy,
    Slate,
    VotePlan,
    open_policy_vote,
    open_slate_vote,
)
from cloud.web.page_route import PageRoute
from cloud.web.policy_view import parameter_lines
from cloud.web.shell import pages_of, shell
from solar_fund.waterfall import BOUNDS

router = APIRouter(route_class=PageRoute, include_in_schema=False)

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]

DAYS_USUAL = 14
THRESHOLDS: Mapping[str, tuple[str, Fraction, bool]] = {
    "half": ("More than half", Fraction(1, 2), True),
    "two-thirds": ("At least two thirds", Fraction(2, 3), False),
    "three-quarters": ("At least three quarters", Fraction(3, 4), False),
}
SHARES = ("cost_cap_share", "reserve_share", "fund_share", "pocket_floor_share")
_KEY = re.compile(r"[0-9a-f]{12}")


@router.get("/votes/new")
def get_new_vote(
    request: Request, services: ServicesDep, session: SessionDep, _person: BoardDep
) -> Response:
    """Forms that open a vote."""
    now = services.clock()
    today = now.astimezone(ZoneInfo(services.settings.timezone)).date()
    with services.database.reading() as connection:
        current, voted = parameters_in_force(connection, now)
        homes = len(memberships(connection))
    shown = {
        "closes_on": today + timedelta(days=DAYS_USUAL),
        "today": today,
        "homes": homes,
        "thresholds": [(key, words) for key, (words, _, _) in THRESHOLDS.items()],
        "parameters": parameter_lines(asdict(current)),
        "shares": SHARES,
        "voted": voted,
        "vote_key": secrets.token_hex(6),
        "items_max": ITEMS_MAX,
        "credits_max": CREDITS_MAX,
    }
    return pages_of(request).render("vote_new.html", shell(request, session) | shown)


class PlanForm:
    """What both forms ask: title, text, dates and quorum.

    Args:
        vote_key: Random name made with the form, so that sending it twice opens one vote.
        title: As people call the vote.
        text: What is asked.
        closes_on: The last day, local.
        record_on: Homes that belonged at the end of this local day are on the roll; empty is now.
        quorum_percent: Share of the homes that must take part [%].
    """

    def __init__(
        self,
        vote_key: Annotated[str, Form(max_length=12)],
        title: Annotated[str, Form(min_length=3, max_length=200)],
        text: Annotated[str, Form(min_length=10, max_length=8_000)],
        closes_on: Annotated[date, Form()],
        quorum_percent: Annotated[int, Form(ge=0, le=100)],
        record_on: Annotated[date | str, Form()] = "",
    ) -> None:
        if not _KEY.fullmatch(vote_key):
            raise BadInput("this form is damaged; load the page again")
        self.vote_key = vote_key
        self.title = title
        self.text = text.replace("\r\n", "\n")
        self.closes_on = closes_on
        self.record_on = record_on
        self.quorum = Fraction(quorum_percent, 100)

    def plan(self, services: Services, kind: str) -> VotePlan:
        """The plan of a vote that opens now and runs to the end of its last day.

        Raises:
            BadInput: A date is none.
        """
        now, zone = services.clock(), ZoneInfo(services.settings.timezone)
        record_at = now
        if self.record_on:
            if not isinstance(self.record_on, date):
                raise BadInput("the record date is no date; write it as 2026-10-31")
            record_at = min(now, _day_after(self.record_on, zone))
        return VotePlan(
            title=self.title,
            opens_at=now,
            closes_at=_day_after(self.closes_on, zone),
            record_at=record_at,
            quorum=self.quorum,
            election_id=f"{kind}-{self.vote_key}",
        )


async def filled_parameters(request: Request) -> dict[str, str]:
    """Parameters that somebody filled in, as decimals in text.

    Raises:
        BadInput: One is no number.
    """
    fields = await request.form()
    written = {name: str(fields.get(name, "")).strip() for name in BOUNDS}
    return {name: _decimal(name, value) for name, value in written.items() if value}


@router.post("/votes/policies")
def post_policy(
    services: ServicesDep,
    _person: BoardDep,
    form: Annotated[PlanForm, Depends()],
    parameters: Annotated[dict[str, str], Depends(filled_parameters)],
    threshold: Annotated[str, Form(max_length=20)],
) -> Response:
    """Open a vote on a policy; filled-in parameters are proposed with it."""
    if threshold not in THRESHOLDS:
        raise BadInput("choose what a yes needs from the list")
    _words, share, above = THRESHOLDS[threshold]
    policy = Policy(
        text=form.text,
        threshold=share,
        above=above,
        parameters=parameters or None,
    )
    plan = form.plan(services, repository.POLICY)
    with services.database.transaction() as connection:
        if repository.election_row(connection, plan.election_id or "") is None:
            open_policy_vote(connection, plan, policy, now=services.clock())
    return RedirectResponse(f"/votes/{plan.election_id}", status_code=303)


@router.post("/votes/slates")
def post_slate(
    services: ServicesDep,
    _person: BoardDep,
    form: Annotated[PlanForm, Depends()],
    items: Annotated[str, Form(max_length=20_000)],
    credit_limit: Annotated[int, Form(ge=1, le=CREDITS_MAX)],
) -> Response:
    """Open a vote on a slate, one proposal a line."""
    lines = [line.strip() for line in items.splitlines() if line.strip()]
    slate = Slate(
        text=form.text,
        items={f"proposal-{number}": line[:1_000] for number, line in enumerate(lines, start=1)},
        credit_limit=credit_limit,
    )
    plan = form.plan(services, repository.SLATE)
    with services.database.transaction() as connection:
        if repository.election_row(connection, plan.election_id or "") is None:
            open_slate_vote(connection, plan, slate, now=services.clock())
    return RedirectResponse(f"/votes/{plan.election_id}", status_code=303)


def _day_after(day: date, zone: ZoneInfo) -> datetime:
    """The end of a local day."""
    return datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=1)


def _decimal(name: str, written: str) -> str:
    """Read a parameter from the form; shares are written in per cent."""
    try:
        value = Decimal(written.replace(",", "."))
    except InvalidOperation as fault:
        raise BadInput(f"{written[:20]!r} is no number; write one such as 35") from fault
    return str(value / 100 if name in SHARES else value)
