"""Members' bank accounts from a CSV file."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from solar_fund.errors import AccountNumberInvalid, InputFileInvalid
from solar_fund.payments.bank_accounts import check_iban

FILE_BYTES_MAX = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """Where a member is paid."""

    member_id: str
    name: str
    iban: str


def read_payees(path: Path) -> dict[str, Payee]:
    """Read members' bank accounts, by member id.

    Args:
        path: CSV with the header `member_id,name,iban`.

    Raises:
        InputFileInvalid: The file cannot be read, or a row is wrong; it names the line.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputFileInvalid(str(path), "", f"it is larger than {FILE_BYTES_MAX} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputFileInvalid(str(path), "", "the file is not UTF-8 text") from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if not {"member_id", "name", "iban"} <= set(rows.fieldnames or ()):
        raise InputFileInvalid(str(path), "line 1", "the header needs member_id, name and iban")
    payees: dict[str, Payee] = {}
    for row in rows:
        place = f"line {rows.line_num}"
        member_id, name = (row["member_id"] or "").strip(), (row["name"] or "").strip()
        if not member_id or not name:
            raise InputFileInvalid(str(path), place, "member_id or name is empty")
        if member_id in payees:
            raise InputFileInvalid(str(path), place, f"member {member_id!r} appears twice")
        try:
            account = check_iban((row["iban"] or "").strip())
        except AccountNumberInvalid as error:
            raise InputFileInvalid(str(path), place, str(error)) from None
        payees[member_id] = Payee(member_id=member_id, name=name, iban=account.iban)
    return payees
