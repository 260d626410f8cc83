"""Reading a rate of the OpenEI Utility Rate Database (URDB), versions 7 and 8.

Everything that costs money is either represented or refused by the name of its field. Words
(`description`, `energycomments`, `energyattrs` …) cannot be priced; attributes are handed on as
remarks, which a bill shows.

Source: the field names of OpenEI's `util_rates` service, version 8, and the older names of
version 7 (`fixedmonthlycharge`, `minmonthlycharge`, `annualmincharge`); their reading follows the
SAM engine (NREL PySAM `URDBv8_to_ElectricityRates` and `Utilityrate5`).
"""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tariff_bargainer.errors import TariffFileError, UnsupportedRate
from tariff_bargainer.profiles.calendar import WEEKDAYS, WEEKEND
from tariff_bargainer.tariffs.json_text import parse_json
from tariff_bargainer.tariffs.schedule import ALL_MONTHS, Window
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff import (
    DemandCharge,
    EnergyCharge,
    Metering,
    MinimumBill,
    NetBilling,
    NetMetering,
    Per,
    Period,
    Ratchet,
    StandingCharge,
    Tariff,
    Tier,
    TierBasis,
)

OPEN_END = Decimal("1e12")
"""An upper end from here on means that the block is open; PySAM writes 1e38."""

ENERGY_UNITS: dict[str, TierBasis] = {
    "kwh": "month",
    "kwh daily": "month-daily",
    "kwh/kw": "month-per-kw",
    "kwh/kw daily": "month-per-kw-daily",
}
CHARGE_UNITS: dict[str, Per] = {"$/day": "average-day", "$/month": "month", "$/year": "year"}
DG_RULES: dict[str, tuple[Metering, NetBilling]] = {
    "net metering": ("net", NetBilling()),
    "net billing instantaneous": ("net-billing", NetBilling()),
    "net billing hourly": ("net-billing", NetBilling(carry="next-month")),
    "buy all sell all": ("net-billing", NetBilling()),
}
PRICING_WORDS = (
    "rate", "charge", "adjust", "surcharge", "demand", "energy", "fixed", "lookback", "ratchet",
    "coincident", "credit", "tax", "min", "discount",
)  # fmt: skip
WORDS_ONLY = ("comments", "attrs", "description", "history", "labels")
ATTRIBUTES = ("energyattrs", "demandattrs", "fixedattrs", "coincidentrateattrs", "flatdemandattrs")
NOT_PRICES = frozenset(
    {
        "peakkwcapacitymin", "peakkwcapacitymax", "peakkwhusagemin", "peakkwhusagemax",
        "voltageminimum", "voltagemaximum", "demandunits", "flatdemandunits", "is_default",
        "enddate", "startdate", "fixedchargeeaaddl", "ratetype", "utilityrateid", "administrator",
    }
)  # fmt: skip

Schedule = list[list[int]]


def parse_urdb(text: str, *, timezone: str) -> Tariff:
    """Read one URDB rate from its JSON text.

    Args:
        text: The rate object, or the service's answer `{"items": [rate]}` with one rate.
        timezone: IANA zone of the utility's clock, which URDB does not say.

    Raises:
        TariffFileError: The text is not such JSON.
        UnsupportedRate: A field cannot be represented without changing the rate.
    """
    parsed = parse_json(text)
    return tariff_from_urdb(_one_rate(parsed), timezone=timezone)


def _one_rate(parsed: Any) -> Any:
    items = parsed.get("items", [parsed]) if isinstance(parsed, dict) else parsed
    if not isinstance(items, list) or len(items) != 1:
        count = len(items) if isinstance(items, list) else 0
        raise TariffFileError(
            where="items",
            problem=f"holds {count} rates",
            remedy="give one rate per file, chosen by its label",
        )
    return items[0]


