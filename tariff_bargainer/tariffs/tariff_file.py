"""The project's own tariff form: TOML text to `Tariff`, strictly.

The form is described key by key in `docs/formats/tariff.md`. Unknown keys are refused, so that a
misspelt rule is never silently left out of a bill.
"""

import re
import tomllib
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tariff_bargainer.errors import TariffFileError
from tariff_bargainer.profiles.calendar import DAY_KINDS, MINUTES_PER_DAY, WEEKDAYS, WEEKEND
from tariff_bargainer.tariffs.schedule import ALL_MONTHS, Window
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff import (
    COMPONENTS,
    METERING,
    MONTH_BASES,
    PERS,
    ROUNDING_MODES,
    TIER_BASES,
    TIER_ORDERS,
    TIER_SCOPES,
    Component,
    DemandCharge,
    Discount,
    EnergyCharge,
    IndexLink,
    MinimumBill,
    NetBilling,
    NetMetering,
    Period,
    Ratchet,
    Rounding,
    StandingCharge,
    Tariff,
    Tax,
    Tier,
)

FORMAT = "commonwatt-tariff/1"
FILE_BYTES_MAX = 4_000_000

MINIMUM_COVERS: tuple[Component, ...] = ("energy", "demand", "fixed", "export_credit")
DAY_WORDS = {
    "weekdays": WEEKDAYS,
    "weekends": WEEKEND,
    "holidays": ("holiday",),
    "all": DAY_KINDS,
}


def read_tariff(path: Path) -> Tariff:
    """Read a tariff file in the project's own form.

    Raises:
        TariffFileError: The file is too large, is not TOML, or breaks the form.
    """
    return parse_tariff(read_text(path))


