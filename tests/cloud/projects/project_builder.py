"""Projects on their way, for tests: proposed, appraised, voted for, granted."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

from cloud.fund.usecases import pay_shares
from cloud.jobs.count_votes import count_vote
from cloud.members.roles import Person, Role
from cloud.projects import repository, signing, usecases
from cloud.projects.appraising import LOAD, WEATHER, appraise_project, keep_file
from cloud.projects.project_life import life_of
from cloud.projects.solar_votes import SolarVotePlan, open_prepared_vote, prepare_vote
from cloud.projects.usecases import Proposal
from cloud.votes.usecases import cast_ballot
from solar_fund.projects.lifecycle import ProjectLife
from tests.cloud.coop_builder import Coop

SHARE_MINOR = 100_000
MILESTONES = ("contract signed", "installed", "metered for a month")


def weather_bytes() -> bytes:
    """The typical year of Greensboro that comes with pvlib."""
    folder = Path(importlib.util.find_spec("pvlib").origin).parent / "data"
    return (folder / "723170TYA.CSV").read_bytes()


def load_bytes(import_wh: int = 900) -> bytes:
    """A pooled load of two days, the same in every hour."""
    lines = [f"2026-06-{1 + hour // 24:02d}T{hour % 24:02d}:00Z,{import_wh}" for hour in range(48)]
    return "\n".join(["interval_start,import_wh", *lines, ""]).encode()


def plan_text(project_id: str, capex: int = 1_500, **changes: str) -> str:
    lines = {
        "head": f'id = "{project_id}"\ncurrency = "EUR"',
        "site": '[site]\ntimezone = "Europe/Berlin"',
        "array": "[[array]]\npeak_kw = 3.0\ntilt_deg = 20\nazimuth_deg = 180",
        "cost": f"[cost]\ncapex = {capex}\nrunning_per_year = 20",
        "value": '[value]\nown_use_price_per_kwh = "0.25"\nexport_price_per_kwh = "0.07"',
    } | changes
    return "\n".join(lines.values()) + "\n"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(kw_only=True)
class Fundable:
    """A co-op with members, a board of two and money, and projects in it."""

    coop: Coop
    members: list[Person] = field(default_factory=list)
    board: tuple[Person, Person] = field(init=False)

    def __post_init__(self) -> None:
        self.members = [self.coop.member(f"m{number}@example.org")[0] for number in range(6)]
        self.board = (
            self.coop.person(Role.BOARD, email="amara@example.org"),
            self.coop.person(Role.BOARD, email="jonas@example.org"),
        )
        self.write(
            lambda connection: pay_shares(
                connection,
                {person.household: SHARE_MINOR for person in self.members},
                call="founding",
                currency="EUR",
                evidence="ab" * 32,
                now=self.coop.clock(),
            )
        )

    def write(self, work):
        with self.coop.services.database.transaction() as connection:
            return work(connection)

    def read(self, work):
        with self.coop.services.database.reading() as connection:
            return work(connection)

    def do(self, step, *arguments, person: Person | None = None, **named):
        """A use case in a transaction of its own, by the first of the board."""
        return self.write(
            lambda connection: step(
                connection,
                *arguments,
                person=person or self.board[0],
                now=self.coop.clock(),
                **named,
            )
        )

    def propose(self, project_id: str, person: Person | None = None, **plan) -> None:
        self.do(
            usecases.propose_project,
            Proposal(
                name=project_id.title(),
                site="a roof in the street",
                words="The owner agrees to it.",
                plan_text=plan.pop("text", None) or plan_text(project_id, **plan),
            ),
            person=person or self.members[0],
            currency="EUR",
        )

    def screen(self, project_id: str) -> None:
        self.do(usecases.screen_project, project_id, words="The roof was looked at.")

    def keep(self, kind: str = WEATHER, content: bytes | None = None) -> str:
        return keep_file(
            self.coop.services.database,
            kind=kind,
            name=f"{kind}.csv",
            content=content or (weather_bytes() if kind == WEATHER else load_bytes()),
            person=self.board[0],
            now=self.coop.clock(),
        ).sha256

    def appraise(self, project_id: str, *, with_load: bool = False) -> dict:
        return appraise_project(
            self.coop.services.database,
            project_id,
            weather_sha256=self.keep(),
            load_sha256=self.keep(LOAD) if with_load else None,
            person=self.board[1],
            now=self.coop.clock(),
        )

    def appraised(self, *project_ids: str, **plan) -> None:
        for project_id in project_ids:
            self.propose(project_id, **plan)
            self.screen(project_id)
            self.appraise(project_id)

    def plan(self, *project_ids: str, **changes) -> SolarVotePlan:
        return SolarVotePlan(
            **{
                "title": "Spring round",
                "closes_at": self.coop.clock() + timedelta(days=7),
                "project_ids": project_ids,
                "quorum": Fraction(1, 3),
                "election_id": "spring",
            }
            | changes
        )

    def prepare(self, *project_ids: str, **changes) -> str:
        return self.do(prepare_vote, self.plan(*project_ids, **changes))

    def open(self, draft_id: str = "spring"):
        return self.do(open_prepared_vote, draft_id, person=self.board[1], currency="EUR")

    def vote(self, approvals: list[str], *, voters: int = 6, election_id: str = "spring") -> None:
        for person in self.members[:voters]:
            self.write(
                lambda connection, person=person: cast_ballot(
                    connection,
                    election_id=election_id,
                    household=person.household,
                    approvals=approvals,
                    token=None,
                    now=self.coop.clock(),
                )
            )

    def count(self, election_id: str = "spring") -> None:
        self.write(lambda connection: count_vote(connection, election_id, now=self.coop.clock()))

    def granted(self, project_id: str = "school", **plan) -> None:
        """A project that won a vote."""
        self.appraised(project_id, **plan)
        self.prepare(project_id)
        self.open()
        self.vote([project_id])
        self.coop.clock.turn(days=8)
        self.count()

    def sign(self, act: str, person: Person, *, project_id: str = "school", text: str = "") -> bool:
        return self.do(
            signing.sign_for, project_id, act=act, evidence=sha(text or act), person=person
        )

    def pay(self, act: str, project_id: str = "school") -> None:
        assert not self.sign(act, self.board[0], project_id=project_id)
        assert self.sign(act, self.board[1], project_id=project_id)

    def built(self, project_id: str = "school") -> None:
        self.do(usecases.note_built, project_id, evidence=sha("handover"))

    def operating(self, project_id: str = "school", first_month: str = "2026-03") -> None:
        self.do(
            usecases.note_operating,
            project_id,
            first_month=first_month,
            evidence=sha("commissioning"),
        )

    def meter(self, month: str, energy_wh: int | None, project_id: str = "school") -> None:
        self.do(
            usecases.meter_month,
            project_id,
            month=month,
            energy_wh=energy_wh,
            evidence=sha(f"{month}: {energy_wh}"),
            zone=self.coop.services.settings.zone,
        )

    def life(self, project_id: str = "school") -> ProjectLife:
        return self.read(lambda connection: life_of(repository.events_of(connection, project_id)))

    def state(self, project_id: str = "school") -> str:
        return self.life(project_id).state