def tariff_from_urdb(rate: Any, *, timezone: str) -> Tariff:
    """Build a tariff from one parsed URDB rate.

    Args:
        rate: The parsed rate object; it is not changed.
        timezone: IANA zone of the utility's clock.

    Raises:
        TariffFileError: A value has a wrong type or shape.
        UnsupportedRate: A field cannot be represented without changing the rate.
    """
    table = StrictTable(rate, "")
    metering, net_billing = _metering(table)
    energy, export = _energy(table)
    first_day, end_day = _day(table, "startdate"), _day(table, "enddate")
    if first_day and end_day and end_day <= first_day:
        raise table.fault("enddate", "is not after startdate", "correct one of them")
    tariff = Tariff(
        name=_words(table, "name") or _words(table, "label") or "unnamed URDB rate",
        currency=_words(table, "currency") or "USD",
        timezone=timezone,
        supplier=_words(table, "utility"),
        source=_source(table),
        energy=(*energy, *_fuel_adjustment(table)),
        export=export,
        demand=_demand(table),
        standing=_standing(table),
        minimum=_minimum(table),
        metering=metering,
        net_billing=net_billing,
        net_metering=NetMetering(carry_by="time-of-day"),
        effective_from=first_day,
        effective_to=end_day,
        remarks=_remarks(table),
    )
    _refuse_what_is_left(table)
    return tariff


def _words(table: StrictTable, key: str) -> str:
    found = table.take(key)
    return found.strip()[:200] if isinstance(found, str) else ""


def _source(table: StrictTable) -> str:
    label, uri = _words(table, "label"), _words(table, "uri")
    return f"OpenEI URDB {uri or label}".strip()


def _metering(table: StrictTable) -> tuple[Metering, NetBilling]:
    rules = table.take("dgrules")
    net = table.take("usenetmetering")
    if rules in {None, ""}:
        return ("none" if net is False else "net"), NetBilling()
    known = DG_RULES.get(str(rules).strip().lower())
    if known is None:
        raise UnsupportedRate(field="dgrules", problem=f"{rules!r} is not a known metering rule")
    return known


def _day(table: StrictTable, key: str) -> date | None:
    """Read a date that URDB writes as seconds since 1970, or as text; odd ones are left out."""
    found = table.take(key)
    if isinstance(found, int) and 0 <= found < 10**11:
        return datetime.fromtimestamp(found, tz=UTC).date()
    if isinstance(found, str):
        try:
            return datetime.fromisoformat(found).date()
        except ValueError:
            return None
    return None


def _tiers(
    table: StrictTable, key: str, units: dict[str, str]
) -> list[list[tuple[Tier, Decimal | None, str]]]:
    """Read a rate structure: per period its blocks, each with its sell rate and unit."""
    structure = []
    for p, entries in enumerate(table.items(key)):
        if not isinstance(entries, list) or not entries:
            raise table.fault(f"{key}[{p}]", "is no list of blocks", "give at least one block")
        blocks = []
        for t, entry in enumerate(entries):
            place = f"{key}[{p}][{t}]"
            block = StrictTable(entry, place)
            upto = block.optional_limit("max", OPEN_END)
            found = block.optional_decimal("rate")
            adjustment = block.optional_decimal("adj")
            if found is None and adjustment is None:
                raise UnsupportedRate(field=f"{place}.rate", problem="a block without a rate")
            unit = str(block.take("unit") or next(iter(units))).strip().lower()
            if unit not in units:
                raise UnsupportedRate(field=f"{place}.unit", problem=f"{unit!r} cannot be priced")
            sell = block.optional_decimal("sell")
            if not block.keys() <= {"id"}:
                extra = min(block.keys())
                raise UnsupportedRate(field=f"{place}.{extra}", problem="is not a known field")
            rate = (found or Decimal(0)) + (adjustment or Decimal(0))
            last = t == len(entries) - 1
            if last != (upto is None):
                problem = (
                    "ends the last block, and nothing says what follows"
                    if last
                    else "is missing before the last block"
                )
                raise UnsupportedRate(field=f"{place}.max", problem=problem)
            blocks.append((Tier(rate=rate, upto=upto), sell, unit))
        structure.append(blocks)
    return structure


