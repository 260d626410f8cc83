"""The simulated street from meter to dividend, as a person would want to watch it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from cloud.demo import money_story, real_homes, requests_story, tender_story
from cloud.demo.aside import Aside
from cloud.demo.cuttable_line import CuttableLine
from cloud.demo.figures import Figures, gather
from cloud.demo.made_up import FIRMS, OLD_TARIFFS, PROJECTS, WINTER_PROJECTS
from cloud.demo.neighbours import (
    LiveFeed,
    Neighbour,
    Spans,
    join,
    seal_again,
    send_history,
)
from cloud.demo.processes import (
    DemoFault,
    Processes,
    free_port,
    start_broker,
    wait_until,
)
from cloud.demo.real_homes import RealHome, TasmotaMeter
from cloud.demo.street import STEP_S, ZONE, Home, Load, make_homes, make_loads
from cloud.demo.street_cloud import GROUP_MIN_OUTSIDE, StoryTime, StreetCloud
from cloud.demo.tender_story import Window
from cloud.members.roles import Person, Role
from cloud.members.usecases import add_member, add_person
from cloud.negotiations.released_load import load_rows
from cloud.savings.usecases import OLD, set_tariff
from cloud.web.formats import money, number
from gateway.wire.reading import Purpose

REAL_HOMES = 4
HOMES_MIN, HOMES_MAX = 24, 200
RATE = 60.0
VOTE_OPEN_S, VOTE_OPEN_S_MAX = 10.0, 120.0
FAST_S = 240.0
AHEAD = timedelta(hours=36)
INSIGHT_HOMES = (5, 6, 12)
VISITOR_HOME = 6
ALL_PURPOSES = (Purpose.GROUP_TARIFF, Purpose.BILLING)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreetPlan:
    """What to simulate.

    Args:
        homes: Number of homes.
        seed: Same seed, same street.
        port: Port of the pages, or None for a free one.
        keep: Folder to keep everything in, or None for one that is removed at the end.
    """

    homes: int = 32
    seed: int = 1
    port: int | None = None
    keep: Path | None = None


@dataclass(slots=True)
class Street:
    """The running demo.

    Args:
        plan: What to simulate.
        say: Where to tell what happens.
        folder: Where everything is kept.
    """

    plan: StreetPlan
    say: Say
    folder: Path
    processes: Processes = field(init=False)
    cloud: StreetCloud = field(init=False)
    time: StoryTime = field(init=False)
    spans: Spans = field(init=False)
    window: Window = field(init=False)
    month: str = field(init=False)
    homes: list[Home] = field(init=False)
    loads: dict[int, Load] = field(init=False)
    members: dict[int, Person] = field(default_factory=dict)
    board: tuple[Person, Person] = field(init=False)
    requester: Person = field(init=False)
    suppliers: dict[str, Person] = field(default_factory=dict)
    neighbours: list[Neighbour] = field(default_factory=list)
    real: list[RealHome] = field(default_factory=list)
    line: CuttableLine | None = None
    tasmota: TasmotaMeter | None = None
    feed: LiveFeed | None = None
    cells: int = 0
    chosen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay out the calendar and the street."""
        self.processes = Processes(log_dir=self.folder)
        now = datetime.now(UTC)
        street_start = now - timedelta(seconds=now.timestamp() % STEP_S)
        local = street_start.astimezone(ZoneInfo(ZONE)).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        month_start = (local.replace(day=1) - timedelta(days=1)).replace(day=1)
        year_start = month_start.replace(year=month_start.year - 1)
        self.month = f"{month_start:%Y-%m}"
        self.window = Window(start=year_start.astimezone(UTC), end=month_start.astimezone(UTC))
        self.spans = Spans(
            group_from=self.window.start,
            billing_from=self.window.end,
            insight_from=(local - timedelta(days=366)).astimezone(UTC),
            now=street_start,
        )
        self.time = StoryTime(street_start)
        self.homes = make_homes(self.plan.homes, self.plan.seed)
        first = min(self.window.start, self.spans.insight_from)
        # To a midnight, not to now: as many draws at any hour, so the same street all day.
        last = (local + timedelta(days=1)).astimezone(UTC) + AHEAD
        steps = int((last - first).total_seconds()) // STEP_S
        self.loads = make_loads(self.homes, start=first, steps=steps, seed=self.plan.seed)

    def open_cloud(self) -> None:
        """Start the co-op and let everybody join."""
        self.cloud = StreetCloud(self.folder / "cloud", self.time, self.plan.port)
        self.cloud.start(self.processes)
        self.say(f"The co-op's cloud answers at {self.cloud.url}")
        now = self.time.now()
        with self.cloud.services.database.transaction() as connection:
            for home in self.homes:
                person = add_member(
                    connection,
                    email=f"home{home.number}@demo.invalid",
                    name=f"{home.person} at no. {home.number}",
                    now=now,
                )
                self.members[home.number] = person
                set_tariff(
                    connection,
                    household=_household(person),
                    kind=OLD,
                    text=json.dumps(OLD_TARIFFS[home.old_tariff]),
                    form="json",
                    valid_from=self.window.start,
                    now=now,
                )
            first, second = (
                add_person(
                    connection,
                    email=f"{name.lower()}@demo.invalid",
                    name=f"{name} (board)",
                    roles=[Role.BOARD],
                    now=now,
                )
                for name in ("Amara", "Jonas")
            )
            self.board = (first, second)
            for firm in FIRMS:
                self.suppliers[firm.name] = add_person(
                    connection,
                    email=f"{firm.name.lower().replace(' ', '-').strip('.')}@demo.invalid",
                    name=f"{firm.name} (supplier)",
                    roles=[Role.SUPPLIER],
                    supplier=firm.name,
                    now=now,
                )

    def send_history(self) -> None:
        """Homes with simulated gateways send a year through the ingest door."""
        for home in self.homes[REAL_HOMES:]:
            purposes = (
                (*ALL_PURPOSES, Purpose.OWN_INSIGHT)
                if home.number in INSIGHT_HOMES
                else ALL_PURPOSES
            )
            person = self.members[home.number]
            self.neighbours.append(
                join(
                    self.cloud,
                    home,
                    _household(person),
                    self.loads[home.number],
                    purposes,
                    self.spans,
                )
            )
        started = time.monotonic()
        taken = send_history(self.neighbours, self.spans)
        took_s = time.monotonic() - started
        self.say(
            f"{len(self.neighbours)} homes with simulated gateways sent {number(taken)} signed "
            f"readings of a year in {took_s:.0f} s"
        )
        compacted = self.cloud.services.store.compact()
        self.say(f"  moved to {compacted.files_written} Parquet files")

    def start_gateways(self) -> None:
        """Four homes get real gateways; time begins to run."""
        clock = self.time.begin(rate=RATE, fast_s=FAST_S)
        broker_port, kind = start_broker(self.processes, self.folder)
        line_port = free_port()
        self.line = CuttableLine(port=line_port, target_port=self.cloud.port)
        self.line.start()
        self.real = real_homes.set_up(
            [
                (home, _household(self.members[home.number]), self.loads[home.number])
                for home in self.homes[:REAL_HOMES]
            ],
            folder=self.folder,
            processes=self.processes,
            clock=clock,
            cloud=self.cloud,
            line_port=line_port,
            broker_port=broker_port,
        )
        over_mqtt = next(one for one in self.real if not one.map_name)
        self.tasmota = TasmotaMeter(over_mqtt, clock, broker_port)
        self.tasmota.start()
        self.feed = LiveFeed(self.neighbours[1:], self.spans, self.cloud)
        self.feed.start()
        meters = ", ".join(one.map_name or f"tasmota over {kind}" for one in self.real)
        self.say(f"{len(self.real)} real gateways read real meters' protocols: {meters}")
        self.say(f"  the street's clock runs {RATE:.0f} times as fast for {FAST_S:.0f} s")

    def wait_for_readings(self) -> None:
        """Until every gateway had something accepted."""
        wait_until(
            lambda: all(one.status()["accepted"] > 0 for one in self.real),
            "the gateways had nothing accepted",
            self.processes,
            timeout_s=90,
            every_s=1.0,
        )
        self.say("  their first consented quarter hours are in the cloud")

    def cut_the_line(self) -> None:
        """The gateways' internet dies."""
        if self.line is None:
            raise DemoFault("there is no line to cut yet")
        self.line.cut()
        self.say("The gateways' internet dies; readings wait in their outboxes")

    def mend_the_line(self) -> None:
        """It comes back, and outboxes drain."""
        if self.line is None:
            raise DemoFault("there is no line to mend")
        wait_until(
            lambda: all(one.status()["waiting"] > 0 for one in self.real),
            "nothing waits in an outbox although the line is dead",
            self.processes,
            timeout_s=60,
            every_s=1.0,
        )
        waiting = sum(one.status()["waiting"] for one in self.real)
        self.line.mend()
        self.say(f"The internet is back; {waiting} readings had waited")

    def lose_an_answer(self) -> None:
        """A simulated gateway never hears the answer and sends the same batch again."""
        neighbour = self.neighbours[0]
        payloads = seal_again(neighbour)
        for payload in payloads:
            neighbour.gateway.send_again(payload)
            again = neighbour.gateway.send_again(payload)
            if any(part.accepted for part in again.parts):
                raise DemoFault("a batch that was sent again was counted twice")
        self.say("A batch whose answer got lost was sent again, and counted once")

    def withdraw_a_consent(self) -> None:
        """A member turns a switch off on the cloud's page; the gateway obeys."""
        one = self.real[1]
        person = self.members[one.home.number]
        before = one.status()["readings_withheld"]
        with self.cloud.browser_of(person) as browser:
            answer = browser.post("/home/consents/group-tariff/withdraw")
            if answer.status_code >= 400:
                raise DemoFault(f"the withdrawal was answered with {answer.status_code}")
            answer = browser.post("/home/consents/own-insight/withdraw")
            if answer.status_code >= 400:
                raise DemoFault(f"the withdrawal was answered with {answer.status_code}")
        one.withdrawn |= {Purpose.GROUP_TARIFF.value, Purpose.OWN_INSIGHT.value}
        wait_until(
            lambda: one.status()["readings_withheld"] > before,
            "the gateway went on after its consent was withdrawn",
            self.processes,
            timeout_s=60,
            every_s=1.0,
        )
        self.say(f"{person.name} withdrew on the co-op's page; the gateway now withholds")

    def bargain(self) -> None:
        """The privacy floor, a tender in rounds, and two signatures."""
        reasons = tender_story.ask_too_much(self.cloud, self.board, self.window)
        if not reasons:
            raise DemoFault("every quarter hour of the year passed the privacy floor")
        self.say(f"Asked for every quarter hour of the year: refused. {reasons[0]}")
        tender = tender_story.open_street_tender(
            self.cloud,
            self.board,
            self.window,
            tender_id="tender-a",
            title="Tender A",
            seed=self.plan.seed,
        )
        self.cells = sum(1 for _ in load_rows(tender.load))
        self.say(
            f"Released instead, with two of the board: {self.cells} cells of typical days "
            f"({tender.load['step']}) of {tender.load['homes']} homes; the demo lets sums of "
            f"{GROUP_MIN_OUTSIDE} homes out"
        )
        self.say(
            f"Tender: {tender.homes} homes pay {money(tender.old_minor, tender.currency)} a year now; "
            f"the supplier's floor is guessed at {float(tender.floor['rate_per_kwh']) * 100:.1f} ct"
        )
        tender_story.play_rounds(
            self.cloud,
            tender,
            self.suppliers,
            self.board[0],
            rounds=tender_story.ROUNDS_MAX,
            say=self.say,
        )
        best = tender_story.accept_best(self.cloud, tender, self.board)
        if best is None:
            raise DemoFault("no offer kept the members' mandate")
        self.say(
            f"Agreed with {best.supplier}: the group saves {money(best.saving_minor, 'EUR')} a year, "
            f"{best.winners} of {tender.homes} homes pay less. Two of the board signed."
        )

    def settle_and_vote(self) -> None:
        """A month's savings, the split, a vote, and the grant."""
        money_story.call_for_shares(self.cloud, self.members.values(), "founding")
        settled = money_story.settle(self.cloud, self.month, self.board)
        self.say(
            f"Settled {self.month} on metered use: {money(settled.saving_minor, 'EUR')} saved by "
            f"{settled.homes} homes; {money(settled.fund_minor, 'EUR')} to the solar fund, "
            f"{money(settled.pocket_minor, 'EUR')} to pockets. Two of the board signed"
        )
        money_story.propose(self.cloud, PROJECTS, self.members.values(), self.board)
        election = money_story.begin_round(
            self.cloud,
            PROJECTS,
            self.board,
            season="autumn",
            closing=lambda: self.time.in_machine_seconds(self._vote_open_s()),
            seed=self.plan.seed,
        )
        self.say(f"{len(PROJECTS)} projects, proposed by members, screened and appraised")
        voters = {str(key): person for key, person in self.members.items()}
        cast = money_story.cast_ballots(
            self.cloud, election.election_id, PROJECTS, voters, seed=self.plan.seed
        )
        self.say(
            f"Vote on {money(election.budget_minor, 'EUR')}: {cast} of {election.roll_size} voted"
        )
        wait_until(
            lambda: self.time.now() >= election.closes_at,
            "the vote does not close",
            self.processes,
            timeout_s=VOTE_OPEN_S_MAX + 60,
        )
        self.chosen = money_story.count(self.cloud, election.election_id)
        bought = ", ".join(self.chosen) or "nothing"
        self.say(f"Equal shares bought {bought}; their grants are set aside in the ledger")
        for project_id in self.chosen[:1]:
            paid = money_story.pay_first_milestone(self.cloud, project_id, self.board)
            paid_text = money(paid.amount_minor, "EUR")
            self.say(f"Two of the board signed for the contract of {project_id}: {paid_text} paid")

    def _vote_open_s(self) -> float:
        """Long enough for everybody to vote, however slow the machine is [machine seconds]."""
        visits = 3
        started = time.monotonic()
        for _ in range(visits):
            with self.cloud.browser_of(self.board[0]) as browser:
                browser.get("/votes")
        needed_s = 3 * len(self.members) * (time.monotonic() - started) / visits
        return min(max(VOTE_OPEN_S, needed_s), VOTE_OPEN_S_MAX)

    def leave_something_to_do(self) -> None:
        """For a visitor: a tender in its second round, and a vote that is open for a week."""
        tender = tender_story.open_street_tender(
            self.cloud,
            self.board,
            self.window,
            tender_id="tender-b",
            title="Tender B",
            seed=self.plan.seed + 1,
        )
        tender_story.play_rounds(
            self.cloud, tender, self.suppliers, self.board[0], rounds=2, say=self.say
        )
        money_story.call_for_shares(self.cloud, self.members.values(), "second call")
        money_story.propose(self.cloud, WINTER_PROJECTS, list(self.members.values()), self.board)
        both = (*PROJECTS, *WINTER_PROJECTS)
        paper = [project for project in both if project.project_id not in self.chosen]
        election = money_story.begin_round(
            self.cloud,
            paper,
            self.board,
            season="winter",
            closing=lambda: self.time.now() + timedelta(days=7),
            seed=self.plan.seed,
        )
        others = {str(key): person for key, person in self.members.items() if key != VISITOR_HOME}
        money_story.cast_ballots(
            self.cloud, election.election_id, paper, others, seed=self.plan.seed + 1
        )
        self.requester = requests_story.leave_open(
            self.cloud, list(others.values())[:9], self.board, self.window.start, self.window.end
        )
        self.say("Left for you: Tender B waits for the board, three questions wait for votes")

    def stop_gateways(self) -> None:
        """Stop what reads and sends, and let the outboxes drain first."""
        wait_until(
            lambda: all(one.status()["waiting"] == 0 for one in self.real),
            "an outbox does not drain",
            self.processes,
            timeout_s=60,
            every_s=1.0,
        )
        if self.tasmota is not None:
            self.tasmota.stop()
            self.tasmota = None
        for one in self.real:
            self.processes.stop(one.name)
        if self.feed is not None:
            self.feed.stop()
            self.feed = None

    def figures(self, wall_s: float) -> Figures:
        """Compute all figures from the stores."""
        return gather(self.cloud, self.real, cells=self.cells, wall_s=wall_s)

    def close(self) -> None:
        """Stop everything and remove what is not kept."""
        if self.feed is not None:
            self.feed.stop()
        if self.tasmota is not None:
            self.tasmota.stop()
        for neighbour in self.neighbours:
            neighbour.gateway.close()
        self.processes.stop_all()
        if self.line is not None:
            self.line.stop()
        if hasattr(self, "cloud"):
            self.cloud.stop()
        if self.plan.keep is None:
            shutil.rmtree(self.folder, ignore_errors=True)


def open_street(plan: StreetPlan, say: Say) -> Street:
    """Make the street's folder and lay it out.

    Raises:
        DemoFault: The number of homes makes no sense.
    """
    if not HOMES_MIN <= plan.homes <= HOMES_MAX:
        raise DemoFault(f"--homes {plan.homes}: use {HOMES_MIN} to {HOMES_MAX}")
    if plan.keep is not None:
        if plan.keep.exists() and any(plan.keep.iterdir()):
            raise DemoFault(f"{plan.keep} is not empty; name a new folder")
        plan.keep.mkdir(parents=True, exist_ok=True)
    folder = plan.keep or Path(tempfile.mkdtemp(prefix="commonwatt-demo-"))
    return Street(plan=plan, say=say, folder=folder)


def tell(street: Street) -> None:
    """Tell the whole story, meters first."""
    street.open_cloud()
    street.send_history()
    street.start_gateways()
    bargaining = Aside(street.bargain)
    street.wait_for_readings()
    street.cut_the_line()
    street.lose_an_answer()
    street.mend_the_line()
    bargaining.join()
    street.withdraw_a_consent()
    street.settle_and_vote()


def _household(person: Person) -> str:
    if person.household is None:
        raise DemoFault(f"{person.name} has no household")
    return person.household