def read_text(path: Path) -> str:
    """Read a tariff file's text, refusing what is too large or not UTF-8.

    Raises:
        TariffFileError: The file cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise TariffFileError(
                where="the file",
                problem=f"has {size} bytes",
                remedy=f"give at most {FILE_BYTES_MAX}",
            )
        return path.read_text(encoding="utf-8-sig")
    except OSError as unreadable:
        raise TariffFileError(
            where="the file",
            problem=f"cannot be read ({unreadable.strerror})",
            remedy="check the path and its permissions",
        ) from None
    except UnicodeDecodeError:
        raise TariffFileError(
            where="the file", problem="is not UTF-8 text", remedy="save it as UTF-8"
        ) from None


def parse_tariff(text: str, *, timezone: str | None = None) -> Tariff:
    """Parse the text of a tariff in the project's own form.

    Args:
        text: TOML.
        timezone: IANA zone in place of the file's own; None if the file must name it.

    Raises:
        TariffFileError: The text is not TOML, or breaks the form; names the key and the remedy.
    """
    try:
        parsed = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as broken:
        raise TariffFileError(
            where="the file", problem=f"is not TOML: {broken}", remedy="correct that line"
        ) from None
    if timezone is not None:
        parsed["timezone"] = timezone
    return tariff_from_table(parsed)


def tariff_from_table(parsed: Any) -> Tariff:
    """Build a tariff from parsed TOML or JSON values.

    Raises:
        TariffFileError: A key is unknown, missing or wrong.
    """
    table = StrictTable(parsed, "")
    found = table.text("format")
    if found != FORMAT:
        raise table.fault("format", f"is {found!r}", f"write {FORMAT!r}")
    net = next(_single(table, "net_metering"), None)
    billing = next(_single(table, "net_billing"), None)
    rounding = next(_single(table, "rounding"), None)
    holidays = table.each("holidays", _holiday, '2024-12-25, or "12-25" for every year')
    energy = tuple(_energy_charge(entry, "energy") for entry in table.tables("energy"))
    export = tuple(_energy_charge(entry, "export") for entry in table.tables("export"))
    default_metering = "net-billing" if export else "none"
    fields: dict[str, Any] = {
        "name": table.text("name"),
        "currency": table.text("currency"),
        "timezone": table.text("timezone"),
        "energy": energy,
        "export": export,
        "demand": tuple(_demand_charge(entry) for entry in table.tables("demand")),
        "standing": tuple(_standing(entry) for entry in table.tables("standing")),
        "minimum": tuple(_minimum(entry) for entry in table.tables("minimum")),
        "discounts": tuple(_discount(entry) for entry in table.tables("discounts")),
        "taxes": tuple(_tax(entry) for entry in table.tables("taxes")),
        "metering": table.choice("metering", METERING, default_metering),
        "net_metering": _net_metering(net) if net else NetMetering(),
        "net_billing": _net_billing(billing) if billing else NetBilling(),
        "rounding": _rounding(rounding) if rounding else Rounding(),
        "holidays": tuple(sorted(day for day in holidays if isinstance(day, date))),
        "holidays_every_year": tuple(sorted(day for day in holidays if isinstance(day, tuple))),
        "system_peaks": tuple(table.each("system_peaks", _instant, "an ISO 8601 time with offset")),
        "effective_from": table.optional_day("effective_from"),
        "effective_to": table.optional_day("effective_to"),
        "exit_fee": table.decimal("exit_fee", Decimal(0)),
        "supplier": table.text("supplier", ""),
        "source": table.text("source", ""),
        "source_date": table.optional_day("source_date"),
        "remarks": tuple(table.each("remarks", _remark, "text")),
    }
    table.close()
    return Tariff(**fields)


def _single(table: StrictTable, key: str) -> Any:
    found = table.take(key)
    if found is not None:
        yield StrictTable(found, table.path(key))


def _energy_charge(table: StrictTable, kind: str) -> EnergyCharge:
    index = next(_single(table, "index"), None)
    charge = EnergyCharge(
        name=table.text("name", kind),
        periods=(
            (Period(name="all", tiers=(Tier(rate=Decimal(0)),)),)
            if index and not {"rate_per_kwh", "tiers", "periods"} & table.keys()
            else _periods(table, "rate_per_kwh", "upto_kwh")
        ),
        tier_basis=table.choice("tier_basis", TIER_BASES, "month"),
        tier_order=table.choice("tier_order", TIER_ORDERS, "auto"),
        tier_scope=table.choice("tier_scope", TIER_SCOPES, "all"),
        register=table.text("register", ""),
        index=_index_link(index) if index else None,
    )
    table.close()
    return charge


def _index_link(table: StrictTable) -> IndexLink:
    link = IndexLink(
        series=table.text("series"),
        loss_factor=table.decimal("loss_factor", Decimal(1)),
        markup_per_kwh=table.decimal("markup_per_kwh", Decimal(0)),
        cap_per_kwh=table.optional_decimal("cap_per_kwh"),
        floor_per_kwh=table.optional_decimal("floor_per_kwh"),
    )
    table.close()
    return link


def _periods(table: StrictTable, rate_key: str, upto_key: str) -> tuple[Period, ...]:
    """Read `periods`, or the short form with one rate or one list of tiers for all times."""
    if "periods" not in table:
        return (Period(name="all", tiers=_tiers(table, rate_key, upto_key)),)
    periods = []
    for entry in table.tables("periods"):
        periods.append(
            Period(
                name=entry.text("name"),
                tiers=_tiers(entry, rate_key, upto_key),
                windows=tuple(_window(window) for window in entry.tables("windows")),
            )
        )
        entry.close()
    return tuple(periods)


def _tiers(table: StrictTable, rate_key: str, upto_key: str) -> tuple[Tier, ...]:
    if "tiers" not in table:
        return (Tier(rate=table.decimal(rate_key)),)
    if rate_key in table:
        raise table.fault(rate_key, "stands beside tiers", f"give either tiers or {rate_key}")
    tiers = []
    for entry in table.tables("tiers"):
        basis = entry.choice_or_none("basis", MONTH_BASES) if upto_key == "upto_kwh" else None
        tiers.append(
            Tier(rate=entry.decimal(rate_key), upto=entry.optional_decimal(upto_key), basis=basis)
        )
        entry.close()
    return tuple(tiers)


def _window(table: StrictTable) -> Window:
    words = table.words("days", (*DAY_WORDS, *DAY_KINDS), ("all",))
    named = {kind for word in words for kind in DAY_WORDS.get(word, (word,))}
    season = None
    if "season" in table:
        season = _season(table)
    try:
        window = Window(
            months=tuple(sorted(set(table.each("months", _month, "months 1 to 12")))) or ALL_MONTHS,
            days=tuple(kind for kind in DAY_KINDS if kind in named),
            from_minute=_minute(table, "from", "00:00"),
            to_minute=_minute(table, "to", "24:00"),
            season=season,
        )
    except ValueError as wrong:
        raise table.fault("from", str(wrong), "correct the window") from None
    table.close()
    return window


def _season(table: StrictTable) -> tuple[tuple[int, int], tuple[int, int]]:
    found = table.text("season")
    match = re.fullmatch(r"(\d\d)-(\d\d)\.\.(\d\d)-(\d\d)", found)
    if not match:
        raise table.fault("season", f"is {found!r}", 'write first and last day: "06-15..09-14"')
    first_month, first_day, last_month, last_day = (int(part) for part in match.groups())
    return (first_month, first_day), (last_month, last_day)


def _minute(table: StrictTable, key: str, default: str) -> int:
    found = table.text(key, default)
    match = re.fullmatch(r"(\d\d):(\d\d)", found)
    if not match or int(match[2]) > 59 or int(match[1]) * 60 + int(match[2]) > MINUTES_PER_DAY:
        raise table.fault(key, f"is {found!r}", 'write wall-clock time as "16:00", up to "24:00"')
    return int(match[1]) * 60 + int(match[2])


def _month(found: Any) -> int:
    if isinstance(found, int) and not isinstance(found, bool) and found in ALL_MONTHS:
        return found
    raise ValueError(found)


def _holiday(found: Any) -> date | tuple[int, int]:
    if isinstance(found, date) and not isinstance(found, datetime):
        return found
    if isinstance(found, str) and re.fullmatch(r"\d\d-\d\d", found):
        day = date.fromisoformat(f"2024-{found}")
        return day.month, day.day
    if isinstance(found, str):
        return date.fromisoformat(found)
    raise ValueError(found)


def _remark(found: Any) -> str:
    if isinstance(found, str):
        return found
    raise ValueError(found)


def _instant(found: Any) -> str:
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if isinstance(found, datetime) and found.tzinfo is not None:
        return found.isoformat()
    raise ValueError(found)


def _demand_charge(table: StrictTable) -> DemandCharge:
    ratchet = next(_single(table, "ratchet"), None)
    charge = DemandCharge(
        name=table.text("name", "demand"),
        periods=_periods(table, "rate_per_kw", "upto_kw"),
        window_min=table.optional_whole("window_min"),
        n_highest=table.whole("n_highest", 1),
        distinct_days=table.flag("distinct_days"),
        per=table.choice("per", ("month", "day"), "month"),
        minimum_kw=table.decimal("minimum_kw", Decimal(0)),
        ratchet=_ratchet(ratchet) if ratchet else None,
        coincident=table.flag("coincident"),
        register=table.text("register", ""),
    )
    table.close()
    return charge


def _ratchet(table: StrictTable) -> Ratchet:
    months = "months 1 to 12"
    by_month = tuple(table.each("percent_by_month", _percent, "12 percentages"))
    if by_month and "percent" in table:
        raise table.fault("percent", "stands beside percent_by_month", "give one of the two")
    ratchet = Ratchet(
        percent=max(by_month) if by_month else table.decimal("percent"),
        percent_by_month=by_month,
        lookback_months=table.whole("lookback_months", 11),
        across_periods=table.flag("across_periods"),
        peak_months=tuple(table.each("peak_months", _month, months)) or ALL_MONTHS,
        apply_months=tuple(table.each("apply_months", _month, months)) or ALL_MONTHS,
    )
    table.close()
    return ratchet


def _percent(found: Any) -> Decimal:
    if isinstance(found, (int, Decimal)) and not isinstance(found, bool):
        return Decimal(found)
    raise ValueError(found)


def _standing(table: StrictTable) -> StandingCharge:
    charge = StandingCharge(
        name=table.text("name", "standing charge"),
        amount=table.decimal("amount"),
        per=table.choice("per", PERS, "month"),
    )
    table.close()
    return charge


def _minimum(table: StrictTable) -> MinimumBill:
    minimum = MinimumBill(
        amount=table.decimal("amount"),
        per=table.choice("per", PERS, "month"),
        covers=tuple(table.words("covers", COMPONENTS, MINIMUM_COVERS)),
    )
    table.close()
    return minimum


def _discount(table: StrictTable) -> Discount:
    discount = Discount(
        name=table.text("name"),
        percent=table.decimal("percent", Decimal(0)),
        amount_per_month=table.decimal("amount_per_month", Decimal(0)),
        on=tuple(table.words("on", COMPONENTS, ("energy",))),
        first_months=table.optional_whole("first_months"),
        condition=table.text("condition", ""),
    )
    table.close()
    return discount


def _tax(table: StrictTable) -> Tax:
    plain = Tax(name=table.text("name"))
    tax = Tax(
        name=plain.name,
        percent=table.decimal("percent", Decimal(0)),
        per_kwh=table.decimal("per_kwh", Decimal(0)),
        on=tuple(table.words("on", COMPONENTS, plain.on)),
        above_kwh=table.decimal("above_kwh", Decimal(0)),
        upto_kwh=table.optional_decimal("upto_kwh"),
        when_month_kwh_above=table.optional_decimal("when_month_kwh_above"),
        when_month_kwh_upto=table.optional_decimal("when_month_kwh_upto"),
    )
    table.close()
    return tax


def _net_metering(table: StrictTable) -> NetMetering:
    rule = NetMetering(
        rollover=table.choice("rollover", ("kwh", "money"), "kwh"),
        year_end_rate_per_kwh=table.decimal("year_end_rate_per_kwh", Decimal(0)),
        credit_month=_credit_month(table),
        carry_by=table.choice("carry_by", ("period", "time-of-day"), "period"),
    )
    table.close()
    return rule


def _net_billing(table: StrictTable) -> NetBilling:
    rule = NetBilling(
        carry=table.choice("carry", ("same-month", "next-month"), "same-month"),
        credit_month=_credit_month(table),
    )
    table.close()
    return rule


def _credit_month(table: StrictTable) -> int:
    month = table.whole("credit_month", 12)
    if month not in ALL_MONTHS:
        raise table.fault("credit_month", f"is {month}", "write a month 1 to 12")
    return month


def _rounding(table: StrictTable) -> Rounding:
    rule = Rounding(
        places=table.optional_whole("places"),
        mode=table.choice("mode", ROUNDING_MODES, "half-up"),
    )
    table.close()
    return rule
