import json
from dataclasses import replace
from datetime import UTC, date, datetime
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from solar_fund.cli import app
from solar_fund.errors import (
    AccountNumberInvalid,
    BalanceAssertionFailed,
    BankFileInvalid,
    DistributionRefused,
    OverdraftRefused,
    PayoutRefused,
    ReleaseRefused,
)
from solar_fund.ledger.accounts import BANK, CAPITAL, POCKET, SUSPENSE, member_account
from solar_fund.legal_forms import RULES, LegalForm
from solar_fund.payments.camt import read_statements, read_status_report
from solar_fund.payments.desk import PaymentDesk, PaymentRequest
from solar_fund.payments.orders import BatchKind, Mandate
from solar_fund.payments.reconciliation import Reconciler
from solar_fund.payments.sepa import (
    CreditTransferSchema,
    DirectDebitSchema,
    credit_transfer_file,
    direct_debit_file,
)
from tests.solar_fund.payments.bank_files import (
    OWN_IBAN,
    details,
    returned,
    statement_xml,
    status_xml,
)
from tests.solar_fund.payments.conftest import OPENING_MINOR, eur, fill_pockets, german_iban

OPENING = f"{OPENING_MINOR / 100:.2f}"


@pytest.fixture
def ledger(engine, clock):
    return fill_pockets(engine, clock, {"ann": 5_000, "ben": 2_500, "cy": 900})


def request_of(member, amount_minor, number=1, **more):
    return PaymentRequest(
        member_id=member,
        name=f"Name of {member}",
        iban=german_iban(number),
        money=eur(amount_minor),
        memo="Savings",
        **more,
    )


def proposed(engine, clock, requests=None, kind=BatchKind.PAYOUT, key="k"):
    requests = requests or [request_of("ann", 5_000), request_of("ben", 2_500)]
    with engine.begin() as connection:
        return PaymentDesk(connection, clock=clock).propose(key, requests, kind=kind, by="anna")


def released(engine, clock, **more):
    batch = proposed(engine, clock, **more)
    with engine.begin() as connection:
        return PaymentDesk(connection, clock=clock).release(batch.batch_id, by="ben")


def take(engine, clock, entries, **more):
    (statement,) = read_statements(statement_xml(entries, opening=OPENING, **more))
    with engine.begin() as connection:
        return Reconciler(connection, own_iban=OWN_IBAN, clock=clock).take_statement(statement)


def report(engine, clock, content):
    with engine.begin() as connection:
        reconciler = Reconciler(connection, own_iban=OWN_IBAN, clock=clock)
        return reconciler.take_status_report(read_status_report(content))


def pocket(ledger, member):
    return ledger.balance(member_account(POCKET, member), "EUR")


def order_of(batch, member):
    return next(order for order in batch.orders if order.member_id == member)


def test_pockets_below_ten_euros_are_carried_forward(engine, clock, ledger):
    with engine.begin() as connection:
        assert PaymentDesk(connection, clock=clock).payable() == {
            "ann": eur(5_000),
            "ben": eur(2_500),
        }


def test_a_proposal_reserves_the_pockets_so_nothing_is_promised_twice(engine, clock, ledger):
    proposed(engine, clock)
    assert pocket(ledger, "ann").pending_debit_minor == 5_000
    with pytest.raises(OverdraftRefused):
        proposed(engine, clock, requests=[request_of("ann", 1)], key="second")
    assert pocket(ledger, "ann").pending_debit_minor == 5_000


def test_the_proposer_cannot_release_and_nothing_leaves_before_release(engine, clock, ledger):
    batch = proposed(engine, clock)
    with engine.begin() as connection:
        desk = PaymentDesk(connection, clock=clock)
        for somebody in ("anna", " ANNA ", ""):
            with pytest.raises(ReleaseRefused):
                desk.release(batch.batch_id, by=somebody)
        with pytest.raises(ReleaseRefused):
            desk.released(batch.batch_id)
        assert desk.release(batch.batch_id, by="ben").released_by == "ben"
        assert desk.release(batch.batch_id, by="ben").released_by == "ben"
        with pytest.raises(ReleaseRefused):
            desk.cancel(batch.batch_id, by="anna")


