"""Savings per member from a CSV file, and voted parameters from a TOML file."""

import csv
import hashlib
import io
import re
import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path

from solar_fund.errors import FundError, InputFileInvalid
from solar_fund.ledger.journal import check_hash
from solar_fund.money import Money
from solar_fund.waterfall import BOUNDS, MEMBERS_MAX, MemberSaving, WaterfallParameters

FILE_BYTES_MAX = 200_000_000


def read_savings(path: Path, currency: str) -> tuple[tuple[MemberSaving, ...], str]:
    """Read savings per member.

    Args:
        path: CSV with a header: `member_id`, then `saving` [major units] or `saving_minor`, maybe
            `evidence`.
        currency: Code of ISO 4217.

    Returns:
        The savings, and the SHA-256 of the file in hexadecimal.

    Raises:
        InputFileInvalid: The file is missing, too large, or a row is wrong; it names the line.
    """
    content = _read(path)
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        columns = rows.fieldnames or []
        if "member_id" not in columns or not {"saving", "saving_minor"} & set(columns):
            raise InputFileInvalid(
                str(path), "line 1", "the header needs member_id and saving (or saving_minor)"
            )
        savings = [_saving(path, rows.line_num, row, currency) for row in rows]
    except UnicodeDecodeError:
        raise InputFileInvalid(str(path), "", "the file is not UTF-8 text") from None
    except csv.Error as error:
        raise InputFileInvalid(str(path), "", f"the file is no CSV: {error}") from None
    if not 0 < len(savings) <= MEMBERS_MAX:
        raise InputFileInvalid(str(path), "", f"it must name 1 to {MEMBERS_MAX} members")
    seen: set[str] = set()
    for saving in savings:
        if saving.member_id in seen:
            raise InputFileInvalid(
                str(path), f"member {saving.member_id!r}", "the member appears twice; add the rows"
            )
        seen.add(saving.member_id)
    return tuple(savings), hashlib.sha256(content).hexdigest()


def read_parameters(path: Path) -> WaterfallParameters:
    """Read voted shares from a TOML file; what it leaves out keeps its default.

    Raises:
        InputFileInvalid: The file is missing or no TOML, a name is unknown or a value no number.
        ParameterOutOfBounds: A share lies outside its bounds.
    """
    try:
        table = tomllib.loads(_read(path).decode(), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputFileInvalid(str(path), "", f"the file is no TOML: {error}") from None
    shares = {}
    for name, found in table.items():
        if name not in BOUNDS:
            known = ", ".join(BOUNDS)
            raise InputFileInvalid(str(path), name, f"unknown parameter; known are {known}")
        shares[name] = _number(path, name, found)
    return WaterfallParameters(**shares)


def _number(path: Path, name: str, found: object) -> Decimal:
    problem = f"{found!r} is no number"
    if isinstance(found, bool) or not isinstance(found, str | int | Decimal):
        raise InputFileInvalid(str(path), name, problem)
    try:
        return Decimal(found)
    except InvalidOperation:
        raise InputFileInvalid(str(path), name, problem) from None


def _saving(path: Path, line: int, row: dict[str, str], currency: str) -> MemberSaving:
    place = f"line {line}"
    member_id = (row.get("member_id") or "").strip()
    if not member_id:
        raise InputFileInvalid(str(path), place, "member_id is empty")
    minor_text, major_text = row.get("saving_minor"), row.get("saving")
    try:
        if minor_text:
            saving_minor = _whole(minor_text.strip())
        else:
            saving_minor = Money.parse((major_text or "").strip(), currency).amount_minor
        evidence = (row.get("evidence") or "").strip() or None
        if evidence is not None:
            check_hash(evidence)
    except ValueError:
        problem = f"saving_minor {minor_text!r} is no whole number"
        raise InputFileInvalid(str(path), place, problem) from None
    except FundError as error:
        raise InputFileInvalid(str(path), place, str(error)) from None
    return MemberSaving(member_id=member_id, saving_minor=saving_minor, evidence=evidence)


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputFileInvalid(str(path), "", f"it is larger than {FILE_BYTES_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