def _energy(table: StrictTable) -> tuple[tuple[EnergyCharge, ...], tuple[EnergyCharge, ...]]:
    names = dict.fromkeys(ENERGY_UNITS, "")
    structure = _tiers(table, "energyratestructure", names)
    weekday = _schedule(table, "energyweekdayschedule", len(structure))
    weekend = _schedule(table, "energyweekendschedule", len(structure))
    if not structure:
        return (), ()
    used = {period for row in (*weekday, *weekend) for period in row}
    limited = {
        unit
        for number, blocks in enumerate(structure)
        for tier, _, unit in blocks
        if tier.upto is not None and number in used
    }
    if len(limited) > 1:
        raise UnsupportedRate(
            field="energyratestructure.unit",
            problem=f"blocks count in different units ({', '.join(sorted(limited))})",
        )
    basis = ENERGY_UNITS[limited.pop()] if limited else "month"
    windows = _windows(weekday, weekend)
    buy = _periods(windows, [[tier for tier, _, _ in blocks] for blocks in structure])
    energy = EnergyCharge(name="energy", periods=buy, tier_basis=basis)
    if not any(sell for blocks in structure for _, sell, _ in blocks):
        return (energy,), ()
    earned = [
        [Tier(rate=sell or Decimal(0), upto=tier.upto) for tier, sell, _ in blocks]
        for blocks in structure
    ]
    export = EnergyCharge(name="export", periods=_periods(windows, earned), tier_basis=basis)
    return (energy,), (export,)


def _periods(
    windows: dict[int, tuple[Window, ...]], structure: Sequence[Sequence[Tier]]
) -> tuple[Period, ...]:
    """Make the periods that are used, with everything else of the structure left out."""
    return tuple(
        Period(name=f"period {number}", tiers=tuple(structure[number]), windows=windows[number])
        for number in sorted(windows)
    )


def _schedule(table: StrictTable, key: str, n_periods: int) -> Schedule:
    """Read a 12 x 24 schedule of period numbers; some files hold them as floats."""
    rows = table.items(key)
    if not rows:
        if n_periods > 1:
            raise table.missing(key, "12 rows of 24 period numbers")
        return [[0] * 24 for _ in ALL_MONTHS]
    if len(rows) != 12 or any(not isinstance(row, list) or len(row) != 24 for row in rows):
        raise table.fault(key, "is not 12 rows of 24 hours", "give every month and hour")
    schedule = []
    for month, row in enumerate(rows):
        for hour, number in enumerate(row):
            valid = isinstance(number, (int, Decimal)) and number == int(number)
            if not valid or not 0 <= number < n_periods:
                raise table.fault(
                    f"{key}[{month}][{hour}]",
                    f"is {number!r}, no period of the rate structure",
                    f"give a whole number below {n_periods}",
                )
        schedule.append([int(number) for number in row])
    return schedule


def _windows(weekday: Schedule, weekend: Schedule) -> dict[int, tuple[Window, ...]]:
    """Turn 12 x 24 schedules into windows per period, months with the same hours together."""
    runs: dict[int, dict[tuple[tuple[str, ...], int, int], list[int]]] = {}
    for days, schedule in ((WEEKDAYS, weekday), (WEEKEND, weekend)):
        for month, row in zip(ALL_MONTHS, schedule, strict=True):
            hour = 0
            while hour < 24:
                end = hour
                while end < 24 and row[end] == row[hour]:
                    end += 1
                key = (days, hour * 60, end * 60)
                runs.setdefault(row[hour], {}).setdefault(key, []).append(month)
                hour = end
    return {
        period: tuple(
            Window(months=tuple(months), days=days, from_minute=low, to_minute=high)
            for (days, low, high), months in groups.items()
        )
        for period, groups in runs.items()
    }


def _fuel_adjustment(table: StrictTable) -> tuple[EnergyCharge, ...]:
    rates = table.each("fueladjustmentsmonthly", _number, "12 prices per kWh")
    if not any(rates):
        return ()
    return (_by_month(table, "fueladjustmentsmonthly", "fuel adjustment", rates),)