def test_a_cancelled_batch_gives_everything_back_and_stays_cancelled(engine, clock, ledger):
    batch = proposed(engine, clock)
    with engine.begin() as connection:
        desk = PaymentDesk(connection, clock=clock)
        desk.cancel(batch.batch_id, by="anna")
        desk.cancel(batch.batch_id, by="anna")
        with pytest.raises(ReleaseRefused):
            desk.release(batch.batch_id, by="ben")
    assert pocket(ledger, "ann").pending_debit_minor == 0


def test_a_batch_key_means_one_batch_for_good(engine, clock, ledger):
    first = proposed(engine, clock)
    assert proposed(engine, clock) == first
    with pytest.raises(PayoutRefused):
        proposed(engine, clock, requests=[request_of("ann", 1)])


@pytest.mark.parametrize(
    ("requests", "refusal"),
    [
        ([request_of("ann", 1), request_of("ann", 2)], PayoutRefused),
        ([request_of("ann", 0)], PayoutRefused),
        ([request_of("ann", 5_001)], OverdraftRefused),
        (
            [PaymentRequest(member_id="ann", name="A", iban="DE00", money=eur(5), memo="Savings")],
            AccountNumberInvalid,
        ),
    ],
)
def test_a_faulty_batch_is_refused_whole(engine, clock, ledger, requests, refusal):
    head = ledger.chain_head()
    with pytest.raises(refusal):
        proposed(engine, clock, requests=[request_of("ben", 100), *requests])
    assert ledger.chain_head() == head


@pytest.mark.parametrize("schema", list(CreditTransferSchema))
def test_the_payout_file_adds_up_and_is_the_same_every_time(engine, clock, ledger, own, schema):
    batch = released(engine, clock)
    file = credit_transfer_file(batch, own, date(2026, 10, 5), schema)
    assert credit_transfer_file(batch, own, date(2026, 10, 5), schema) == file
    space = f"{{urn:iso:std:iso:20022:tech:xsd:{schema.value}}}"
    root = ET.fromstring(file)  # noqa: S314 - our own file
    assert root.find(f".//{space}GrpHdr/{space}MsgId").text == batch.batch_id
    assert root.find(f".//{space}GrpHdr/{space}CtrlSum").text == "75.00"
    ids = {element.text for element in root.iter(f"{space}EndToEndId")}
    assert ids == {order.end_to_end_id for order in batch.orders}


@pytest.mark.parametrize("schema", list(DirectDebitSchema))
def test_a_collection_brings_capital_when_the_bank_books_it(engine, clock, ledger, own, schema):
    mandate = Mandate(mandate_id="M-1", signed_on=date(2026, 9, 1))
    batch = released(
        engine,
        clock,
        requests=[request_of("ann", 10_000, mandate=mandate)],
        kind=BatchKind.COLLECTION,
    )
    file = direct_debit_file(batch, own, date(2026, 10, 5), schema)
    assert b"<MndtId>M-1</MndtId>" in file
    (order,) = batch.orders
    outcome = take(engine, clock, [("100.00", "CRDT", details(order.end_to_end_id))])
    assert outcome.posted == [order.end_to_end_id]
    capital = member_account(CAPITAL, "ann")
    assert ledger.balance(capital, "EUR").posted_minor == -10_000
    back = [("100.00", "DBIT", details(order.end_to_end_id, returned("MD01")))]
    opening = f"{OPENING_MINOR / 100 + 100:.2f}"
    (statement,) = read_statements(statement_xml(back, opening=opening, day="2026-10-08"))
    with engine.begin() as connection:
        reconciler = Reconciler(connection, own_iban=OWN_IBAN, clock=clock)
        assert reconciler.take_statement(statement).returned == [order.end_to_end_id]
    assert ledger.balance(capital, "EUR").posted_minor == 0


