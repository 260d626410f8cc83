"""Members, a policy vote and its count, for tests of votes, pages and data requests."""

from __future__ import annotations

import json
from datetime import timedelta

from cloud.jobs.count_votes import count_vote
from cloud.members.roles import Person, Role
from cloud.transparency.repository import newest_entries
from cloud.votes import repository
from cloud.votes.policy_votes import Policy, Slate, VotePlan, open_policy_vote, open_slate_vote
from tests.cloud.coop_builder import Browser, Coop

TEXT = "Shall the co-op lend its van to members on weekends?"


def members_of(coop: Coop, count: int) -> list[tuple[Person, Browser]]:
    return [coop.member(f"m{number}@example.org") for number in range(count)]


def board_browser(coop: Coop, name: str = "board") -> Browser:
    return coop.browser_of(coop.person(Role.BOARD, email=f"{name}@example.org"))


def plan_of(coop: Coop, **changes) -> VotePlan:
    now = coop.clock()
    return VotePlan(
        **{
            "title": "The van on weekends",
            "opens_at": now,
            "closes_at": now + timedelta(days=7),
            "record_at": now,
            "election_id": "van",
        }
        | changes
    )


def open_policy(coop: Coop, *, plan: VotePlan | None = None, **changes) -> str:
    with coop.services.database.transaction() as connection:
        return open_policy_vote(
            connection,
            plan or plan_of(coop),
            Policy(**{"text": TEXT} | changes),
            now=coop.clock(),
        ).election_id


def open_slate(coop: Coop, *, plan: VotePlan | None = None, **changes) -> str:
    items = {"van": "A second van", "bikes": "Four cargo bikes", "tools": "A tool library"}
    with coop.services.database.transaction() as connection:
        return open_slate_vote(
            connection,
            plan or plan_of(coop),
            Slate(**{"text": "What shall we buy next?", "items": items} | changes),
            now=coop.clock(),
        ).election_id


def cast(browser: Browser, election_id: str, **marks):
    return browser.post(f"/api/v1/votes/{election_id}/ballot", json=marks)


def count(coop: Coop, election_id: str, *, days: float = 7) -> dict:
    """Turn to the close and count, unless the server's own chore was faster."""
    coop.clock.turn(days=days)
    with coop.services.database.transaction() as connection:
        election = repository.election_row(connection, election_id)
        if election.closed_at is None:
            count_vote(connection, election_id, now=coop.clock())
        return repository.election_row(connection, election_id).result


def facts_of(coop: Coop, kind: str) -> list[dict]:
    """Facts of the log's entries of a kind, newest first."""
    with coop.services.database.reading() as connection:
        return [json.loads(entry.entry)["facts"] for entry in newest_entries(connection, kind=kind)]
