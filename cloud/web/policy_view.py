"""What the pages of policy votes and slates show: the question, the rule in words, the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection

from cloud.errors import NotFound
from cloud.votes import repository, usecases
from cloud.votes.repository import POLICY, ElectionRow
from cloud.web.charts import Bar
from cloud.web.formats import number, percent, plural
from solar_fund.waterfall import BOUNDS

BAR_WIDTH = 1000.0
CHOICE_WORDS = (("yes", "Yes"), ("no", "No"), ("abstain", "Abstain"))

PARAMETER_WORDS: Mapping[str, str] = {
    "cost_cap_share": "Running costs may take at most",
    "reserve_share": "To the reserve, until it is full",
    "fund_share": "To the solar fund",
    "pocket_floor_share": "To members’ pockets, at least",
    "hold_back_sigmas": "Held back for measurement errors",
    "reserve_target_months": "The reserve is full at",
}
_UNITS = {"hold_back_sigmas": "standard errors", "reserve_target_months": "months of costs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterLine:
    """A parameter of the waterfall, as it is and as it would be."""

    name: str
    label: str
    now: str
    proposed: str
    bounds: str
    is_changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CountLine:
    """A choice or proposal with what it got.

    Args:
        label: For people.
        text: Votes in words.
        parts: A bar of 1000 units.
        is_won: Whether it was accepted.
    """

    label: str
    text: str
    parts: Sequence[Bar]
    is_won: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateItem:
    """A proposal of a slate with the votes of the own ballot."""

    name: str
    text: str
    votes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """Everything on the page of one policy vote or slate."""

    election: ElectionRow
    is_open: bool
    is_over: bool
    question: Mapping[str, Any]
    rule_text: str
    turnout: int
    receipt: str
    choice: str
    items: Sequence[SlateItem]
    credit_limit: int
    parameters: Sequence[ParameterLine]
    headline: str
    reason: str
    counts: Sequence[CountLine]
    published_sha256: str


def gather_policy(
    connection: Connection, election: ElectionRow, *, token: str | None, now: datetime
) -> PolicyView:
    """Gather the page of one vote on a policy or a slate."""
    paper = election.paper or {}
    question, rule = paper["question"], paper["rule"]
    ballot, receipt = usecases.own_ballot(connection, election.election_id, token) or ({}, "")
    given = ballot.get("votes", {})
    headline, reason = _outcome(election)
    return PolicyView(
        election=election,
        is_open=election.closed_at is None and election.opens_at <= now < election.closes_at,
        is_over=now >= election.closes_at,
        question=question,
        rule_text=rule_in_words(election),
        turnout=repository.turnout(connection, election.election_id),
        receipt=receipt,
        choice=ballot.get("choice", ""),
        items=[
            SlateItem(name=name, text=question["texts"][name], votes=given.get(name, 0))
            for name in question.get("names", ())
        ],
        credit_limit=rule.get("credits", 0),
        parameters=(
            parameter_lines(question["parameters_before"], question["parameters"])
            if "parameters" in question
            else []
        ),
        headline=headline,
        reason=reason,
        counts=_counts(election),
        published_sha256=repository.published_hash(connection, election.election_id) or "",
    )


def find_election(connection: Connection, election_id: str) -> ElectionRow:
    """Find a vote of any kind.

    Raises:
        NotFound: There is none.
    """
    election = repository.election_row(connection, election_id)
    if election is None:
        raise NotFound(f"vote {election_id}")
    return election


def rule_in_words(election: ElectionRow) -> str:
    """Say what a yes, or a place on the accepted list, needs."""
    rule = (election.paper or {})["rule"]
    take_part = plural(election.quorum, "home", "homes")
    quorum = f"At least {take_part} of {number(election.roll_size)} must take part"
    if election.kind != POLICY:
        return f"{quorum}. Accepted is what gets more votes for than against."
    threshold = Fraction(rule["threshold"])
    bar = "more than" if rule["above"] else "at least"
    share = "half" if threshold == Fraction(1, 2) else f"{threshold}"
    return f"{quorum}; abstaining counts. It passes with {bar} {share} of the votes for or against."


def parameter_lines(
    current: Mapping[str, Any], proposed: Mapping[str, str] | None = None
) -> list[ParameterLine]:
    """The waterfall's parameters in words, beside proposed ones."""
    wanted = proposed or {}
    return [
        ParameterLine(
            name=name,
            label=label,
            now=_amount(name, current[name]),
            proposed=_amount(name, wanted.get(name, current[name])),
            bounds=_bounds(name),
            is_changed=name in wanted and Fraction(wanted[name]) != Fraction(str(current[name])),
        )
        for name, label in PARAMETER_WORDS.items()
    ]


def _bounds(name: str) -> str:
    low, high = BOUNDS[name]
    if name in _UNITS:
        return f"{number(low)} to {number(high)} {_UNITS[name]}"
    return f"{_amount(name, low)} to {_amount(name, high)}"


def _amount(name: str, value: object) -> str:
    share = Fraction(str(value))
    if name in _UNITS:
        decimals = 0 if share.denominator == 1 else 1
        unit = _UNITS[name].replace("errors", "error").replace("months", "month")
        return f"{number(float(share), decimals)} {unit if share == 1 else _UNITS[name]}"
    return percent(float(share), 0 if (share * 100).denominator == 1 else 1)


def _outcome(election: ElectionRow) -> tuple[str, str]:
    """The result in a headline, and why, in a sentence."""
    result = election.result
    if result is None:
        return "", ""
    if election.kind == POLICY:
        reason = str(result["reason"])
        return (
            "Passed" if result["passed"] else "Not passed"
        ), f"{reason[:1].upper()}{reason[1:]}."
    if not result["quorum_reached"]:
        return "Nothing accepted", f"No quorum: {result['quorum_votes']} homes had to take part."
    accepted = len(result["accepted"])
    return (
        f"{plural(accepted, 'proposal', 'proposals')} accepted",
        "More votes for than against, most first. Equal totals stand in the order of the lot.",
    )


def _counts(election: ElectionRow) -> list[CountLine]:
    result = election.result
    if result is None:
        return []
    if election.kind == POLICY:
        most = max(1, *(result[choice] for choice, _label in CHOICE_WORDS))
        kinds = {"yes": "good", "no": "warn", "abstain": "mute"}
        return [
            CountLine(
                label=label,
                text=plural(result[choice], "home", "homes"),
                parts=(_bar(0, result[choice] / most, kinds[choice]),),
                is_won=result["passed"] and choice == "yes",
            )
            for choice, label in CHOICE_WORDS
        ]
    texts = (election.paper or {})["question"]["texts"]
    most = max([1, *(max(one["for_votes"], one["against_votes"]) for one in result["entries"])])
    return [
        CountLine(
            label=texts[one["name"]],
            text=(
                f"{number(one['total'])} ({number(one['for_votes'])} for, "
                f"{number(one['against_votes'])} against, by {plural(one['voters'], 'home', 'homes')})"
            ),
            parts=(
                _bar(
                    0.5 - one["against_votes"] / most / 2, one["against_votes"] / most / 2, "warn"
                ),
                _bar(0.5, one["for_votes"] / most / 2, "good"),
            ),
            is_won=one["name"] in result["accepted"],
        )
        for one in result["entries"]
    ]


def _bar(start: float, width: float, kind: str) -> Bar:
    return Bar(
        x=round(start * BAR_WIDTH, 1), y=0, width=round(width * BAR_WIDTH, 1), height=14, kind=kind
    )
