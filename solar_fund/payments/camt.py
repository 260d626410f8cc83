"""What the bank says: account statements (camt.053) and status reports (pain.002)."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from xml.etree.ElementTree import Element

from solar_fund.errors import BankFileInvalid, MoneyError
from solar_fund.money import Money
from solar_fund.payments.bank_xml import BankMessage, read_message

LINES_MAX = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One booked movement on the bank account.

    Attributes:
        reference: Our own name for it, the same whenever this line is read again.
        money: Positive if it came in, negative if it went out.
        booked_on: Day of booking.
        end_to_end_id: The id of the order it belongs to, if the bank tells.
        is_return: The bank marks it as a return.
        reason: Code of the return, such as AC04.
        note: Remittance text, or the bank's own.
    """

    reference: str
    money: Money
    booked_on: date
    end_to_end_id: str | None
    is_return: bool
    reason: str | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BankStatement:
    """One statement of one account.

    Attributes:
        statement_id: The bank's id.
        iban: The account.
        currency: Code of ISO 4217.
        opening: Booked balance before, if given.
        closing: Booked balance after, if given.
        closing_on: Day of the closing balance.
        lines: Booked lines; those pending or for information only are left out.
        sha256: Hash of the file it came in, in hexadecimal.
    """

    statement_id: str
    iban: str
    currency: str
    opening: Money | None
    closing: Money | None
    closing_on: date | None
    lines: tuple[StatementLine, ...]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatus:
    """What the bank says about one order, or about a whole file.

    Attributes:
        end_to_end_id: The order; None when the whole file is meant.
        status: ACCP, ACSC, RJCT, PDNG …
        reason: Code such as AC04.
    """

    end_to_end_id: str | None
    status: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """A pain.002: the answer to one of our files."""

    original_message_id: str
    statuses: tuple[OrderStatus, ...]
    sha256: str


def read_statements(content: bytes) -> list[BankStatement]:
    """Read the statements of a camt.053 file of any version.

    Raises:
        BankFileInvalid: It is another kind of message, or a line is incomplete or contradicts
            its parts; the place is named.
    """
    message = read_message(content)
    if message.kind != "camt.053":
        raise BankFileInvalid("root element", f"it is a {message.kind}, wanted is a camt.053")
    return [
        _statement(message, stmt, number)
        for number, stmt in enumerate(message.each(message.root, "BkToCstmrStmt/Stmt"), start=1)
    ]


def read_status_report(content: bytes) -> StatusReport:
    """Read a pain.002 file of any version.

    Raises:
        BankFileInvalid: It is another kind of message or names no original message.
    """
    message = read_message(content)
    if message.kind != "pain.002":
        raise BankFileInvalid("root element", f"it is a {message.kind}, wanted is a pain.002")
    report = message.element(message.root, "CstmrPmtStsRpt")
    original = None if report is None else message.text(report, "OrgnlGrpInfAndSts/OrgnlMsgId")
    if report is None or original is None:
        raise BankFileInvalid("OrgnlGrpInfAndSts", "the original message id is missing")
    statuses = []
    group_status = message.text(report, "OrgnlGrpInfAndSts/GrpSts")
    if group_status is not None:
        reason = _reason(message, report, "OrgnlGrpInfAndSts/StsRsnInf")
        statuses.append(OrderStatus(end_to_end_id=None, status=group_status, reason=reason))
    for transaction in message.each(report, "OrgnlPmtInfAndSts/TxInfAndSts"):
        end_to_end_id = message.text(transaction, "OrgnlEndToEndId")
        status = message.text(transaction, "TxSts")
        if end_to_end_id is None or status is None:
            raise BankFileInvalid("TxInfAndSts", "OrgnlEndToEndId or TxSts is missing")
        reason = _reason(message, transaction, "StsRsnInf")
        statuses.append(OrderStatus(end_to_end_id=end_to_end_id, status=status, reason=reason))
    return StatusReport(
        original_message_id=original, statuses=tuple(statuses), sha256=message.sha256
    )


def _statement(message: BankMessage, stmt: Element, number: int) -> BankStatement:
    place = f"statement {number}"
    statement_id = message.text(stmt, "Id")
    iban = message.text(stmt, "Acct/Id/IBAN")
    if statement_id is None or iban is None:
        raise BankFileInvalid(place, "its Id or its account's IBAN is missing")
    balances = dict(_balances(message, stmt, place))
    opening, closing = balances.get("OPBD") or balances.get("PRCD"), balances.get("CLBD")
    lines: list[StatementLine] = []
    for index, entry in enumerate(message.each(stmt, "Ntry"), start=1):
        lines.extend(_lines(message, entry, f"{place}, entry {index}", (iban, statement_id, index)))
        if len(lines) > LINES_MAX:
            raise BankFileInvalid(place, f"it has more than {LINES_MAX} lines")
    moneys = [money for money, _ in balances.values()] + [line.money for line in lines]
    currency = message.text(stmt, "Acct/Ccy") or (moneys[0].currency if moneys else "EUR")
    if any(money.currency != currency for money in moneys):
        raise BankFileInvalid(place, f"it mixes currencies; its account holds {currency}")
    if opening is not None and closing is not None:
        moved_minor = sum(line.money.amount_minor for line in lines)
        missing_minor = closing[0].amount_minor - opening[0].amount_minor - moved_minor
        if missing_minor:
            raise BankFileInvalid(
                place, f"its lines miss {missing_minor} minor units between the two balances"
            )
    return BankStatement(
        statement_id=statement_id,
        iban=iban,
        currency=currency,
        opening=None if opening is None else opening[0],
        closing=None if closing is None else closing[0],
        closing_on=None if closing is None else closing[1],
        lines=tuple(lines),
        sha256=message.sha256,
    )


