"""A month on its way into the books: looked at, proposed, signed by a second person, paid, run again."""

from __future__ import annotations

import hashlib
import json
import secrets

import pytest

from cloud.fund.usecases import holding_of, ledger_in
from cloud.members.roles import Role
from cloud.transparency.repository import newest_entries
from gateway.wire.reading import Purpose
from solar_fund.ledger.accounts import (
    BANK,
    EQUALISATION,
    FUND_CASH,
    MEASUREMENT_RESERVE,
    SUPPLIER_RECEIVABLE,
)
from tests.cloud.coop_builder import Browser, Coop
from tests.cloud.group_builder import (
    WINDOW_END,
    WINDOW_START,
    GroupHome,
    board_of,
    group_of,
    put_on_group_tariff,
    put_use,
)

MONTH = "2026-01"
BANK_NOTE = hashlib.sha256(b"statement of February").hexdigest()
COSTS = {"costs_minor": 100, "monthly_costs_minor": 100}


@pytest.fixture
def homes(coop: Coop) -> list[GroupHome]:
    """Three homes that pay 5 ct less since October."""
    found = group_of(coop, 3, purpose=Purpose.BILLING)
    put_on_group_tariff(coop, found, "0.25", WINDOW_START)
    return found


@pytest.fixture
def amara(coop: Coop) -> Browser:
    return board_of(coop, "Amara")[1]


@pytest.fixture
def jonas(coop: Coop) -> Browser:
    return board_of(coop, "Jonas")[1]


def post(browser: Browser, path: str, body: dict, key: str | None = None):
    return browser.post(
        f"/api/v1/{path}", json=body, headers={"Idempotency-Key": key or secrets.token_hex(8)}
    )


def propose(browser: Browser, **changes):
    return post(browser, "settlements", {"month": MONTH} | COSTS | changes)


def sign(browser: Browser, proposed, month: str = MONTH):
    figures = {"figures_sha256": proposed.json()["figures_sha256"]}
    return post(browser, f"settlements/{month}/sign", figures)


def pay(browser: Browser, booked, **changes):
    body = {
        "revision": booked.json()["revision"],
        "amount_minor": booked.json()["receivable_minor"],
        "bank_evidence": BANK_NOTE,
    }
    return post(browser, f"settlements/{MONTH}/payment", body | changes)


def settle(first: Browser, second: Browser, **changes):
    proposed = propose(first, **changes)
    assert proposed.status_code == 201, proposed.text
    booked = sign(second, proposed, changes.get("month", MONTH))
    assert booked.status_code == 201, booked.text
    return booked


def stands(coop: Coop, account: str) -> int:
    with coop.services.database.reading() as connection:
        return ledger_in(connection, coop.clock()).balance(account, "EUR").posted_minor


def head(coop: Coop):
    with coop.services.database.reading() as connection:
        return ledger_in(connection, coop.clock()).chain_head()


def held(coop: Coop, home: GroupHome) -> int:
    with coop.services.database.reading() as connection:
        holding = holding_of(connection, home.household, "EUR", coop.clock())
    return holding.pocket_minor + holding.capital_minor


def test_looking_ahead_shows_what_would_be_booked_and_writes_nothing(
    coop: Coop, homes: list[GroupHome], amara: Browser
) -> None:
    before = head(coop)

    seen = amara.get(f"/api/v1/settlements/{MONTH}/preview", params=COSTS).json()

    assert seen["stage"] == "worked_out"
    assert seen["homes"] == len(homes)
    assert seen["totals_minor"][SUPPLIER_RECEIVABLE] == seen["saving_minor"] > 0
    assert sum(seen["totals_minor"].values()) == 0
    assert head(coop) == before
    assert amara.get("/api/v1/settlements").json() == []
    assert propose(amara).json()["figures_sha256"] == seen["figures_sha256"]


