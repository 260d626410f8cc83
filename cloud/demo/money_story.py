"""Settlement, projects, vote and grant of the demo."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np

from cloud.demo.made_up import CURRENCY, MadeUpProject, project_file
from cloud.demo.processes import DemoFault
from cloud.demo.street import ZONE
from cloud.demo.street_cloud import StreetCloud
from cloud.fund.usecases import pay_shares
from cloud.jobs import settlement as settling
from cloud.jobs.count_votes import count_vote
from cloud.jobs.settlement_run import Costs, RunOfMonth
from cloud.members.roles import Person
from cloud.projects.appraising import WEATHER, appraise_project, keep_file
from cloud.projects.project_life import life_of
from cloud.projects.repository import events_of
from cloud.projects.signing import sign_for
from cloud.projects.solar_votes import SolarVotePlan, open_prepared_vote, prepare_vote
from cloud.projects.usecases import Proposal, propose_project, screen_project
from cloud.savings.months import Month, work_out_month
from cloud.votes.repository import ElectionRow, election_row
from solar_fund.projects.lifecycle import MilestonePayment

SHARE_MINOR = 22_000
MONTHLY_COSTS_MINOR = 2_400
WEATHER_FILE = "723170TYA.CSV"


def call_for_shares(cloud: StreetCloud, members: Iterable[Person], call: str) -> None:
    """Every home pays a share into the fund."""
    households = [person.household for person in members if person.household is not None]
    with cloud.services.database.transaction() as connection:
        pay_shares(
            connection,
            dict.fromkeys(households, SHARE_MINOR),
            call=call,
            currency=CURRENCY,
            evidence=_evidence(f"shares, {call}"),
            now=cloud.time.now(),
        )


def settle(cloud: StreetCloud, month_name: str, board: tuple[Person, Person]) -> RunOfMonth:
    """Settle a month, book it with two signatures, and record the supplier's payment."""
    services, now = cloud.services, cloud.time.now()
    first, second = board
    worked = work_out_month(
        services.database,
        services.store,
        month=Month.named(month_name, ZONE),
        currency=CURRENCY,
    )
    costs = Costs(direct_minor=MONTHLY_COSTS_MINOR, usual_minor=MONTHLY_COSTS_MINOR)
    with services.database.transaction() as connection:
        proposed = settling.propose(connection, worked, costs, person=first, now=now)
    with services.database.transaction() as connection:
        booked = settling.book(
            connection,
            month_name,
            figures_sha256=proposed.figures_sha256,
            person=second,
            base_url=services.settings.base_url,
            now=now,
        )
    with services.database.transaction() as connection:
        return settling.record_payment(
            connection,
            month_name,
            booked.revision,
            amount_minor=booked.receivable_minor,
            bank_evidence=_evidence(f"supplier pays {month_name}"),
            person=first,
            now=now,
        )


def weather_of_demo() -> bytes:
    """A typical year of Greensboro, North Carolina: the file that comes with pvlib."""
    package = importlib.util.find_spec("pvlib")
    if package is None or package.origin is None:
        raise DemoFault("pvlib is not installed; install the extra: demo")
    return (Path(package.origin).parent / "data" / WEATHER_FILE).read_bytes()


def propose(
    cloud: StreetCloud,
    projects: Sequence[MadeUpProject],
    members: Iterable[Person],
    board: tuple[Person, Person],
) -> None:
    """Members propose projects, and one of the board lets them pass."""
    for project, member in zip(projects, members, strict=False):
        with cloud.services.database.transaction() as connection:
            propose_project(
                connection,
                Proposal(
                    name=project.name,
                    site=project.site,
                    words=project.words,
                    plan_text=project_file(project),
                ),
                person=member,
                currency=CURRENCY,
                now=cloud.time.now(),
            )
            screen_project(
                connection,
                project.project_id,
                words="The owner agrees, and the roof was looked at.",
                person=board[0],
                now=cloud.time.now(),
            )


def begin_round(
    cloud: StreetCloud,
    projects: Sequence[MadeUpProject],
    board: tuple[Person, Person],
    *,
    season: str,
    closing: Callable[[], datetime],
    seed: int,
) -> ElectionRow:
    """The board appraises projects, all in one way; one prepares the vote, the other opens it.

    `closing` is asked once the appraisals are made, however long they took.
    """
    _appraise(cloud, projects, board[1])
    now, election_id = cloud.time.now(), f"{season}-round"
    plan = SolarVotePlan(
        title=f"{season.title()} solar round",
        closes_at=closing(),
        project_ids=tuple(project.project_id for project in projects),
        quorum=Fraction(1, 4),
        election_id=election_id,
    )
    with cloud.services.database.transaction() as connection:
        prepare_vote(connection, plan, person=board[0], now=now)
        return open_prepared_vote(
            connection,
            election_id,
            person=board[1],
            currency=CURRENCY,
            now=now,
            lot_seed=f"{seed}/{election_id}",
        )


def _appraise(cloud: StreetCloud, projects: Sequence[MadeUpProject], person: Person) -> None:
    database = cloud.services.database
    weather = keep_file(
        database,
        kind=WEATHER,
        name=WEATHER_FILE,
        content=weather_of_demo(),
        person=person,
        now=cloud.time.now(),
    )
    for project in projects:
        appraise_project(
            database,
            project.project_id,
            weather_sha256=weather.sha256,
            load_sha256=None,
            person=person,
            now=cloud.time.now(),
        )


def cast_ballots(
    cloud: StreetCloud,
    election_id: str,
    projects: Sequence[MadeUpProject],
    people: Mapping[str, Person],
    *,
    seed: int,
) -> int:
    """Most members vote through the page, as browsers do; returns how many ballots were cast."""
    dice = np.random.default_rng((seed, 7))
    cast = 0
    for person in people.values():
        if dice.random() < 0.15:
            continue
        approvals = [project.project_id for project in projects if dice.random() < project.liked_by]
        with cloud.browser_of(person) as browser:
            answer = browser.post(f"/votes/{election_id}/ballot", data={"approve": approvals})
        if answer.status_code >= 400:
            raise DemoFault(f"a ballot was answered with {answer.status_code}: {answer.text[:300]}")
        cast += 1
    return cast


def count(cloud: StreetCloud, election_id: str) -> list[str]:
    """What a vote bought; counts it, unless the server's own chore was faster."""
    with cloud.services.database.transaction() as connection:
        election = election_row(connection, election_id)
        if election is not None and election.closed_at is None:
            count_vote(connection, election_id, now=cloud.time.now())
        election = election_row(connection, election_id)
    if election is None or election.result is None:
        raise DemoFault(f"the vote {election_id} was not counted")
    return list(election.result["selected"])


def pay_first_milestone(
    cloud: StreetCloud, project_id: str, board: tuple[Person, Person]
) -> MilestonePayment:
    """Two of the board sign for the contract, and the first part of the grant is paid."""
    with cloud.services.database.transaction() as connection:
        for person in board:
            sign_for(
                connection,
                project_id,
                act="contract signed",
                evidence=_evidence(f"contract for {project_id}"),
                person=person,
                now=cloud.time.now(),
            )
        return life_of(events_of(connection, project_id)).payments[0]


def _evidence(what: str) -> str:
    return hashlib.sha256(f"commonwatt demo, simulated: {what}".encode()).hexdigest()
