"""Offers and mandates as TOML or JSON text, read strictly.

The forms are described key by key in `docs/formats/offer.md`. Unknown keys are refused, so that a
misspelt condition is never silently left out of a decision.
"""

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from tariff_bargainer.bargaining.minor_units import to_minor
from tariff_bargainer.bargaining.offers import Mandate, Offer
from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions
from tariff_bargainer.errors import InvalidProfile, OfferFileError, TariffFileError
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff_file import FORMAT as TARIFF_FORMAT
from tariff_bargainer.tariffs.tariff_file import tariff_from_table

OFFER_FORMAT = "commonwatt-offer/1"
MANDATE_FORMAT = "commonwatt-mandate/1"
FLOOR_FORMAT = "commonwatt-floor/1"
FILE_BYTES_MAX = 4_000_000
TERM_MONTHS_MAX = 240
CONDITIONS_MAX = 50

Parsed = TypeVar("Parsed")


def read_offer(path: Path) -> Offer:
    """Read an offer from a `.toml` or `.json` file.

    Raises:
        OfferFileError: The file cannot be read or breaks the form; names key and remedy.
    """
    return parse_offer(read_text(path), form=read_form(path))


def parse_offer(text: str, *, form: str = "toml") -> Offer:
    """Parse an offer's text; `form` is `toml` or `json`.

    Raises:
        OfferFileError: The text breaks the form; names key and remedy.
    """
    return offer_from_table(load_table(text, form=form))


def offer_from_table(parsed: Any) -> Offer:
    """Build an offer from parsed TOML or JSON values.

    Raises:
        OfferFileError: A key is unknown, missing or wrong.
    """
    return strictly(_offer, parsed)


def read_mandate(path: Path) -> Mandate:
    """Read a mandate from a `.toml` or `.json` file.

    Raises:
        OfferFileError: The file cannot be read or breaks the form.
    """
    return mandate_from_table(load_table(read_text(path), form=read_form(path)))


def mandate_from_table(parsed: Any) -> Mandate:
    """Build a mandate from parsed TOML or JSON values.

    Raises:
        OfferFileError: A key is unknown, missing or wrong.
    """
    return strictly(_mandate, parsed)


def read_floor_assumptions(path: Path) -> tuple[FloorAssumptions, dict[str, str]]:
    """Read the assumptions of a supplier's floor from a `.toml` or `.json` file.

    Returns:
        The assumptions, and the source of each that was stated, empty where none was named.

    Raises:
        OfferFileError: The file cannot be read or breaks the form.
    """
    return strictly(_assumptions, load_table(read_text(path), form=read_form(path)))


def floor_from_table(parsed: Any) -> FloorAssumptions:
    """Build the assumptions of a supplier's floor from parsed TOML or JSON values.

    Raises:
        OfferFileError: A key is unknown, missing or wrong.
    """
    return strictly(_assumptions, parsed)[0]


def load_table(text: str, *, form: str) -> Any:
    """Parse TOML or JSON with exact decimals.

    Raises:
        OfferFileError: The text is neither.
    """
    try:
        if form == "json":
            return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
        return tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as broken:
        raise OfferFileError(
            where="the file",
            problem=f"is not {form.upper()}: {broken}",
            remedy="correct that line",
        ) from None


def _offer(table: StrictTable) -> Offer:
    _expect(table, OFFER_FORMAT)
    supplier = table.text("supplier")
    raw_tariff = table.take("tariff")
    if not isinstance(raw_tariff, dict):
        raise table.fault("tariff", "is missing or no table", "write the price as [tariff]")
    offer = Offer(
        offer_id=table.text("id", supplier),
        supplier=supplier,
        tariff=_tariff({"format": TARIFF_FORMAT, "supplier": supplier, **raw_tariff}),
        term_months=_term_months(table, "term_months"),
        green_share=read_share(table, "green_share"),
        valid_until=_instant(table, "valid_until"),
        conditions=tuple(table.each("conditions", _condition, "a text")),
    )
    if not offer.supplier or not offer.offer_id:
        raise table.fault("supplier", "is empty", "write who offers")
    if len(offer.conditions) > CONDITIONS_MAX:
        raise table.fault("conditions", "has too many entries", f"write at most {CONDITIONS_MAX}")
    return offer


def _tariff(raw: dict[str, Any]) -> Any:
    try:
        return tariff_from_table(raw)
    except TariffFileError as wrong:
        raise TariffFileError(
            where=f"tariff.{wrong.where}", problem=wrong.problem, remedy=wrong.remedy
        ) from None


