"""Reading a tariff in the OpenTariff form (UK retail), versions 1.x.

Prices are pence per kWh and standing charges pence per day, as OpenTariff's own cost calculation
takes them; the result is in pounds. The form has no tax and no clock: rates count as they stand,
on `Europe/London` time unless another zone is given.

Source: the pydantic models of OpenTariff 1.2.0 (`Tariff`, `Rate`, `StandingCharge`).
"""

import re
from typing import Any

from tariff_bargainer.errors import TariffFileError, UnsupportedRate
from tariff_bargainer.profiles.calendar import DAY_KINDS, MINUTES_PER_DAY
from tariff_bargainer.tariffs.foreign_fields import told_by
from tariff_bargainer.tariffs.json_text import parse_json
from tariff_bargainer.tariffs.schedule import ALL_MONTHS, Window
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff import EnergyCharge, Period, StandingCharge, Tariff, Tier

UK_ZONE = "Europe/London"
PENCE_PER_POUND = 100
DAYS = (*DAY_KINDS[:7],)
NOT_REPRESENTED = {
    "time_of_use_dynamic": "dated prices are a price series; use an index-linked tariff",
    "demand_tiered": "the form does not say over which time consumption is counted",
    "type_of_use": "what energy is used for is not metered here",
}
WINDOW_FIELDS = ("time_from", "time_to", "day_from", "day_to", "month_from", "month_to")
BAND_FIELDS = ("max_consumption", "min_consumption")
HOME_FIELDS = ("tcr_band", "tcrbandtype", "line_loss")
DATED_FIELDS = ("datetime_from", "datetime_to", "consumption_from", "consumption_to")


def parse_opentariff(text: str, *, timezone: str = UK_ZONE) -> Tariff:
    """Read one OpenTariff tariff from its JSON text.

    Args:
        text: A `Tariff` object, or an object with `tariff` and optionally `product`.
        timezone: IANA zone of the windows.

    Raises:
        TariffFileError: The text is not such JSON.
        UnsupportedRate: A rate cannot be represented.
    """
    parsed = parse_json(text)
    name, supplier = "", ""
    if isinstance(parsed, dict) and "tariff" in parsed:
        product = parsed.get("product") or {}
        if isinstance(product, dict):
            name = str(product.get("name") or name)[:200]
            supplier = str(product.get("supplier_name") or "")[:200]
        parsed = parsed["tariff"]
    table = StrictTable(parsed, "")
    code = table.take("supplier_tariff_code")
    name = name or str(code or "OpenTariff tariff")[:200]
    _refuse_gas(table)
    imported, exported = _rates(table)
    standing = _standing(table)
    with told_by({"energy": "rates", "export": "rates"}):
        tariff = Tariff(
            name=name,
            currency="GBP",
            timezone=timezone,
            supplier=supplier,
            source="OpenTariff file",
            energy=imported,
            export=exported,
            standing=standing,
            metering="net-billing" if exported else "none",
            remarks=_remarks(table),
        )
    for known in ("dno_region", "payment_method", "rate_type", "contract_length_months"):
        table.take(known)
    for dated in ("contract_end_date", "on_supply_from", "on_supply_to", "annual_cost"):
        table.take(dated)
    table.close()
    return tariff


def _refuse_gas(table: StrictTable) -> None:
    fuel = table.text("fuel_type", "electricity")
    if fuel not in {"electricity", "both"}:
        raise UnsupportedRate(field="fuel_type", problem=f"{fuel!r} is not electricity")


