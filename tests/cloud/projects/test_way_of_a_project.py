"""A project from proposal to close: who may do what, what is on record, and where the money goes."""

from __future__ import annotations

import hashlib
import json

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DatabaseError

from cloud.errors import BadInput, NotAllowed, NotFound, StateConflict
from cloud.fund.usecases import fund_state, ledger_in
from cloud.members.roles import Role
from cloud.projects import repository, signing, usecases
from cloud.projects.appraising import LOAD, WEATHER, appraise_project, keep_file
from cloud.projects.project_life import month_checks, newest_appraisal
from cloud.transparency.audit import audit
from cloud.transparency.repository import newest_entries
from tests.cloud.projects.project_builder import (
    MILESTONES,
    SHARE_MINOR,
    Fundable,
    load_bytes,
    plan_text,
    sha,
    weather_bytes,
)

COST_MINOR = 150_000


def books(fundable: Fundable):
    now = fundable.coop.clock()
    return fundable.read(lambda connection: fund_state(connection, "EUR", now))


def ledger_adds_up(fundable: Fundable) -> bool:
    def look(connection) -> bool:
        ledger = ledger_in(connection, fundable.coop.clock())
        total = sum(line.balance.posted_minor for line in ledger.trial_balance())
        return total == 0 and ledger.verify_chain().is_whole

    return fundable.read(look)


def logged(fundable: Fundable) -> list[str]:
    entries = fundable.read(lambda connection: newest_entries(connection, count=200))
    return [entry.kind for entry in reversed(entries) if entry.kind.startswith("project.")]


def test_a_grant_is_paid_by_milestones_and_the_books_add_up(fundable: Fundable) -> None:
    fundable.granted()
    assert books(fundable).granted_minor == COST_MINOR

    fundable.pay("contract signed")
    assert books(fundable).granted_minor == COST_MINOR - 45_000
    assert books(fundable).projects_minor == 45_000
    fundable.built()
    fundable.pay("installed")
    fundable.operating()
    fundable.coop.clock.turn(days=60)
    fundable.meter("2026-03", 210_000)
    fundable.pay("metered for a month")

    state = books(fundable)
    assert (state.granted_minor, state.projects_minor) == (0, COST_MINOR)
    assert state.cash_minor == 6 * SHARE_MINOR - COST_MINOR
    assert [payment.amount_minor for payment in fundable.life().payments] == [
        45_000,
        90_000,
        15_000,
    ]
    assert ledger_adds_up(fundable)
    assert logged(fundable) == [
        "project.proposed",
        "project.screened",
        "project.appraised",
        "project.listed",
        "project.voted",
        "project.granted",
        "project.signed",
        "project.paid",
        "project.built",
        "project.signed",
        "project.paid",
        "project.operating",
        "project.metered",
        "project.signed",
        "project.paid",
    ]
    assert fundable.read(audit).faults == ()


def test_a_project_given_up_returns_what_was_not_paid(fundable: Fundable) -> None:
    fundable.granted()
    fundable.pay("contract signed")

    fundable.pay("lapse")

    state = books(fundable)
    assert fundable.state() == "lapsed"
    assert (state.granted_minor, state.projects_minor) == (0, 45_000)
    assert state.available_minor == 6 * SHARE_MINOR - 45_000
    assert ledger_adds_up(fundable)
    with pytest.raises(StateConflict, match="paid once it is built"):
        fundable.sign("installed", fundable.board[0])


def test_closing_returns_what_was_never_earned(fundable: Fundable) -> None:
    fundable.granted()
    fundable.pay("contract signed")
    fundable.built()
    fundable.operating()

    fundable.do(usecases.close_project, "school", words="The roof was sold with the house.")

    assert fundable.state() == "closed"
    assert books(fundable).granted_minor == 0
    assert books(fundable).available_minor == 6 * SHARE_MINOR - 45_000
    assert ledger_adds_up(fundable)