def test_a_month_is_booked_by_the_second_signature_and_only_for_what_was_seen(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    proposed = propose(amara)
    assert proposed.json()["stage"] == "proposed"
    assert stands(coop, SUPPLIER_RECEIVABLE) == 0

    alone = sign(amara, proposed)
    other = post(jonas, f"settlements/{MONTH}/sign", {"figures_sha256": "0" * 64})
    booked = sign(jonas, proposed)

    assert alone.status_code == 403
    assert other.status_code == 409
    assert booked.status_code == 201
    assert booked.json()["stage"] == "booked"
    assert (booked.json()["proposed_by"], booked.json()["signed_by"]) == ("Amara", "Jonas")
    assert stands(coop, SUPPLIER_RECEIVABLE) == booked.json()["saving_minor"]
    assert sign(jonas, proposed).status_code == 409
    with coop.services.database.reading() as connection:
        newest = newest_entries(connection, kind="ledger.settled", count=1)[0].entry
    assert json.loads(newest)["facts"]["ledger_head"] == head(coop).hash
    assert len(coop.letters_about("is settled")) == len(homes)


def test_a_month_run_again_on_the_same_evidence_adds_nothing_and_says_so(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    del homes
    settle(amara, jonas)
    before = head(coop)

    again = propose(jonas)
    looked = amara.get(f"/api/v1/settlements/{MONTH}/preview", params=COSTS).json()

    assert again.json()["adds_nothing"]
    assert looked["adds_nothing"]
    assert again.json()["stage"] == "booked"
    assert head(coop) == before
    assert [run["revision"] for run in amara.get("/api/v1/settlements").json()] == [1]


def test_a_run_that_stopped_after_any_step_goes_on_where_it_was(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    del homes
    first = propose(amara)
    again = propose(amara)
    assert again.json()["adds_nothing"]
    assert again.json()["figures_sha256"] == first.json()["figures_sha256"]

    dearer = propose(amara, costs_minor=500)
    assert sign(jonas, first).status_code == 409, "a replaced proposal is not signed for"
    booked = sign(jonas, dearer)
    paid = pay(amara, booked)

    assert paid.json()["stage"] == "paid"
    assert stands(coop, SUPPLIER_RECEIVABLE) == 0
    assert len(amara.get(f"/api/v1/settlements/{MONTH}").json()) == 1


def test_the_same_request_counts_once(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    del homes
    proposed = propose(amara)
    figures = {"figures_sha256": proposed.json()["figures_sha256"]}

    first = post(jonas, f"settlements/{MONTH}/sign", figures, key="once")
    before = head(coop)
    again = post(jonas, f"settlements/{MONTH}/sign", figures, key="once")

    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert head(coop) == before
    assert jonas.post(f"/api/v1/settlements/{MONTH}/sign", json=figures).status_code == 422, (
        "without a key it is refused"
    )


def test_the_suppliers_payment_is_recorded_once_and_whole(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    del homes
    booked = settle(amara, jonas)
    owed_minor = booked.json()["receivable_minor"]

    part = pay(amara, booked, amount_minor=owed_minor - 1)
    paid = pay(amara, booked)
    again = pay(amara, booked)
    other = pay(amara, booked, bank_evidence="f" * 64)
    none = pay(amara, booked, revision=2)

    assert (part.status_code, paid.status_code, again.status_code) == (409, 201, 201)
    assert str(owed_minor) in part.json()["detail"]
    assert again.json()["adds_nothing"]
    assert other.status_code == 409
    assert none.status_code == 404
    assert stands(coop, BANK) + stands(coop, FUND_CASH) == owed_minor
    assert stands(coop, FUND_CASH) == -booked.json()["totals_minor"]["Equity:Capital"]


@pytest.mark.parametrize("new_rate", ["0.24", "0.26"])
def test_a_corrected_month_posts_the_difference_as_new_entries(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser, new_rate: str
) -> None:
    first = settle(amara, jonas)
    pay(amara, first)
    before, pockets = head(coop), [held(coop, home) for home in homes]

    put_on_group_tariff(coop, homes, new_rate, WINDOW_START)
    second = settle(amara, jonas)

    change = second.json()["saving_minor"] - first.json()["saving_minor"]
    assert second.json()["is_correction"]
    assert second.json()["revision"] == 2
    assert second.json()["receivable_minor"] == change
    assert head(coop).seq == before.seq + 1, "one entry more, and none changed"
    if change > 0:
        assert sum(held(coop, home) for home in homes) == sum(pockets) + change
    else:
        assert [held(coop, home) for home in homes] == pockets, "nobody pays anything back"
        assert stands(coop, EQUALISATION) == -change
    assert pay(amara, second).status_code == 201
    assert stands(coop, SUPPLIER_RECEIVABLE) == 0
    assert propose(amara).json()["adds_nothing"]


def test_a_loss_that_stands_is_made_up_by_the_next_month_first(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    settle(amara, jonas, month="2025-11")
    put_on_group_tariff(coop, homes, "0.26", WINDOW_START)
    settle(amara, jonas, month="2025-11")
    deficit = stands(coop, EQUALISATION)
    assert deficit > 0

    booked = settle(amara, jonas, month="2025-12")

    assert booked.json()["totals_minor"]["Assets:Equalisation"] == -deficit
    assert stands(coop, EQUALISATION) == 0


def test_a_home_whose_readings_come_late_is_taken_in_by_the_next_run(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    late = GroupHome(person=coop.member("late@example.org")[0], household="", wh_per_hour=50)
    household = late.person.household
    assert household is not None
    late = GroupHome(person=late.person, household=household, wh_per_hour=50)
    _old_tariff(coop, late)
    put_on_group_tariff(coop, [late], "0.25", WINDOW_START)

    refused = propose(amara)
    assert refused.status_code == 409
    assert "1 of 4 homes miss billing readings" in refused.json()["detail"]
    assert household not in refused.text
    first = settle(amara, jonas, leave_out_incomplete=True)
    assert (first.json()["homes"], first.json()["left_out"]) == (len(homes), 1)

    put_use(coop, household, Purpose.BILLING, start=WINDOW_START, end=WINDOW_END, wh_per_hour=50)
    second = settle(amara, jonas)

    saving = second.json()["saving_minor"] - first.json()["saving_minor"]
    assert second.json()["homes"] == len(homes) + 1
    assert second.json()["receivable_minor"] == saving > 0
    assert 0 < held(coop, late) <= saving


def test_the_public_log_does_not_tell_what_a_late_home_saved(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    late = GroupHome(person=coop.member("late@example.org")[0], household="", wh_per_hour=50)
    household = late.person.household
    assert household is not None
    late = GroupHome(person=late.person, household=household, wh_per_hour=50)
    _old_tariff(coop, late)
    put_on_group_tariff(coop, [late], "0.25", WINDOW_START)
    first = settle(amara, jonas, leave_out_incomplete=True)
    assert pay(amara, first).status_code == 201
    put_use(coop, household, Purpose.BILLING, start=WINDOW_START, end=WINDOW_END, wh_per_hour=50)

    assert pay(amara, settle(amara, jonas)).status_code == 201

    with coop.services.database.reading() as connection:
        log = [json.loads(one.entry)["facts"] for one in newest_entries(connection, count=100)]
    first_run = [facts for facts in log if facts.get("revision") == 1]
    correction = [facts for facts in log if facts.get("revision") == 2]
    assert len(first_run) == len(correction) == 4, "settled, proposed, booked and paid"
    assert any("saving_minor" in facts for facts in first_run)
    for facts in correction:
        assert not [name for name in facts if name.endswith("_minor") or name == "homes"]
    assert f"saved by {len(homes)} homes" in amara.get("/fund").text


def test_a_home_that_left_keeps_what_it_was_settled_on(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    first = settle(amara, jonas)
    coop.services.store.erase(homes[0].household)

    again = propose(amara)

    assert again.json()["adds_nothing"]
    assert again.json()["evidence_root"] == first.json()["evidence_root"]


def test_what_rests_on_estimates_is_held_back_until_it_is_measured(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    one = homes[2]
    coop.services.store.erase(one.household)
    put_use(
        coop,
        one.household,
        Purpose.BILLING,
        start=WINDOW_START,
        end=WINDOW_END,
        wh_per_hour=one.wh_per_hour,
        is_estimated=True,
    )
    settle(amara, jonas)
    held_back = -stands(coop, MEASUREMENT_RESERVE)
    # Half of the saving of the one home, whose every hour is an estimate.
    saving = one.wh_per_hour * 31 * 24 * 5 // 1000
    assert held_back == -(-saving // 2)

    coop.services.store.erase(one.household)
    put_use(
        coop,
        one.household,
        Purpose.BILLING,
        start=WINDOW_START,
        end=WINDOW_END,
        wh_per_hour=one.wh_per_hour + 1,
    )
    second = settle(amara, jonas)

    assert stands(coop, MEASUREMENT_RESERVE) == 0
    assert second.json()["totals_minor"][MEASUREMENT_RESERVE] == held_back


def test_figures_that_moved_since_they_were_proposed_are_not_signed_for(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    del homes
    # A small reserve, so that the month booked meanwhile fills it.
    small = {"monthly_costs_minor": 20}
    waiting = propose(amara, month="2025-12", **small)
    settle(amara, jonas, month="2025-11", **small)

    moved = sign(jonas, waiting, "2025-12")
    fresh = propose(amara, month="2025-12", **small)

    assert moved.status_code == 409
    assert "moved" in moved.json()["detail"]
    assert sign(jonas, fresh, "2025-12").status_code == 201


@pytest.mark.parametrize("month", ["2026-03", "2026-13", "2027-01", "now"])
def test_a_month_that_is_not_over_or_is_none_is_refused(
    coop: Coop, homes: list[GroupHome], amara: Browser, month: str
) -> None:
    del coop, homes
    assert propose(amara, month=month).status_code in (409, 422)
    assert amara.get(f"/api/v1/settlements/{month}/preview").status_code in (409, 422)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.BOARD])
def test_only_the_board_settles_and_only_auditors_look_too(
    coop: Coop, homes: list[GroupHome], role: Role
) -> None:
    del homes
    supplier = "Nordwind" if role is Role.SUPPLIER else None
    browser = coop.browser_of(coop.person(role, email="x@example.org", supplier=supplier))
    seen = 200 if role is Role.AUDITOR else 403

    assert browser.get("/api/v1/settlements").status_code == seen
    assert browser.get(f"/api/v1/settlements/{MONTH}/preview").status_code == 403
    assert propose(browser).status_code == 403
    figures = {"figures_sha256": "0" * 64}
    assert post(browser, f"settlements/{MONTH}/sign", figures).status_code == 403
    payment = {"revision": 1, "amount_minor": 1, "bank_evidence": BANK_NOTE}
    assert post(browser, f"settlements/{MONTH}/payment", payment).status_code == 403
    shares = {"call": "founding", "bank_evidence": BANK_NOTE, "shares": "household,amount\nh,1"}
    assert post(browser, "shares", shares).status_code == 403


def test_no_answer_names_a_home(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    del coop
    booked = settle(amara, jonas)
    listed = amara.get("/api/v1/settlements")

    for home in homes:
        assert home.household not in booked.text + listed.text


def test_a_member_reads_the_own_statement_and_no_other(
    coop: Coop, homes: list[GroupHome], amara: Browser, jonas: Browser
) -> None:
    proposed = propose(amara)
    mine = coop.browser_of(homes[0].person)

    (before,) = mine.get("/api/v1/me/savings").json()
    sign(jonas, proposed)
    (after,) = mine.get("/api/v1/me/savings").json()

    assert (before["is_booked"], after["is_booked"]) == (False, True)
    assert after["energy_wh"] == homes[0].wh_per_hour * 31 * 24
    stranger = coop.member("stranger@example.org")[1]
    assert stranger.get("/api/v1/me/savings").json() == []
    assert amara.get("/api/v1/me/savings").status_code == 403


def _old_tariff(coop: Coop, home: GroupHome) -> None:
    browser = coop.browser_of(home.person)
    entry = {"flat": {"supplier": "S", "price_per_kwh": "0.30"}, "valid_from": "2025-01-01"}
    assert browser.post("/api/v1/me/tariff", json=entry).status_code == 201