def _rates(table: StrictTable) -> tuple[tuple[EnergyCharge, ...], tuple[EnergyCharge, ...]]:
    periods: dict[str, list[Period]] = {"import": [], "export": []}
    for number, entry in enumerate(table.tables("rates")):
        place = f"rates[{number}]"
        kind = entry.text("rate_type")
        if kind in NOT_REPRESENTED:
            raise UnsupportedRate(field=f"{place}.rate_type", problem=NOT_REPRESENTED[kind])
        if kind not in {"single_rate", "time_of_use_static"}:
            raise UnsupportedRate(field=f"{place}.rate_type", problem=f"{kind!r} is not known")
        fuel = entry.text("fuel")
        direction = entry.choice_or_none("direction", ("import", "export")) or "import"
        rate = entry.decimal("unit_rate") / PENCE_PER_POUND
        window = _window(entry, place)
        for field in (*DATED_FIELDS, "consumption_type"):
            if entry.take(field) is not None:
                raise UnsupportedRate(
                    field=f"{place}.{field}", problem=f"has no meaning for {kind}"
                )
        entry.close()
        if fuel == "electricity":
            windows = () if window == Window() else (window,)
            name = f"rate {number + 1}"
            periods[direction].append(Period(name=name, tiers=(Tier(rate=rate),), windows=windows))
    if not periods["import"] and not periods["export"]:
        raise table.fault("rates", "has no rate for electricity", "give at least one")
    return _charge("energy", periods["import"]), _charge("export", periods["export"])


def _charge(name: str, periods: list[Period]) -> tuple[EnergyCharge, ...]:
    return (EnergyCharge(name=name, periods=tuple(periods)),) if periods else ()


def _window(entry: StrictTable, place: str) -> Window:
    found = {field: entry.take(field) for field in WINDOW_FIELDS}
    low = _minute(found["time_from"], f"{place}.time_from")
    high = _minute(found["time_to"], f"{place}.time_to") or MINUTES_PER_DAY
    return Window(
        months=_range(found["month_from"], found["month_to"], ALL_MONTHS, f"{place}.month_from"),
        days=tuple(
            DAYS[day]
            for day in _range(found["day_from"], found["day_to"], range(7), f"{place}.day_from")
        )
        if found["day_from"] is not None
        else DAY_KINDS,
        from_minute=low,
        to_minute=high,
    )


def _minute(found: Any, place: str) -> int:
    if found is None:
        return 0
    match = re.fullmatch(r"(\d\d):(\d\d)(?::(\d\d)(?:\.0+)?)?Z?", str(found))
    if not match or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3] or 0):
        raise TariffFileError(
            where=place, problem=f"is {found!r}, no whole minute of a day", remedy='write "16:30"'
        )
    return int(match[1]) * 60 + int(match[2])


def _range(first: Any, last: Any, known: Any, place: str) -> tuple[int, ...]:
    """Months or days from the first to the last, both included, over the end of the year."""
    every = list(known)
    if first is None and last is None:
        return tuple(every)
    if first not in every or last not in every or isinstance(first, bool):
        raise TariffFileError(
            where=place,
            problem=f"is {first!r} to {last!r}",
            remedy=f"use {every[0]} to {every[-1]}",
        )
    low, high = every.index(first), every.index(last)
    chosen = every[low : high + 1] if low <= high else every[low:] + every[: high + 1]
    return tuple(sorted(chosen))


def _standing(table: StrictTable) -> tuple[StandingCharge, ...]:
    """Read the standing charges of electricity, which add up.

    Source: OpenTariff's own calculation takes every charge without a band of consumption.
    """
    charges = []
    for number, entry in enumerate(table.tables("standing_charges")):
        amount = entry.decimal("standing_charge")
        fuel = entry.text("fuel")
        bands = {field: entry.take(field) for field in BAND_FIELDS}
        homes = {field: entry.take(field) for field in HOME_FIELDS}
        entry.close()
        if fuel != "electricity":
            continue
        for field, found in bands.items():
            if found is not None:
                raise UnsupportedRate(
                    field=f"standing_charges[{number}].{field}",
                    problem="a charge that depends on how much is used, over a time not said",
                )
        charges.append((amount, any(found is not None for found in homes.values())))
    if len(charges) > 1 and any(for_some_homes for _, for_some_homes in charges):
        raise UnsupportedRate(
            field="standing_charges",
            problem="several bands, and the form does not say which holds for this home",
        )
    return tuple(
        StandingCharge(name="standing charge", amount=amount / PENCE_PER_POUND, per="day")
        for amount, _ in charges
    )


def _remarks(table: StrictTable) -> tuple[str, ...]:
    kind, value = table.take("exit_fee_type"), table.take("exit_fee_value")
    if not value:
        return ()
    return (f"not in the bill: exit fee of {value} ({kind}), whose unit the form does not say",)