def test_collections_need_mandates_and_a_creditor_identifier(engine, clock, ledger, own):
    batch = released(engine, clock, requests=[request_of("ann", 10_000)], kind=BatchKind.COLLECTION)
    with pytest.raises(PayoutRefused, match="mandate"):
        direct_debit_file(batch, own, date(2026, 10, 5))
    with pytest.raises(PayoutRefused):
        credit_transfer_file(batch, own, date(2026, 10, 5))


def test_the_statement_makes_a_payout_final_and_its_replay_changes_nothing(engine, clock, ledger):
    batch = released(engine, clock)
    ann = order_of(batch, "ann")
    entries = [("50.00", "DBIT", details(ann.end_to_end_id, reference="B1"))]
    first = take(engine, clock, entries)
    assert (first.posted, first.difference.amount_minor) == ([ann.end_to_end_id], 0)
    again = take(engine, clock, entries)
    assert (again.posted, again.replayed, again.suspense) == ([], 1, [])
    assert pocket(ledger, "ann").posted_minor == 0


def collective(batch_id, count=2):
    return f"<NtryDtls><Btch><MsgId>{batch_id}</MsgId><NbOfTxs>{count}</NbOfTxs></Btch></NtryDtls>"


@pytest.mark.parametrize("block", ["", "-1"])
def test_a_file_booked_in_one_sum_makes_all_its_orders_final_once(engine, clock, ledger, block):
    batch = released(engine, clock)
    entries = [("75.00", "DBIT", collective(f"{batch.batch_id[: 30 if block else None]}{block}"))]
    first = take(engine, clock, entries)
    assert sorted(first.posted) == sorted(order.end_to_end_id for order in batch.orders)
    assert (first.suspense, first.difference.amount_minor) == ([], 0)
    again = take(engine, clock, entries)
    assert (again.posted, again.replayed, again.suspense) == ([], 1, [])
    assert ledger.open_pendings() == []


def test_a_collective_sum_counts_only_the_orders_still_open(engine, clock, ledger):
    batch = released(engine, clock)
    ann, ben = order_of(batch, "ann"), order_of(batch, "ben")
    wrong = take(engine, clock, [("74.00", "DBIT", collective(batch.batch_id))])
    assert (wrong.posted, len(wrong.suspense)) == ([], 1)
    report(engine, clock, status_xml(batch.batch_id, [(ann.end_to_end_id, "RJCT", "AC04")]))
    rest = take(engine, clock, [("25.00", "DBIT", collective(batch.batch_id, 1))])
    assert (rest.posted, rest.suspense) == ([ben.end_to_end_id], [])
    later = [("25.00", "DBIT", collective("CWother"))]
    unknown = take(engine, clock, later, day="2026-10-06")
    assert (unknown.posted, len(unknown.suspense)) == ([], 1)


def test_two_equal_payouts_without_a_bank_reference_are_both_taken(engine, clock, ledger):
    requests = [request_of("ann", 2_500), request_of("ben", 2_500)]
    batch = released(engine, clock, requests=requests)
    entries = [
        ("25.00", "DBIT", details(order.end_to_end_id, reference=reference))
        for order, reference in zip(batch.orders, ("NONREF", "NONREF"), strict=True)
    ]
    assert len(take(engine, clock, entries).posted) == 2
    shared = [("1.00", "DBIT", details("x", reference="B9")) for _ in range(2)]
    assert len(take(engine, clock, shared).suspense) == 2
    assert take(engine, clock, shared).replayed == 2


def test_a_booking_that_is_reversed_puts_the_money_back(engine, clock, ledger):
    ann = order_of(released(engine, clock), "ann")
    take(engine, clock, [("50.00", "DBIT", details(ann.end_to_end_id, reference="B1"))])
    inner = "<RvslInd>true</RvslInd>" + details(ann.end_to_end_id, reference="B2")
    assert take(engine, clock, [("50.00", "CRDT", inner)]).returned == [ann.end_to_end_id]
    assert -pocket(ledger, "ann").posted_minor == 5_000