def _by_month(table: StrictTable, key: str, name: str, rates: Sequence[Decimal]) -> EnergyCharge:
    if len(rates) != 12:
        raise table.fault(key, f"has {len(rates)} entries", "give one per month")
    periods = tuple(
        Period(name=f"month {month}", tiers=(Tier(rate=rate),), windows=(Window(months=(month,)),))
        for month, rate in zip(ALL_MONTHS, rates, strict=True)
    )
    return EnergyCharge(name=name, periods=periods)


def _number(found: Any) -> Decimal:
    if found is None:
        return Decimal(0)
    if isinstance(found, bool) or not isinstance(found, (int, Decimal)):
        raise TypeError(found)
    return StrictTable({"number": found}, "").decimal("number")


def _demand(table: StrictTable) -> tuple[DemandCharge, ...]:
    window_min = table.optional_whole("demandwindow") or None
    ratchet = _ratchet(table)
    _refuse_unless_zero(table, "demandreactivepowercharge", "reactive power is not metered here")
    _refuse_unless_zero(table, "demandratchetpercentage", "use lookbackpercent and lookbackmonths")
    for key in ("coincidentratestructure", "coincidentrateschedule", "coincidentrateunit"):
        _refuse_unless_zero(table, key, "URDB does not say when the system peaks")
    charges = []
    structure = _tiers(table, "demandratestructure", {"kw": "", "kw daily": ""})
    weekday = _schedule(table, "demandweekdayschedule", len(structure))
    weekend = _schedule(table, "demandweekendschedule", len(structure))
    per = _demand_per(table, ("demandrateunit",), structure)
    if structure:
        periods = _periods(
            _windows(weekday, weekend), [[tier for tier, _, _ in blocks] for blocks in structure]
        )
        charges.append(
            DemandCharge(name="demand by time of use", periods=periods, per=per,
                         window_min=window_min, ratchet=ratchet)
        )  # fmt: skip
    flat = _tiers(table, "flatdemandstructure", {"kw": "", "kw daily": ""})
    months = table.each("flatdemandmonths", _whole, "12 period numbers")
    per = _demand_per(table, ("flatdemandunit", "flatdemandunits"), flat)
    if flat:
        schedule = _flat_schedule(table, months, len(flat))
        periods = _periods(
            _windows(schedule, schedule), [[tier for tier, _, _ in blocks] for blocks in flat]
        )
        charges.append(
            DemandCharge(name="flat demand", periods=periods, per=per,
                         window_min=window_min, ratchet=ratchet)
        )  # fmt: skip
    return tuple(charges)


def _demand_per(
    table: StrictTable, keys: Sequence[str], structure: list[list[tuple[Tier, Decimal | None, str]]]
) -> Any:
    units = {unit for blocks in structure for _, _, unit in blocks}
    for key in keys:
        found = str(table.take(key) or "").strip().lower()
        if found and structure:
            if found not in {"kw", "kw daily"}:
                raise UnsupportedRate(field=key, problem=f"{found!r} cannot be priced")
            units = {found} if units <= {"kw"} else units
    if len(units) > 1:
        raise UnsupportedRate(field=keys[0], problem="blocks bill by month and by day")
    return "day" if units == {"kw daily"} else "month"


def _flat_schedule(table: StrictTable, months: list[int], n_periods: int) -> Schedule:
    if not months:
        months = [0] * 12
    if len(months) != 12 or any(not 0 <= number < n_periods for number in months):
        raise table.fault(
            "flatdemandmonths", "is not 12 period numbers", f"give 12 numbers below {n_periods}"
        )
    return [[number] * 24 for number in months]


def _whole(found: Any) -> int:
    number = _number(found)
    if number != int(number):
        raise ValueError(found)
    return int(number)


