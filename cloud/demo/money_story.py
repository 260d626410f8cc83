"""Settlement, vote and grant of the demo."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from cloud.demo.made_up import CURRENCY, PROJECTS, MadeUpProject, project_table
from cloud.demo.processes import DemoFault
from cloud.demo.street import ZONE
from cloud.demo.street_cloud import StreetCloud
from cloud.fund.usecases import fund_state, pay_shares
from cloud.jobs import settlement as settling
from cloud.jobs.settlement_run import Costs, RunOfMonth
from cloud.members.roles import Person
from cloud.savings.months import Month, work_out_month
from cloud.votes.repository import ElectionRow, Project
from cloud.votes.usecases import close_election, open_election
from solar_fund.projects.appraisal import appraisal_report, appraise
from solar_fund.projects.project_file import parse_project
from solar_fund.projects.self_consumption import PooledLoad
from solar_fund.projects.weather_files import WeatherYear, read_weather
from solar_fund.voting.outcome import Outcome

SHARE_MINOR = 22_000
MONTHLY_COSTS_MINOR = 2_400


def call_for_shares(cloud: StreetCloud, households: Sequence[str], call: str) -> None:
    """Every home pays a share into the fund."""
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


def weather_of_demo() -> WeatherYear:
    """A typical year of Greensboro, North Carolina: the file that comes with pvlib."""
    import pvlib

    return read_weather(Path(pvlib.__file__).parent / "data" / "723170TYA.CSV")


def appraised_projects(load: PooledLoad | None = None) -> list[Project]:
    """Appraise the made-up projects, all with the same method, prices and weather file."""
    weather = weather_of_demo()
    return [_appraised(project, weather, load) for project in PROJECTS]


def open_vote(
    cloud: StreetCloud,
    projects: list[Project],
    households: Sequence[str],
    *,
    election_id: str,
    title: str,
    closes_at: datetime,
    seed: int,
) -> ElectionRow:
    """Open a vote on what the fund holds; the lot for ties is drawn now."""
    now = cloud.time.now()
    with cloud.services.database.transaction() as connection:
        election = ElectionRow(
            election_id=election_id,
            title=title,
            opens_at=now,
            closes_at=closes_at,
            budget_minor=fund_state(connection, CURRENCY, now).available_minor,
            currency=CURRENCY,
            quorum=len(households) // 4,
            roll_size=len(households),
            lot_seed=f"{seed}/{election_id}",
        )
        open_election(connection, election, projects, list(households), now=now)
    return election


def cast_ballots(
    cloud: StreetCloud, election_id: str, people: Mapping[str, Person], *, seed: int
) -> int:
    """Most members vote through the page, as browsers do; returns how many ballots were cast."""
    dice = np.random.default_rng((seed, 7))
    cast = 0
    for person in people.values():
        if dice.random() < 0.15:
            continue
        approvals = [project.project_id for project in PROJECTS if dice.random() < project.liked_by]
        with cloud.browser_of(person) as browser:
            answer = browser.post(f"/votes/{election_id}/ballot", data={"approve": approvals})
        if answer.status_code >= 400:
            raise DemoFault(f"a ballot was answered with {answer.status_code}: {answer.text[:300]}")
        cast += 1
    return cast


def count(cloud: StreetCloud, election_id: str) -> Outcome:
    """Count a vote and set its grants aside."""
    with cloud.services.database.transaction() as connection:
        return close_election(connection, election_id, now=cloud.time.now())


def _appraised(project: MadeUpProject, weather: WeatherYear, load: PooledLoad | None) -> Project:
    plan = parse_project(project_table(project))
    report = appraisal_report(appraise(plan, weather, load))
    return Project(
        project_id=project.project_id,
        name=project.name,
        cost_minor=project.capex * 100,
        facts={
            "kwp": project.kwp,
            "site": project.site,
            "words": project.words,
            "annual_energy_kwh": report["annual_energy_kwh"],
            "p90_energy_kwh": report["annual_energy_p90_kwh"],
            "monthly_energy_kwh": report["monthly_energy_kwh"],
            "payback_years": report["payback_years"],
            "irr": report["irr"],
            "npv_minor": report["npv_minor"],
            "self_consumption_share": report["self_consumption_share"],
        },
    )


def _evidence(what: str) -> str:
    return hashlib.sha256(f"commonwatt demo, simulated: {what}".encode()).hexdigest()