def test_a_second_debit_for_the_same_payout_goes_to_suspense(engine, clock, ledger):
    ann = order_of(released(engine, clock), "ann")
    take(engine, clock, [("50.00", "DBIT", details(ann.end_to_end_id, reference="B1"))])
    second = take(engine, clock, [("50.00", "DBIT", details(ann.end_to_end_id, reference="B2"))])
    assert (second.posted, len(second.suspense)) == ([], 1)
    assert ledger.balance(SUSPENSE, "EUR").posted_minor == 5_000
    assert pocket(ledger, "ann").posted_minor == 0


@pytest.mark.parametrize(
    "entry",
    [
        ("50.01", "DBIT", "ann"),
        ("50.00", "CRDT", "ann"),
        ("9.99", "CRDT", None),
        ("50.00", "DBIT", "unknown"),
    ],
)
def test_what_fits_no_order_goes_to_suspense_and_ages(engine, clock, ledger, entry):
    batch = released(engine, clock)
    amount, way, member = entry
    end_to_end_id = order_of(batch, "ann").end_to_end_id if member == "ann" else member
    inner = details(end_to_end_id) if end_to_end_id else "<AddtlNtryInf>cash\x09box</AddtlNtryInf>"
    outcome = take(engine, clock, [(amount, way, inner)])
    assert len(outcome.suspense) == 1
    clock.now = datetime(2026, 10, 25, tzinfo=UTC)
    (item,) = ledger.suspense_ageing()
    assert item.age_days == 20
    assert pocket(ledger, "ann").pending_debit_minor == 5_000


def test_money_for_a_batch_that_was_never_released_goes_to_suspense(engine, clock, ledger):
    ann = order_of(proposed(engine, clock), "ann")
    outcome = take(engine, clock, [("50.00", "DBIT", details(ann.end_to_end_id))])
    assert len(outcome.suspense) == 1


def test_a_late_return_puts_the_money_back_once(engine, clock, ledger):
    ann = order_of(released(engine, clock), "ann")
    take(engine, clock, [("50.00", "DBIT", details(ann.end_to_end_id, reference="B1"))])
    back = ("50.00", "CRDT", details(ann.end_to_end_id, returned(), reference="R1"))
    assert take(engine, clock, [back]).returned == [ann.end_to_end_id]
    assert take(engine, clock, [back]).replayed == 1
    again = ("50.00", "CRDT", details(ann.end_to_end_id, returned(), reference="R2"))
    assert len(take(engine, clock, [again]).suspense) == 1
    assert -pocket(ledger, "ann").posted_minor == 5_000


def test_lines_of_a_closed_period_take_effect_today(engine, clock, ledger):
    ann = order_of(released(engine, clock), "ann")
    clock.now = datetime(2026, 11, 10, tzinfo=UTC)
    end = datetime(2026, 11, 1, tzinfo=UTC)
    ledger.close_period(end, label="2026-10", idempotency_key="close")
    outcome = take(engine, clock, [("50.00", "DBIT", details(ann.end_to_end_id))])
    assert outcome.posted == [ann.end_to_end_id]
    assert ledger.balance(BANK, "EUR", as_of=end).posted_minor == OPENING_MINOR


def test_a_reject_frees_the_reservation_but_a_duplicate_reject_does_not(engine, clock, ledger):
    batch = released(engine, clock)
    ann, ben = order_of(batch, "ann"), order_of(batch, "ben")
    doubled = report(engine, clock, status_xml(batch.batch_id, group="RJCT", reason="DUPL"))
    assert doubled.duplicate == [batch.batch_id]
    assert pocket(ledger, "ann").pending_debit_minor == 5_000
    content = status_xml(
        batch.batch_id,
        [(ann.end_to_end_id, "RJCT", "AC04"), (ben.end_to_end_id, "ACCP", "")],
    )
    outcome = report(engine, clock, content)
    assert outcome.rejected == {ann.end_to_end_id: "AC04"}
    assert report(engine, clock, content).ignored == [ann.end_to_end_id]
    assert pocket(ledger, "ann").pending_debit_minor == 0
    assert pocket(ledger, "ben").pending_debit_minor == 2_500


