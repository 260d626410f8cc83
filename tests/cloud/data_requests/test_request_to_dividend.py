"""A request to use data from the proposal to what it earns each home, over HTTP, role by role."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text as sql

from cloud.erasure import erase_home
from cloud.fund.usecases import holding_of, ledger_in
from cloud.members.roles import Role
from solar_fund.ledger.accounts import BANK, DATA_INCOME, FUND_CASH
from tests.cloud.coop_builder import Coop, open_coop
from tests.cloud.data_requests.request_builder import (
    HOMES_MIN,
    PATH,
    SETTINGS,
    Asking,
    asking_in,
)
from tests.cloud.votes.policy_builder import cast, count, facts_of

FEE_MINOR = 120_001


@pytest.fixture
def coop(tmp_path: Path) -> Iterator[Coop]:
    with open_coop(tmp_path, **SETTINGS) as opened:
        yield opened


@pytest.fixture
def asking(coop: Coop) -> Asking:
    return asking_in(coop)


def test_the_whole_way_ends_in_every_pocket_and_in_the_log(coop: Coop, asking: Asking) -> None:
    proposal_id = asking.submit()

    released = asking.release(proposal_id)
    paid = asking.pay(proposal_id)

    assert released["state"] == "released", released
    assert paid.status_code == 200, paid.text
    for kind in (
        "proposal.submitted",
        "proposal.vetted",
        "proposal.vote_opened",
        "proposal.voted",
        "cohort.frozen",
        "proposal.signed",
        "release.made",
        "proposal.released",
        "proposal.paid",
    ):
        assert facts_of(coop, kind), kind
    with coop.services.database.reading() as connection:
        ledger = ledger_in(connection, coop.clock())
        held = [
            holding_of(connection, person.household, "EUR", coop.clock())
            for person, _browser in asking.members
        ]
        books = {
            name: ledger.balance(name, "EUR").posted_minor
            for name in (BANK, FUND_CASH, DATA_INCOME)
        }
        total = sum(line.balance.posted_minor for line in ledger.trial_balance())
    capital_minor = sum(one.capital_minor for one in held)
    assert sum(one.pocket_minor for one in held) + capital_minor == FEE_MINOR
    assert books == {BANK: FEE_MINOR - capital_minor, FUND_CASH: capital_minor, DATA_INCOME: 0}
    assert total == 0
    shares = [one.pocket_minor + one.capital_minor for one in held]
    assert max(shares) - min(shares) <= 2, "every home counts the same"


def test_the_requester_fetches_what_was_released_and_nobody_else(
    coop: Coop, asking: Asking
) -> None:
    proposal_id = asking.submit()
    released = asking.release(proposal_id)
    other = coop.browser_of(coop.person(Role.REQUESTER, email="other@example.org"))
    path = f"{PATH}/{proposal_id}/result.csv"

    file = asking.requester.get(path)

    assert hashlib.sha256(file.content).hexdigest() == released["output_sha256"]
    assert facts_of(coop, "release.made")[0]["output"] == released["output_sha256"]
    assert other.get(path).status_code == 404
    assert other.get(f"{PATH}/{proposal_id}").status_code == 404
    for browser in (asking.board[0], asking.members[0][1]):
        assert browser.get(path).status_code == 403
    assert coop.new_browser().get(path).status_code == 401
    assert len(facts_of(coop, "proposal.downloaded")) == 1


def test_the_figures_are_near_the_sum_with_the_noise_that_was_said(
    coop: Coop, asking: Asking
) -> None:
    proposal_id = asking.submit()
    released = asking.release(proposal_id)
    content = asking.requester.get(f"{PATH}/{proposal_id}/result.csv").text

    rows = list(csv.DictReader(io.StringIO(content)))

    # Of both months January is the longer one; the last hour of February is local March.
    hourly_wh = sum(100 + 10 * number for number in range(1, HOMES_MIN + 1))
    january = next(int(row["energy_wh"]) for row in rows if row["month"] == "1")
    assert abs(january - hourly_wh * 31 * 24) < 6 * released["noise_deviation_wh"] + hourly_wh
    assert set(rows[0]) == {"month", "energy_wh"}


def test_one_signature_releases_nothing_and_the_same_hand_does_not_count_twice(
    coop: Coop, asking: Asking
) -> None:
    proposal_id = asking.submit()
    asking.approve(proposal_id)
    asking.freeze(proposal_id)

    assert asking.sign(proposal_id, 0).json()["state"] == "frozen"
    assert asking.sign(proposal_id, 0).status_code == 403
    assert asking.requester.get(f"{PATH}/{proposal_id}/result.csv").status_code == 409
    assert facts_of(coop, "release.made") == []
    assert asking.sign(proposal_id, 1).json()["state"] == "released"
    assert asking.sign(proposal_id, 2).status_code == 409


def test_nobody_signs_for_an_own_proposal(coop: Coop, asking: Asking) -> None:
    both = coop.person(Role.BOARD, Role.REQUESTER, email="both@example.org")
    asking.people[-1] = both
    asking.sign_in()
    proposal_id = asking.submit()
    asking.approve(proposal_id)
    asking.freeze(proposal_id)

    assert asking.requester.post(f"{PATH}/{proposal_id}/signatures").status_code == 403


def test_a_no_of_the_members_ends_it(asking: Asking) -> None:
    proposal_id = asking.submit()

    asking.approve(proposal_id, choice="no")

    assert asking.show(proposal_id)["state"] == "failed"
    assert asking.board[0].post(f"{PATH}/{proposal_id}/freeze").status_code == 409
    assert asking.sign(proposal_id, 0).status_code == 409


def test_a_vote_without_a_quorum_ends_it_too(coop: Coop, asking: Asking) -> None:
    proposal_id = asking.submit()
    asking.vet(proposal_id)
    vote = asking.open_vote(proposal_id)
    cast(asking.members[0][1], vote, choice="yes")

    count(coop, vote, days=14)
    asking.sign_in()

    assert asking.show(proposal_id)["state"] == "failed"


def test_what_is_voted_on_is_the_text_that_was_vetted(asking: Asking) -> None:
    proposal_id = asking.submit()
    asking.vet(proposal_id)
    vote = asking.open_vote(proposal_id)

    question = asking.members[0][1].get(f"/api/v1/votes/{vote}").json()["paper"]["question"]

    assert question["data_request"] == {
        "proposal_id": proposal_id,
        "text_sha256": asking.show(proposal_id)["text_sha256"],
    }


def test_a_vote_is_opened_once_and_not_before_the_board_looked(asking: Asking) -> None:
    proposal_id = asking.submit()
    open_it = f"{PATH}/{proposal_id}/vote"

    assert asking.board[0].post(open_it, json={}).status_code == 409
    asking.vet(proposal_id)
    assert asking.requester.post(open_it, json={}).status_code == 403
    assert (
        asking.board[0].post(open_it, json={"closes_at": "2026-03-03T00:00:00Z"}).status_code == 422
    )
    asking.open_vote(proposal_id)
    assert asking.board[0].post(open_it, json={}).status_code == 409


def test_every_member_is_told_by_letter(coop: Coop, asking: Asking) -> None:
    proposal_id = asking.submit()
    asking.vet(proposal_id)

    with coop.services.database.reading() as connection:
        to = set(connection.execute(sql("SELECT address FROM notices")).scalars())
        texts = list(connection.execute(sql("SELECT text FROM notices")).scalars())

    assert {f"m{number}@example.org" for number in range(HOMES_MIN)} <= to | {
        letter.to for letter in coop.postbox.letters
    }
    assert all(f"/data-requests/{proposal_id}" in text for text in texts)


def test_the_floor_refuses_and_the_refusal_is_logged_and_ends_the_request(
    coop: Coop, asking: Asking
) -> None:
    proposal_id = asking.submit()
    asking.approve(proposal_id)
    asking.freeze(proposal_id)
    asking.sign(proposal_id, 0)
    asking.members[0][1].post("/api/v1/consents/research/withdraw")

    answer = asking.sign(proposal_id, 1).json()

    assert answer["state"] == "cancelled"
    assert f"at least {HOMES_MIN}" in answer["refusal"]
    assert facts_of(coop, "release.refused")[0]["homes"] == HOMES_MIN - 1
    assert facts_of(coop, "proposal.refused")
    assert asking.requester.get(f"{PATH}/{proposal_id}/result.csv").status_code == 409


def test_the_budget_of_a_year_lasts_for_two_requests_and_no_third(
    coop: Coop, asking: Asking
) -> None:
    states = [asking.release(asking.submit(key=f"k{number}"))["state"] for number in range(3)]

    assert states == ["released", "released", "cancelled"]
    assert len(facts_of(coop, "release.made")) == 2


def test_a_home_that_left_itself_out_is_not_in_it_and_earns_nothing(tmp_path: Path) -> None:
    with open_coop(tmp_path, **SETTINGS) as coop:
        asking = asking_in(coop, HOMES_MIN + 1)
        proposal_id = asking.submit()
        out, browser = asking.members[0]
        assert browser.post(f"{PATH}/{proposal_id}/opt-out").status_code == 204
        asking.release(proposal_id)
        asking.pay(proposal_id)

        uses = asking.members[0][1].get(f"{PATH}/uses").json()
        others = asking.members[1][1].get(f"{PATH}/uses").json()

        assert (uses["requests"], uses["earned_minor"]) == ([], 0)
        assert others["requests"][0]["proposal_id"] == proposal_id
        assert others["earned_minor"] == others["requests"][0]["earned_minor"] >= 10_000
        assert out.household not in str(facts_of(coop, "proposal.released"))


def test_a_requester_may_need_more_homes_than_the_floor(asking: Asking) -> None:
    proposal_id = asking.submit(homes_min=HOMES_MIN + 1)
    asking.approve(proposal_id)

    assert asking.freeze(proposal_id)["state"] == "cancelled"


def test_a_fee_is_booked_once_by_the_board_and_with_evidence(asking: Asking) -> None:
    proposal_id = asking.submit()
    assert asking.pay(proposal_id).status_code == 409
    asking.release(proposal_id)

    assert asking.pay(proposal_id, "zz" * 32).status_code == 422
    assert (
        asking.requester.post(
            f"{PATH}/{proposal_id}/fee", json={"bank_evidence": "ab" * 32}
        ).status_code
        == 403
    )
    assert asking.pay(proposal_id).status_code == 200
    assert asking.pay(proposal_id).status_code == 409


def test_a_free_request_owes_nothing(asking: Asking) -> None:
    proposal_id = asking.submit(price_minor=0)
    asking.release(proposal_id)

    assert asking.pay(proposal_id).status_code == 409


def test_an_erased_home_gets_no_part_and_the_fee_still_adds_up(coop: Coop, asking: Asking) -> None:
    proposal_id = asking.submit()
    asking.release(proposal_id)
    with coop.services.database.transaction() as connection:
        erase_home(connection, asking.members[0][0].household, now=coop.clock())

    assert asking.pay(proposal_id).status_code == 200

    with coop.services.database.reading() as connection:
        held = [
            holding_of(connection, person.household, "EUR", coop.clock())
            for person, _browser in asking.members[1:]
        ]
    assert sum(one.pocket_minor + one.capital_minor for one in held) == FEE_MINOR


def test_a_result_changed_on_disk_is_not_handed_out(coop: Coop, asking: Asking) -> None:
    proposal_id = asking.submit()
    asking.release(proposal_id)
    with coop.services.database.transaction() as connection:
        connection.execute(sql("UPDATE data_proposal_results SET content = x'00'"))

    answer = asking.requester.get(f"{PATH}/{proposal_id}/result.csv")

    assert answer.status_code == 409
    assert "not what was released" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("template", "figures"),
    # January and February, and the one local hour of March that the period in UTC reaches into.
    [("annual_1", 1), ("monthly_12", 3), ("tou_36", 7), ("typical_day_576", 97)],
)
def test_every_template_has_its_figures(asking: Asking, template: str, figures: int) -> None:
    proposal_id = asking.submit(template=template)
    assert asking.release(proposal_id)["state"] == "released"

    rows = asking.requester.get(f"{PATH}/{proposal_id}/result.csv").text.splitlines()

    assert len(rows) - 1 == figures


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.BOARD])
def test_only_the_board_opens_freezes_signs_and_books(
    coop: Coop, asking: Asking, role: Role
) -> None:
    proposal_id = asking.submit()
    supplier = "nord" if role is Role.SUPPLIER else None
    browser = coop.browser_of(coop.person(role, email="x@example.org", supplier=supplier))

    for path, body in (
        ("vote", {}),
        ("freeze", None),
        ("signatures", None),
        ("fee", {"bank_evidence": "ab" * 32}),
    ):
        answer = browser.post(f"{PATH}/{proposal_id}/{path}", json=body)
        assert answer.status_code == 403, path


@pytest.mark.parametrize(
    "changes",
    [{"quantity": "generation_wh"}, {"period_start": "2026-01-01T00:30:00Z"}],
)
def test_what_cannot_be_released_is_not_even_screened(asking: Asking, changes: dict) -> None:
    with pytest.raises(AssertionError, match="screening"):
        asking.submit(**changes)


def test_a_release_stands_on_the_members_page_with_what_it_earned(asking: Asking) -> None:
    proposal_id = asking.submit()
    asking.release(proposal_id)
    asking.pay(proposal_id)

    uses = asking.members[0][1].get(f"{PATH}/uses").json()

    (one,) = uses["requests"]
    assert (one["title"], one["recipient"], one["homes"]) == (
        "Evening peaks",
        "University of Nowhere",
        HOMES_MIN,
    )
    assert uses["earned_minor"] in (FEE_MINOR // HOMES_MIN, FEE_MINOR // HOMES_MIN + 1)