def test_one_of_the_board_cannot_pay_alone(fundable: Fundable) -> None:
    fundable.granted()
    first, second = fundable.board
    assert not fundable.sign("contract signed", first)

    with pytest.raises(NotAllowed, match="second member"):
        fundable.sign("contract signed", first)
    with pytest.raises(StateConflict, match="compare the two"):
        fundable.sign("contract signed", second, text="another invoice")
    assert books(fundable).projects_minor == 0

    assert not fundable.sign("contract signed", first, text="the right invoice")
    assert fundable.sign("contract signed", second, text="the right invoice")
    assert books(fundable).projects_minor == 45_000
    with pytest.raises(StateConflict, match="next milestone is installed"):
        fundable.sign("contract signed", first)


def test_milestones_wait_for_what_they_are_paid_for(fundable: Fundable) -> None:
    fundable.granted()
    for early in ("installed", "metered for a month"):
        with pytest.raises(StateConflict):
            fundable.sign(early, fundable.board[0])
    fundable.pay("contract signed")
    with pytest.raises(StateConflict, match="paid once it is built"):
        fundable.sign("installed", fundable.board[0])
    fundable.built()
    fundable.pay("installed")
    fundable.operating()
    with pytest.raises(StateConflict, match="first metered month"):
        fundable.sign(MILESTONES[-1], fundable.board[0])


@pytest.mark.parametrize("role", [Role.MEMBER, Role.AUDITOR, Role.OPERATOR, Role.REQUESTER])
def test_only_the_board_decides(fundable: Fundable, role: Role) -> None:
    fundable.propose("school")
    person = fundable.coop.person(role, email="other@example.org")
    for step, named in (
        (usecases.screen_project, {"words": "It is fine."}),
        (usecases.reject_project, {"words": "It is not."}),
        (usecases.note_built, {"evidence": "0" * 64}),
        (usecases.note_operating, {"evidence": "0" * 64, "first_month": "2026-03"}),
        (signing.sign_for, {"act": "lapse", "evidence": "0" * 64}),
    ):
        with pytest.raises(NotAllowed):
            fundable.do(step, "school", person=person, **named)
    with pytest.raises(NotAllowed):
        keep_file(
            fundable.coop.services.database,
            kind=WEATHER,
            name="w.csv",
            content=b"x",
            person=person,
            now=fundable.coop.clock(),
        )
    assert fundable.state() == "proposed"


def test_nobody_decides_on_a_proposal_of_their_own(fundable: Fundable) -> None:
    both = fundable.coop.person(Role.BOARD, Role.MEMBER, email="both@example.org")
    fundable.propose("school", person=both)

    with pytest.raises(NotAllowed, match="of their own"):
        fundable.do(usecases.screen_project, "school", words="My own roof.", person=both)
    fundable.screen("school")
    with pytest.raises(NotAllowed, match="did not propose"):
        appraise_project(
            fundable.coop.services.database,
            "school",
            weather_sha256="0" * 64,
            load_sha256=None,
            person=both,
            now=fundable.coop.clock(),
        )


def test_who_is_no_member_proposes_nothing(fundable: Fundable) -> None:
    with pytest.raises(NotAllowed, match="by a member"):
        fundable.propose("school", person=fundable.board[0])