def _balances(
    message: BankMessage, stmt: Element, place: str
) -> Iterator[tuple[str, tuple[Money, date]]]:
    for balance in message.each(stmt, "Bal"):
        code = message.text(balance, "Tp/CdOrPrtry/Cd")
        if code in {"OPBD", "PRCD", "CLBD"}:
            money = _money(message, balance, f"{place}, balance {code}")
            yield code, (money, _day(message, balance, "Dt", f"{place}, balance {code}"))


def _lines(
    message: BankMessage, entry: Element, place: str, identity: tuple[str, str, int]
) -> Iterator[StatementLine]:
    """The lines of one entry: one for each transaction inside, if they add up to it."""
    status = message.text(entry, "Sts/Cd") or message.text(entry, "Sts")
    if status != "BOOK":
        return
    whole = _money(message, entry, place)
    booked_on = _day(message, entry, "BookgDt", place)
    bank_reference = message.text(entry, "AcctSvcrRef") or message.text(
        entry, "NtryDtls/TxDtls/Refs/AcctSvcrRef"
    )
    if bank_reference is None:
        identity_parts = [*map(str, identity), booked_on.isoformat(), str(whole)]
    else:
        identity_parts = [identity[0], bank_reference, booked_on.isoformat(), str(whole)]
    details = list(message.each(entry, "NtryDtls/TxDtls"))
    amounts = [_detail_money(message, detail, whole, place) for detail in details]
    if not details or (len(details) == 1 and amounts[0] is None):
        parts: list[tuple[Element, Money]] = [(details[0] if details else entry, whole)]
    else:
        known = [amount for amount in amounts if amount is not None]
        if len(known) != len(details) or sum(m.amount_minor for m in known) != whole.amount_minor:
            raise BankFileInvalid(place, "its transactions do not add up to its amount")
        parts = list(zip(details, known, strict=True))
    for number, (part, money) in enumerate(parts):
        own_reference = message.text(part, "Refs/AcctSvcrRef") or ""
        identified = "|".join([*identity_parts, own_reference, str(number)])
        end_to_end_id = message.text(part, "Refs/EndToEndId")
        reason = _reason(message, part, "RtrInf")
        note = message.text(part, "RmtInf/Ustrd") or message.text(entry, "AddtlNtryInf") or ""
        yield StatementLine(
            reference=hashlib.sha256(identified.encode()).hexdigest()[:40],
            money=money,
            booked_on=booked_on,
            end_to_end_id=None if end_to_end_id == "NOTPROVIDED" else end_to_end_id,
            is_return=message.element(part, "RtrInf") is not None,
            reason=reason,
            note="".join(filter(str.isprintable, note))[:140],
        )


def _reason(message: BankMessage, parent: Element, path: str) -> str | None:
    """A reason code, of the standard's list or the bank's own."""
    code = message.text(parent, f"{path}/Rsn/Cd") or message.text(parent, f"{path}/Rsn/Prtry")
    return None if code is None else "".join(filter(str.isprintable, code))[:35]


def _detail_money(message: BankMessage, detail: Element, whole: Money, place: str) -> Money | None:
    for path in ("AmtDtls/TxAmt", "."):
        holder = detail if path == "." else message.element(detail, path)
        if holder is not None and message.text(holder, "Amt") is not None:
            size = _size(message, holder, place)
            direction = message.text(detail, "CdtDbtInd")
            outgoing = direction == "DBIT" if direction else whole.amount_minor < 0
            return -size if outgoing else size
    return None


def _money(message: BankMessage, parent: Element, place: str) -> Money:
    direction = message.text(parent, "CdtDbtInd")
    if direction not in {"CRDT", "DBIT"}:
        raise BankFileInvalid(place, "CdtDbtInd must be CRDT or DBIT")
    size = _size(message, parent, place)
    return size if direction == "CRDT" else -size


def _size(message: BankMessage, parent: Element, place: str) -> Money:
    amount = message.element(parent, "Amt")
    if amount is None:
        raise BankFileInvalid(place, "its amount is missing")
    try:
        return Money.parse((amount.text or "").strip(), amount.get("Ccy", ""))
    except MoneyError as error:
        raise BankFileInvalid(place, str(error)) from None


def _day(message: BankMessage, parent: Element, path: str, place: str) -> date:
    text = message.text(parent, f"{path}/Dt") or message.text(parent, f"{path}/DtTm") or ""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise BankFileInvalid(place, f"{path} {text[:40]!r} is no day") from None