def test_a_rejected_file_frees_every_order_in_it(engine, clock, ledger):
    batch = released(engine, clock)
    outcome = report(engine, clock, status_xml(batch.batch_id, group="RJCT", reason="FF01"))
    assert len(outcome.rejected) == 2
    assert ledger.open_pendings() == []


def test_a_rejected_block_frees_its_orders(engine, clock, ledger):
    batch = released(engine, clock)
    content = status_xml(batch.batch_id).replace(
        b"<OrgnlPmtInfAndSts>",
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{batch.batch_id[:30]}-1</OrgnlPmtInfId>"
        "<PmtInfSts>RJCT</PmtInfSts>".encode(),
    )
    other = content.replace(b"-1</Orgnl", b"-7</Orgnl")
    assert report(engine, clock, other).ignored == [f"{batch.batch_id[:30]}-7"]
    assert len(report(engine, clock, content).rejected) == 2
    assert ledger.open_pendings() == []


def test_a_reject_after_the_booking_is_ignored(engine, clock, ledger):
    batch = released(engine, clock)
    ann = order_of(batch, "ann")
    take(engine, clock, [("50.00", "DBIT", details(ann.end_to_end_id))])
    content = status_xml(batch.batch_id, [(ann.end_to_end_id, "RJCT", "AC04")])
    assert report(engine, clock, content).ignored == [ann.end_to_end_id]


def test_statements_of_other_accounts_and_wrong_closings_are_refused(engine, clock, ledger):
    with pytest.raises(BankFileInvalid):
        take(engine, clock, [], iban="DE89370400440532013000")
    (statement,) = read_statements(statement_xml([], opening="5.00"))
    clock.now = datetime(2026, 10, 7, tzinfo=UTC)
    with pytest.raises(BalanceAssertionFailed), engine.begin() as connection:
        Reconciler(connection, own_iban=OWN_IBAN, clock=clock).take_statement(
            statement, assert_closing=True
        )