def test_a_rejected_project_says_why_and_ends(fundable: Fundable) -> None:
    fundable.propose("school")
    fundable.do(usecases.reject_project, "school", words="The roof is full of asbestos.")

    events = fundable.read(lambda connection: repository.events_of(connection, "school"))
    assert events[-1].words == "The roof is full of asbestos."
    assert events[-1].evidence == sha("The roof is full of asbestos.")
    with pytest.raises(StateConflict, match="it has ended"):
        fundable.screen("school")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"head": 'id = "School!"\ncurrency = "EUR"'}, "id is"),
        ({"head": 'id = "new"\ncurrency = "EUR"'}, "id is"),
        ({"head": 'id = "school"\ncurrency = "GBP"'}, "the co-op's fund holds EUR"),
        ({"cost": "[cost]\nrunning_per_year = 1"}, "cost.capex is missing"),
        ({"cost": "[cost]\ncapex = 10\n[finance]\nloan = 10"}, "too little"),
        ({"array": "[[array]]\ntilt_deg = 1\nazimuth_deg = 1"}, "peak_kw"),
        ({"value": "[value]\nown_use_price_per_kwh = 'dear'"}, "own_use_price_per_kwh"),
        ({"site": "site = [[["}, "is no TOML"),
        ({"cost": "[cost]\ncapex = '1E-999999'"}, "project file"),
        ({"array": "[[array]]\npeak_kw=1\ntilt_deg=1\nazimuth_deg=1\n" * 21}, "21 arrays"),
        ({"site": "#" * 70_000}, "longer than"),
    ],
)
def test_a_project_file_that_cannot_be_used_names_its_fault(
    fundable: Fundable, changes: dict[str, str], named: str
) -> None:
    with pytest.raises(BadInput, match=named):
        fundable.propose("school", text=plan_text("school", **changes))
    assert fundable.read(repository.all_projects) == []


def test_two_projects_do_not_share_a_name(fundable: Fundable) -> None:
    fundable.propose("school")
    with pytest.raises(StateConflict, match="exists already"):
        fundable.propose("school", person=fundable.members[1])


def test_the_fund_pays_what_no_loan_pays(fundable: Fundable) -> None:
    fundable.propose(
        "school", text=plan_text("school", capex=1_500) + "[finance]\nloan = 600\nloan_years = 5\n"
    )
    project = fundable.read(lambda connection: repository.project_row(connection, "school"))
    assert project.cost_minor == 90_000


def test_an_appraisal_is_kept_with_what_it_rests_on(fundable: Fundable) -> None:
    fundable.propose("school")
    fundable.screen("school")
    details = fundable.appraise("school")

    events = fundable.read(lambda connection: repository.events_of(connection, "school"))
    written = repository.details_text(events[-1].details)
    assert events[-1].evidence == hashlib.sha256(written.encode()).hexdigest()
    assert json.loads(written) == json.loads(json.dumps(details))
    assert details["weather_sha256"] == hashlib.sha256(weather_bytes()).hexdigest()
    report = details["report"]
    assert report["self_consumption_share"] is None
    assert 3_000 < report["annual_energy_kwh"] < 5_000
    assert {line["name"] for line in report["assumptions"]} >= {"weather", "cost.capex"}


def test_own_use_is_marginal_to_projects_already_funded(fundable: Fundable) -> None:
    fundable.granted("school")
    fundable.propose("barn")
    fundable.screen("barn")

    details = fundable.appraise("barn", with_load=True)

    report = details["report"]
    alone, after = report["self_consumption_alone"], report["self_consumption_after_funded"]
    assert details["after"] == ["school"]
    assert details["load_sha256"] == hashlib.sha256(load_bytes()).hexdigest()
    assert alone["own_kwh"] > after["own_kwh"] >= 0
    # Two equal roofs share one flat load: together they use what one of twice the size would.
    assert report["self_consumption_share"] == after["own_share"]


@pytest.mark.parametrize(
    ("kind", "content", "named"),
    [
        (WEATHER, b"nothing known\n", "line 1: is no weather file we know"),
        (WEATHER, b"\0" * (4 * 1024 * 1024 + 1), "1 to 4194304 bytes"),
        (LOAD, b"a,b\n1,2\n", "line 1.*columns"),
        (LOAD, b"\n" * 50_000, "more than 40000 rows"),
        ("photo", b"x", "of the kind weather or load"),
    ],
)
def test_a_file_that_cannot_be_used_is_not_kept(
    fundable: Fundable, kind: str, content: bytes, named: str
) -> None:
    with pytest.raises(BadInput, match=named) as refused:
        fundable.keep(kind, content)
    assert "/tmp" not in str(refused.value)
    assert fundable.read(repository.all_files) == []