def _ratchet(table: StrictTable) -> Ratchet | None:
    share = table.optional_decimal("lookbackpercent") or Decimal(0)
    months = table.each("lookbackmonths", _flag, "12 true or false")
    reach = table.optional_whole("lookbackrange") or 0
    if not share:
        return None
    if months and len(months) != 12:
        raise table.fault("lookbackmonths", f"has {len(months)} entries", "give one per month")
    flagged = tuple(month for month, counts in zip(ALL_MONTHS, months, strict=False) if counts)
    if not 0 <= share <= 1 or not 0 <= reach <= 12:
        raise UnsupportedRate(
            field="lookbackpercent", problem=f"a share of {share} over {reach} months has no sense"
        )
    return Ratchet(
        percent=share * 100,
        lookback_months=reach or 11,
        peak_months=flagged or ALL_MONTHS,
        across_periods=True,
    )


def _flag(found: Any) -> bool:
    if isinstance(found, bool) or found in {0, 1}:
        return bool(found)
    raise ValueError(found)


def _standing(table: StrictTable) -> tuple[StandingCharge, ...]:
    amounts: list[tuple[Decimal, Per]] = []
    first = table.optional_decimal("fixedchargefirstmeter")
    per = _per(table, "fixedchargeunits")
    if first:
        amounts.append((first, per))
    monthly = table.optional_decimal("fixedmonthlycharge")
    if monthly and (monthly, "month") not in amounts:
        if amounts:
            raise UnsupportedRate(
                field="fixedmonthlycharge", problem="contradicts fixedchargefirstmeter"
            )
        amounts.append((monthly, "month"))
    return tuple(StandingCharge(name="fixed charge", amount=a, per=p) for a, p in amounts)


def _minimum(table: StrictTable) -> tuple[MinimumBill, ...]:
    amounts: list[tuple[Decimal, Per]] = []
    least = table.optional_decimal("mincharge")
    per = _per(table, "minchargeunits")
    if least:
        amounts.append((least, per))
    older: tuple[tuple[str, Per], ...] = (
        ("minmonthlycharge", "month"),
        ("annualmincharge", "year"),
    )
    for key, unit in older:
        found = table.optional_decimal(key)
        if not found or (found, unit) in amounts:
            continue
        if any(other == unit for _, other in amounts):
            raise UnsupportedRate(field=key, problem="contradicts mincharge")
        amounts.append((found, unit))
    return tuple(MinimumBill(amount=a, per=p) for a, p in amounts)


def _per(table: StrictTable, key: str) -> Per:
    found = str(table.take(key) or "$/month").strip().lower()
    if found not in CHARGE_UNITS:
        raise UnsupportedRate(field=key, problem=f"{found!r} is not a known unit of time")
    return CHARGE_UNITS[found]


def _remarks(table: StrictTable) -> tuple[str, ...]:
    remarks = []
    for key in ATTRIBUTES:
        found = table.take(key)
        if found:
            remarks.append(f"{key}: {json.dumps(found, default=str)[:400]}")
    extra = table.optional_decimal("fixedchargeeaaddl")
    if extra:
        remarks.append(f"fixedchargeeaaddl: {extra} for each meter after the first")
    return tuple(remarks)


def _refuse_unless_zero(table: StrictTable, key: str, problem: str) -> None:
    if not _is_nothing(table.take(key)):
        raise UnsupportedRate(field=key, problem=problem)


def _is_nothing(found: Any) -> bool:
    """Whether a value, however deep, holds no number other than zero."""
    if isinstance(found, dict):
        return all(_is_nothing(value) for key, value in found.items() if key not in {"unit", "max"})
    if isinstance(found, list):
        return all(_is_nothing(entry) for entry in found)
    return found in {None, False, "", "kW"} or found == 0


def _refuse_what_is_left(table: StrictTable) -> None:
    for key in sorted(table.keys()):
        name = key.lower()
        words = name in NOT_PRICES or name.endswith(WORDS_ONLY)
        prices = not words and any(word in name for word in PRICING_WORDS)
        if prices and not _is_nothing(table.take(key)):
            raise UnsupportedRate(field=key, problem="is not a field this reader knows")