def _mandate(table: StrictTable) -> Mandate:
    _expect(table, MANDATE_FORMAT)
    currency = table.text("currency")
    loss_limit = table.decimal("loss_limit", Decimal(0))
    if loss_limit < 0:
        raise table.fault("loss_limit", f"is {loss_limit}", "write at least 0")
    term = table.optional_whole("term_months_max")
    if term is not None and term < 1:
        raise table.fault("term_months_max", f"is {term}", "write at least 1")
    return Mandate(
        saving_share_min=read_share(table, "saving_share_min"),
        losers_share_max=read_share(table, "losers_share_max"),
        loss_limit_minor=to_minor(loss_limit, currency),
        green_share_min=read_share(table, "green_share_min"),
        term_months_max=term,
    )


def _assumptions(table: StrictTable) -> tuple[FloorAssumptions, dict[str, str]]:
    _expect(table, FLOOR_FORMAT)
    given: dict[str, Any] = {}
    for key in FloorAssumptions.__dataclass_fields__:
        if key in {"scenarios", "window_weeks", "term_months"}:
            whole = table.optional_whole(key)
            if whole is not None:
                given[key] = whole
        else:
            number = table.optional_decimal(key)
            if number is not None:
                given[key] = float(number)
    named = StrictTable(table.take("sources") or {}, "sources")
    sources = {key: named.text(key, "") for key in given}
    for key in named.keys() & FloorAssumptions.__dataclass_fields__.keys():
        raise named.fault(key, "is the source of a figure that is not stated", f"state {key} too")
    named.close()
    try:
        return FloorAssumptions(**given), sources
    except InvalidProfile as wrong:
        raise OfferFileError(
            where="the file", problem=str(wrong), remedy="correct that key"
        ) from None


def strictly(build: Callable[[StrictTable], Parsed], parsed: Any) -> Parsed:
    """Build from a table, refuse what is left over, and speak of offers, not of tariffs.

    Raises:
        OfferFileError: A key is unknown, missing or wrong.
    """
    try:
        table = StrictTable(parsed, "")
        built = build(table)
        table.close()
    except TariffFileError as wrong:
        raise OfferFileError(
            where=wrong.where, problem=wrong.problem, remedy=wrong.remedy
        ) from None
    return built


def _expect(table: StrictTable, expected: str) -> None:
    found = table.text("format")
    if found != expected:
        raise table.fault("format", f"is {found!r}", f"write {expected!r}")


def read_share(table: StrictTable, key: str) -> Decimal:
    """Take a share from 0 to 1; zero when absent.

    Raises:
        TariffFileError: It is outside.
    """
    share = table.decimal(key, Decimal(0))
    if not 0 <= share <= 1:
        raise table.fault(key, f"is {share}", "write a share from 0 to 1")
    return share


def _term_months(table: StrictTable, key: str) -> int:
    months = table.whole(key)
    if not 1 <= months <= TERM_MONTHS_MAX:
        raise table.fault(key, f"is {months}", f"write 1 to {TERM_MONTHS_MAX} months")
    return months


def required_instant(table: StrictTable, key: str) -> datetime:
    """Take an instant with offset, in UTC.

    Raises:
        TariffFileError: It is missing, or no instant.
    """
    found = _instant(table, key)
    if found is None:
        raise table.fault(key, "is missing", "write it as 2026-12-01T17:00:00+01:00")
    return found


def _instant(table: StrictTable, key: str) -> datetime | None:
    found = table.take(key)
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError:
            raise table.fault(
                key, f"is {found!r}", "write it as 2026-12-01T17:00:00+01:00"
            ) from None
    if found is None:
        return None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise table.fault(key, "has no time or no offset", "write it as 2026-12-01T17:00:00+01:00")
    return found.astimezone(UTC)


def _condition(found: Any) -> str:
    if not isinstance(found, str) or not 0 < len(found) <= 2000:
        raise ValueError(found)
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number here")


def read_form(path: Path) -> str:
    """Tell a file's form by its ending: `json`, or else `toml`."""
    return "json" if path.suffix.lower() == ".json" else "toml"


def read_text(path: Path) -> str:
    """Read a file's text.

    Raises:
        OfferFileError: It is too large, not UTF-8, or cannot be read.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise OfferFileError(
                where="the file",
                problem="is too large",
                remedy=f"give at most {FILE_BYTES_MAX} bytes",
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise OfferFileError(
            where="the file", problem="is not UTF-8 text", remedy="save it as UTF-8"
        ) from None
    except OSError as unreadable:
        raise OfferFileError(
            where="the file",
            problem=f"cannot be read ({unreadable.strerror})",
            remedy="check the path and its permissions",
        ) from None
