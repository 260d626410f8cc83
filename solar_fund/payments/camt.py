"""What the bank says: account statements (camt.053) and status reports (pain.002)."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from xml.etree.ElementTree import Element

from solar_fund.errors import BankFileInvalid, MoneyError
from solar_fund.money import Money
from solar_fund.payments.bank_xml import BankMessage, read_message

LINES_MAX = 200_000
CHARGES = "charges of the bank"
# What banks write where they have no reference.
NO_REFERENCE = frozenset({"NONREF", "NOTPROVIDED", "NONE"})


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
        collective_id: The id of the file or block that was booked in one sum, if the bank tells.
    """

    reference: str
    money: Money
    booked_on: date
    end_to_end_id: str | None
    is_return: bool
    reason: str | None
    note: str
    collective_id: str | None = None


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
        end_to_end_id: The order; None when the whole file or one of its blocks is meant.
        status: ACCP, ACSC, RJCT, PDNG …
        reason: Code such as AC04.
        block_id: The block of payments that is meant, if not the whole file.
    """

    end_to_end_id: str | None
    status: str
    reason: str | None
    block_id: str | None = None


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
    for block in message.each(report, "OrgnlPmtInfAndSts"):
        block_id, block_status = (
            message.text(block, "OrgnlPmtInfId"),
            message.text(block, "PmtInfSts"),
        )
        if block_id is not None and block_status is not None:
            reason = _reason(message, block, "StsRsnInf")
            statuses.append(
                OrderStatus(
                    end_to_end_id=None, status=block_status, reason=reason, block_id=block_id
                )
            )
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
    repeats: Counter[tuple[str, ...]] = Counter()
    for index, entry in enumerate(message.each(stmt, "Ntry"), start=1):
        identity = (iban, statement_id, index)
        lines.extend(_lines(message, entry, f"{place}, entry {index}", identity, repeats))
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
    message: BankMessage,
    entry: Element,
    place: str,
    identity: tuple[str, str, int],
    repeats: Counter[tuple[str, ...]],
) -> Iterator[StatementLine]:
    """The lines of one entry: one for each transaction inside, and one for the bank's charges.

    An entry of several transactions that does not say what each is worth stays one line.
    """
    status = message.text(entry, "Sts/Cd") or message.text(entry, "Sts")
    if status != "BOOK":
        return
    whole = _money(message, entry, place)
    booked_on = _day(message, entry, "BookgDt", place)
    bank_reference = message.text(entry, "AcctSvcrRef") or message.text(
        entry, "NtryDtls/TxDtls/Refs/AcctSvcrRef"
    )
    if bank_reference is None or bank_reference.upper() in NO_REFERENCE:
        identity_parts = (*map(str, identity), booked_on.isoformat(), str(whole))
    else:
        identity_parts = (identity[0], bank_reference, booked_on.isoformat(), str(whole))
    # A reference that the bank gives to several entries of the same day and amount.
    repeats[identity_parts] += 1
    if repeats[identity_parts] > 1:
        identity_parts = (*identity_parts, f"repeat {repeats[identity_parts]}")
    for number, (part, money) in enumerate(_parts(message, entry, whole, place)):
        own_reference = "" if part is None else message.text(part, "Refs/AcctSvcrRef") or ""
        identified = "|".join([*identity_parts, own_reference, str(number)])
        end_to_end_id = None if part is None else message.text(part, "Refs/EndToEndId")
        note = None if part is None else message.text(part, "RmtInf/Ustrd")
        note = note or message.text(entry, "AddtlNtryInf") or ("" if part is not None else CHARGES)
        yield StatementLine(
            reference=hashlib.sha256(identified.encode()).hexdigest()[:40],
            money=money,
            booked_on=booked_on,
            end_to_end_id=None if (end_to_end_id or "").upper() in NO_REFERENCE else end_to_end_id,
            is_return=part is not None and message.element(part, "RtrInf") is not None,
            reason=None if part is None else _reason(message, part, "RtrInf"),
            note="".join(filter(str.isprintable, note))[:140],
            collective_id=_collective_id(message, entry) if part is entry else None,
        )


def _collective_id(message: BankMessage, entry: Element) -> str | None:
    for path in ("Btch/PmtInfId", "Btch/MsgId", "TxDtls/Refs/PmtInfId", "TxDtls/Refs/MsgId"):
        found = message.text(entry, f"NtryDtls/{path}")
        if found is not None and found.upper() not in NO_REFERENCE:
            return found
    return None


def _parts(
    message: BankMessage, entry: Element, whole: Money, place: str
) -> list[tuple[Element | None, Money]]:
    """Split an entry into transactions with their amounts; charges belong to none of them."""
    details = list(message.each(entry, "NtryDtls/TxDtls"))
    amounts = [_detail_money(message, detail, whole, place) for detail in details]
    known = [money for money in amounts if money is not None and money.currency == whole.currency]
    if not details or len(known) != len(details):
        # Without the amount of each, a collective entry is for a person to place.
        return [(details[0] if len(details) == 1 else entry, whole)]
    missing_minor = whole.amount_minor - sum(money.amount_minor for money in known)
    parts: list[tuple[Element | None, Money]] = list(zip(details, known, strict=True))
    if not missing_minor:
        return parts
    if missing_minor == _charges_minor(message, entry, details, whole, place):
        return [*parts, (None, Money(missing_minor, whole.currency))]
    if len(details) == 1:
        return [(details[0], whole)]
    raise BankFileInvalid(place, "its transactions do not add up to its amount")


def _charges_minor(
    message: BankMessage, entry: Element, details: list[Element], whole: Money, place: str
) -> int:
    """What the bank kept, as the entry or its transactions say, in either form of the message."""
    found = 0
    for holder in (entry, *details):
        for charges in message.each(holder, "Chrgs"):
            records = list(message.each(charges, "Rcrd")) or [charges]
            for record in records:
                if message.element(record, "Amt") is not None:
                    size = _size(message, record, place)
                    if size.currency == whole.currency:
                        gives = message.text(record, "CdtDbtInd") == "CRDT"
                        found += size.amount_minor if gives else -size.amount_minor
    return found


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
