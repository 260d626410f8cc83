from datetime import date

import pytest

from solar_fund.errors import AccountNumberInvalid, BankFileInvalid
from solar_fund.payments.bank_accounts import check_iban
from solar_fund.payments.camt import read_statements, read_status_report
from tests.solar_fund.payments.bank_files import details, returned, statement_xml, status_xml
from tests.solar_fund.payments.conftest import eur


@pytest.mark.parametrize("version", ["02", "08", "12"])
def test_every_version_of_a_statement_gives_the_same_lines(version):
    content = statement_xml(
        [("12.50", "DBIT", details("E1")), ("3.00", "CRDT", details("E2", returned("MD07")))],
        version=version,
    )
    (found,) = read_statements(content)
    out, back = found.lines
    assert (out.money, out.end_to_end_id, out.is_return) == (eur(-1_250), "E1", False)
    assert (back.money, back.is_return, back.reason) == (eur(300), True, "MD07")
    assert (found.opening, found.closing) == (eur(100_000), eur(99_050))
    assert found.closing_on == date(2026, 10, 5)


def test_a_line_keeps_its_reference_when_the_bank_sends_it_again_in_another_statement():
    entry = [("12.50", "DBIT", details("E1", reference="BANK-7"))]
    first = read_statements(statement_xml(entry))[0].lines[0]
    again = read_statements(statement_xml(entry, opening="5.00", closing="-7.50"))
    assert again[0].lines[0].reference == first.reference


def test_a_collective_entry_is_read_as_its_transactions():
    inner = "<NtryDtls>" + "".join(
        f"<TxDtls><Refs><EndToEndId>E{number}</EndToEndId></Refs>"
        f'<Amt Ccy="EUR">{number}.00</Amt><CdtDbtInd>DBIT</CdtDbtInd></TxDtls>'
        for number in (1, 2, 3)
    )
    (found,) = read_statements(statement_xml([("6.00", "DBIT", inner + "</NtryDtls>")]))
    assert [line.money for line in found.lines] == [eur(-100), eur(-200), eur(-300)]
    assert len({line.reference for line in found.lines}) == 3
    with pytest.raises(BankFileInvalid, match="add up"):
        read_statements(statement_xml([("6.01", "DBIT", inner + "</NtryDtls>")]))


def test_a_collective_entry_without_amounts_stays_one_line():
    inner = "<NtryDtls><Btch><PmtInfId>P-1</PmtInfId></Btch>" + "".join(
        f"<TxDtls><Refs><EndToEndId>E{number}</EndToEndId></Refs></TxDtls>" for number in (1, 2)
    )
    (found,) = read_statements(statement_xml([("6.00", "DBIT", inner + "</NtryDtls>")]))
    (line,) = found.lines
    assert (line.money, line.end_to_end_id, line.collective_id) == (eur(-600), None, "P-1")


@pytest.mark.parametrize(
    "charges",
    [
        '<Chrgs><Rcrd><Amt Ccy="EUR">0.35</Amt><CdtDbtInd>DBIT</CdtDbtInd></Rcrd></Chrgs>',
        '<Chrgs><Amt Ccy="EUR">0.35</Amt></Chrgs>',
    ],
)
def test_charges_that_the_bank_kept_become_a_line_of_their_own(charges):
    inner = details("E1", f'<Amt Ccy="EUR">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>{charges}')
    (found,) = read_statements(statement_xml([("9.65", "CRDT", inner)]))
    paid, kept = found.lines
    assert (paid.money, paid.end_to_end_id) == (eur(1_000), "E1")
    assert (kept.money, kept.end_to_end_id, kept.note) == (eur(-35), None, "charges of the bank")


def test_an_amount_in_another_currency_leaves_the_booked_one():
    inner = details("E1", '<AmtDtls><TxAmt><Amt Ccy="USD">11.00</Amt></TxAmt></AmtDtls>')
    (found,) = read_statements(statement_xml([("10.00", "CRDT", inner)]))
    assert [(line.money, line.end_to_end_id) for line in found.lines] == [(eur(1_000), "E1")]


def test_lines_that_are_not_booked_are_left_out():
    content = statement_xml([("1.00", "CRDT", "")], closing="1000.00")
    (found,) = read_statements(content.replace(b"BOOK", b"PDNG"))
    assert found.lines == ()


def test_a_statement_with_a_missing_line_is_refused():
    with pytest.raises(BankFileInvalid, match="miss -150"):
        read_statements(statement_xml([("1.00", "CRDT", "")], closing="999.50"))


def test_a_status_report_gives_each_payment_and_the_group():
    report = read_status_report(
        status_xml("CW1", [("E1", "RJCT", "AC04"), ("E2", "ACCP", "G000")], group="PART")
    )
    assert report.original_message_id == "CW1"
    assert [(s.end_to_end_id, s.status) for s in report.statuses] == [
        (None, "PART"),
        ("E1", "RJCT"),
        ("E2", "ACCP"),
    ]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">&b;</Document>"""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not xml",
        BOMB,
        b"<Document/>",
        b"\xff\xfe\x00",
        status_xml("CW1"),
        statement_xml([("7.25", "CRDT", "")]).replace(b">7.25<", b">7,25<"),
        statement_xml([("1.00", "BOTH", "")], closing="1000.00"),
        statement_xml([("1.00", "CRDT", "")], day="2026-13-01"),
        statement_xml([]).replace(b"IBAN", b"Nope"),
        statement_xml([("1.00", "CRDT", "")]).replace(b'Ccy="EUR">1.00', b'Ccy="USD">1.00'),
    ],
)
def test_a_file_that_is_no_sound_statement_is_refused(content):
    with pytest.raises(BankFileInvalid):
        read_statements(content)


@pytest.mark.parametrize(
    "text", ["NL91ABNA0417164300", "nl91 abna 0417 1643 00", "DE89370400440532013000"]
)
def test_right_account_numbers_pass_in_any_spacing(text):
    assert check_iban(text).iban == text.replace(" ", "").upper()


@pytest.mark.parametrize(
    "text", ["", "NL91ABNA0417164301", "NL91ABNA041716430", "XX00", "BE68539007547035", "🙂" * 20]
)
def test_wrong_account_numbers_are_refused_without_being_repeated(text):
    with pytest.raises(AccountNumberInvalid) as refusal:
        check_iban(text)
    assert len(text) < 13 or text not in str(refusal.value)