def test_the_commands_pay_out_and_reconcile_from_files(tmp_path, engine, clock, ledger):
    database = str(tmp_path / "fund.db")
    payees = tmp_path / "payees.csv"
    payees.write_text(
        f"member_id,name,iban\nann,Ann Ä,{german_iban(1)}\nben,Ben,{german_iban(2)}\n"
    )

    def run(*arguments, exit_code=0):
        answer = CliRunner().invoke(app, list(arguments))
        assert answer.exit_code == exit_code, answer.output
        return answer.stdout if exit_code == 0 else answer.stderr

    propose = ("payouts", "propose", database, "--key", "k", "--accounts", str(payees))
    batch = json.loads(run(*propose, "--by", "anna", "--json"))
    assert (batch["state"], batch["total_minor"]) == ("proposed", 7_500)
    assert german_iban(1) not in json.dumps(batch)
    own = ("--own-name", "Sonnendach", "--own-iban", OWN_IBAN, "--execution-date", "2026-10-05")
    refusal = run("payouts", "file", database, batch["batch_id"], *own, exit_code=2)
    assert "second person" in refusal
    run("payouts", "release", database, batch["batch_id"], "--by", "anna", exit_code=2)
    run("payouts", "release", database, batch["batch_id"], "--by", "ben")
    assert "pain.001.001.09" in run("payouts", "file", database, batch["batch_id"], *own)
    listed = json.loads(run("payouts", "list", database, "--json"))
    assert [found["state"] for found in listed["batches"]] == ["released"]

    ann, ben = (order["end_to_end_id"] for order in batch["orders"])
    amounts = {order["end_to_end_id"]: order["amount_minor"] for order in batch["orders"]}
    status, statement = tmp_path / "status.xml", tmp_path / "statement.xml"
    status.write_bytes(status_xml(batch["batch_id"], [(ben, "RJCT", "AC04")]))
    booked = [(f"{amounts[ann] / 100:.2f}", "DBIT", details(ann))]
    statement.write_bytes(statement_xml(booked, opening=OPENING))
    broken = tmp_path / "broken.xml"
    broken.write_text("<x")
    head = ledger.chain_head()
    files = (str(status), str(statement))
    refusal = run("reconcile", database, *files, str(broken), "--own-iban", OWN_IBAN, exit_code=2)
    assert "broken.xml: line 1" in refusal
    assert ledger.chain_head() == head
    found = json.loads(run("reconcile", database, *files, "--own-iban", OWN_IBAN, "--json"))
    assert found["reports"][0]["rejected"] == {ben: "AC04"}
    assert found["statements"][0]["posted"] == [ann]
    assert found["statements"][0]["difference_minor"] == 0
    assert ledger.open_pendings() == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("member,iban\n", "line 1"),
        ("member_id,name,iban\nann,Ann,DE00\n", "line 2"),
        ("member_id,name,iban\nann,,DE89370400440532013000\n", "line 2"),
    ],
)
def test_a_bad_payee_file_gets_one_line_with_the_place(tmp_path, ledger, text, place):
    payees = tmp_path / "payees.csv"
    payees.write_text(text)
    answer = CliRunner().invoke(
        app,
        [
            *("payouts", "propose", str(tmp_path / "fund.db")),
            *("--key", "k", "--accounts", str(payees), "--by", "anna"),
        ],
    )
    assert answer.exit_code == 2
    assert place in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.xdist_group("ledger-postgres")
def test_payouts_work_the_same_over_postgresql(postgres_engine, clock):
    ledger = fill_pockets(postgres_engine, clock, {"ann": 5_000, "ben": 2_500})
    batch = released(postgres_engine, clock)
    ann, ben = order_of(batch, "ann"), order_of(batch, "ben")
    status = status_xml(batch.batch_id, [(ben.end_to_end_id, "RJCT", "AC04")])
    assert report(postgres_engine, clock, status).rejected == {ben.end_to_end_id: "AC04"}
    entries = [("50.00", "DBIT", details(ann.end_to_end_id))]
    assert take(postgres_engine, clock, entries).posted == [ann.end_to_end_id]
    assert take(postgres_engine, clock, entries).replayed == 1
    assert ledger.open_pendings() == []
    assert ledger.verify_chain().is_whole


def test_a_collection_may_not_lift_a_member_above_the_legal_limit(engine, clock, ledger):
    rules = replace(RULES[LegalForm.COOPERATIVE], capital_max_minor={"EUR": 10_000})
    with engine.begin() as connection:
        desk = PaymentDesk(connection, clock=clock, rules=rules)
        desk.propose("ok", [request_of("ann", 10_000)], kind=BatchKind.COLLECTION, by="anna")
        with pytest.raises(DistributionRefused, match="limit"):
            desk.propose("more", [request_of("ann", 1)], kind=BatchKind.COLLECTION, by="anna")


def test_a_members_name_and_account_are_erased_from_settled_orders_only(engine, clock, ledger):
    batch = released(engine, clock)
    ann = order_of(batch, "ann")
    with engine.begin() as connection:
        assert PaymentDesk(connection, clock=clock).erase_member("ann") == 0
    take(engine, clock, [("50.00", "DBIT", details(ann.end_to_end_id))])
    with engine.begin() as connection:
        desk = PaymentDesk(connection, clock=clock)
        assert desk.erase_member("ann") == 1
        left = order_of(desk.batch(batch.batch_id), "ann")
    assert (left.name, left.iban) == ("erased", "erased")
    assert ledger.verify_chain().is_whole