def test_the_same_file_is_kept_once_and_its_path_is_forgotten(fundable: Fundable) -> None:
    assert fundable.keep() == fundable.keep()
    files = fundable.read(repository.all_files)
    assert [file.name for file in files] == ["weather.csv"]
    fundable.propose("school")
    fundable.screen("school")
    with pytest.raises(NotFound, match="load file"):
        appraise_project(
            fundable.coop.services.database,
            "school",
            weather_sha256=files[0].sha256,
            load_sha256=files[0].sha256,
            person=fundable.board[0],
            now=fundable.coop.clock(),
        )


def test_weather_of_another_place_is_refused_in_words(fundable: Fundable) -> None:
    site = '[site]\ntimezone = "Europe/Berlin"\nlatitude_deg = 52.5\nlongitude_deg = 13.4'
    fundable.propose("school", text=plan_text("school", site=site))
    fundable.screen("school")
    with pytest.raises(BadInput, match="km from the site"):
        fundable.appraise("school")
    assert fundable.state() == "screened"


def test_forecast_stands_beside_the_meter_and_a_correction_counts(fundable: Fundable) -> None:
    fundable.granted()
    fundable.built()
    fundable.operating(first_month="2026-03")
    fundable.coop.clock.turn(days=70)
    fundable.meter("2026-03", 250_000)
    fundable.meter("2026-04", None)
    fundable.meter("2026-03", 205_000)

    def look(connection):
        events = repository.events_of(connection, "school")
        return month_checks(events), sum(event.kind == "metered" for event in events)

    checks, entries = fundable.read(look)
    assert [(check.month, check.metered_wh) for check in checks] == [
        ("2026-03", 205_000),
        ("2026-04", None),
    ]
    assert checks[0].difference_wh == 205_000 - checks[0].forecast_wh
    assert checks[1].difference_wh is None
    assert entries == 3


@pytest.mark.parametrize(
    ("month", "named"),
    [
        ("2026-02", "before commissioning"),
        ("2030-01", "not over yet"),
        ("2026-13", "no month"),
        ("26-1", "no month"),
        ("٢٠٢٦-٠٣", "no month"),
    ],
)
def test_a_month_that_cannot_have_been_metered_is_refused(
    fundable: Fundable, month: str, named: str
) -> None:
    fundable.granted()
    fundable.built()
    fundable.operating()
    with pytest.raises(BadInput, match=named):
        fundable.meter(month, 1)


def test_nothing_is_metered_before_it_operates(fundable: Fundable) -> None:
    fundable.granted()
    with pytest.raises(StateConflict, match="once the project operates"):
        fundable.meter("2026-03", 1)


def test_evidence_is_a_hash(fundable: Fundable) -> None:
    fundable.granted()
    with pytest.raises(BadInput, match="no SHA-256"):
        fundable.do(usecases.note_built, "school", evidence="a photo")
    assert fundable.state() == "granted"


@pytest.mark.parametrize(
    "table",
    [repository.solar_projects, repository.project_events, repository.project_files],
    ids=lambda table: table.name,
)
def test_the_database_itself_keeps_projects_events_and_files(fundable: Fundable, table) -> None:
    fundable.appraised("school")
    column = next(iter(table.c.keys()))
    for statement in (update(table).values({column: table.c[column]}), delete(table)):
        with pytest.raises(DatabaseError, match="never changed or deleted"):
            fundable.write(lambda connection, statement=statement: connection.execute(statement))


def test_a_new_appraisal_takes_the_place_of_a_wrong_one(fundable: Fundable) -> None:
    fundable.appraised("school")
    details = fundable.appraise("school", with_load=True)

    events = fundable.read(lambda connection: repository.events_of(connection, "school"))
    assert [event.kind for event in events].count("appraised") == 2
    assert newest_appraisal(events).details["load_sha256"] == details["load_sha256"]
