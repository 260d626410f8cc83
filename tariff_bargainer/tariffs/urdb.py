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
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tariff_bargainer.errors import TariffFileError, UnsupportedRate
from tariff_bargainer.tariffs.json_text import parse_json
from tariff_bargainer.tariffs.schedule import ALL_MONTHS, Window
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff import (
    Component,
    EnergyCharge,
    Metering,
    MinimumBill,
    NetBilling,
    NetMetering,
    Per,
    Period,
    StandingCharge,
    Tariff,
    Tier,
    TierBasis,
)
from tariff_bargainer.tariffs.urdb_demand import ratchet_remark, read_demand
from tariff_bargainer.tariffs.urdb_names import with_service_names
from tariff_bargainer.tariffs.urdb_structure import (
    Blocks,
    is_nothing,
    periods_of,
    read_number,
    read_schedule,
    read_structure,
    windows_of,
)

ENERGY_UNITS: dict[str, TierBasis] = {
    "kwh": "month",
    "kwh daily": "month-daily",
    "kwh/kw": "month-per-kw",
    "kwh/kw daily": "month-per-kw-daily",
}
CHARGE_UNITS: dict[str, Per] = {"$/day": "average-day", "$/month": "month", "$/year": "year"}
TWO_METERS = "buy all sell all"
DG_RULES: dict[str, tuple[Metering, NetBilling]] = {
    "net metering": ("net", NetBilling()),
    "net billing instantaneous": ("net-billing", NetBilling()),
    "net billing hourly": ("net-billing", NetBilling(carry="next-month")),
    TWO_METERS: ("net-billing", NetBilling()),
}
PRICING_WORDS = (
    "rate", "charge", "adjust", "surcharge", "demand", "energy", "fixed", "lookback", "ratchet",
    "coincident", "credit", "tax", "min", "discount", "rider", "fee", "price", "cost", "sell",
    "levy", "toll", "penalt", "rebate", "bill", "incentive",
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


def parse_urdb(
    text: str,
    *,
    timezone: str,
    system_peaks: Sequence[str] = (),
    power_factor: Decimal | None = None,
) -> Tariff:
    """Read one URDB rate from its JSON text.

    Args:
        text: The rate object, or the service's answer `{"items": [rate]}` with one rate; also as
            one JSON string, which is how PySAM's own example saves the answer.
        timezone: IANA zone of the utility's clock, which URDB does not say.
        system_peaks: Instants (ISO 8601, with offset) at which the utility's system peaked, which
            URDB does not say either; a rate with coincident demand needs them.
        power_factor: Active by apparent power of the load [1]; a rate per kVA or per kvar needs it.

    Raises:
        TariffFileError: The text is not such JSON.
        UnsupportedRate: A field cannot be represented without changing the rate.
    """
    parsed = parse_json(text)
    if isinstance(parsed, str):
        parsed = parse_json(parsed)
    return tariff_from_urdb(
        _one_rate(parsed), timezone=timezone, system_peaks=system_peaks, power_factor=power_factor
    )


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


def tariff_from_urdb(
    rate: Any,
    *,
    timezone: str,
    system_peaks: Sequence[str] = (),
    power_factor: Decimal | None = None,
) -> Tariff:
    """Build a tariff from one parsed URDB rate.

    Args:
        rate: The parsed rate object; it is not changed.
        timezone: IANA zone of the utility's clock.
        system_peaks: As in `parse_urdb`.
        power_factor: As in `parse_urdb`.

    Raises:
        TariffFileError: A value has a wrong type or shape.
        UnsupportedRate: A field cannot be represented without changing the rate.
    """
    table = StrictTable(with_service_names(rate), "")
    metering, net_billing, covers = _metering(table)
    ambiguous = (*ratchet_remark(table), *_reactive_remark(table))
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
        demand=read_demand(table, system_peaks=bool(system_peaks), power_factor=power_factor),
        standing=_standing(table),
        minimum=_minimum(table, covers),
        metering=metering,
        net_billing=net_billing,
        net_metering=NetMetering(carry_by="time-of-day"),
        system_peaks=tuple(system_peaks),
        effective_from=first_day,
        effective_to=end_day,
        remarks=(*_remarks(table), *ambiguous),
    )
    _refuse_what_is_left(table)
    return tariff


def _words(table: StrictTable, key: str) -> str:
    found = table.take(key)
    return found.strip()[:200] if isinstance(found, str) else ""


def _source(table: StrictTable) -> str:
    label, uri = _words(table, "label"), _words(table, "uri")
    return f"OpenEI URDB {uri or label}".strip()


def _metering(table: StrictTable) -> tuple[Metering, NetBilling, tuple[Component, ...]]:
    """Find the metering rule, and what counts towards a minimum bill under it.

    What is sold through a meter of its own does not make the bill smaller that must reach the
    minimum.
    """
    rules = table.take("dgrules")
    net = table.take("usenetmetering")
    covers = MinimumBill(amount=Decimal(0)).covers
    if not rules:
        return ("none" if net is False else "net"), NetBilling(), covers
    name = str(rules).strip().lower()
    known = DG_RULES.get(name)
    if known is None:
        raise UnsupportedRate(field="dgrules", problem=f"{rules!r} is not a known metering rule")
    if name == TWO_METERS:
        covers = tuple(part for part in covers if part != "export_credit")
    return (*known, covers)


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


def _energy(table: StrictTable) -> tuple[tuple[EnergyCharge, ...], tuple[EnergyCharge, ...]]:
    names = dict.fromkeys(ENERGY_UNITS, "")
    structure = read_structure(table, "energyratestructure", names)
    weekday = read_schedule(table, "energyweekdayschedule", len(structure))
    weekend = read_schedule(table, "energyweekendschedule", len(structure))
    if not structure:
        return (), ()
    used = {period for row in (*weekday, *weekend) for period in row}
    basis = _one_basis([blocks for number, blocks in enumerate(structure) if number in used])
    windows = windows_of(weekday, weekend)
    buy = periods_of(
        "energyratestructure", windows, [_counted(blocks, basis) for blocks in structure]
    )
    energy = EnergyCharge(name="energy", periods=buy, tier_basis=basis)
    if not any(sell for blocks in structure for _, sell, _ in blocks):
        return (energy,), ()
    earned = [
        [
            replace(tier, rate=sell or Decimal(0))
            for tier, (_, sell, _) in zip(_counted(blocks, basis), blocks, strict=True)
        ]
        for blocks in structure
    ]
    export = EnergyCharge(
        name="export", periods=periods_of("energyratestructure", windows, earned), tier_basis=basis
    )
    return (energy,), (export,)


def _one_basis(structure: Sequence[Blocks]) -> TierBasis:
    """Find what the charge counts; a block that counts something else keeps its own basis.

    Ends in kWh beside ends in kWh per kW follow URDB's own words: the largest use of the block, in
    its unit. They are not taken from the SAM engine, which takes such a rate but prices only part
    of the energy. A bill refuses the months in which such ends come to lie in another order.
    """
    units = [unit for blocks in structure for tier, _, unit in blocks if tier.upto is not None]
    return ENERGY_UNITS[min(units)] if units else "month"


def _counted(blocks: Blocks, basis: TierBasis) -> list[Tier]:
    """Give a block its own basis where it counts something other than the charge."""
    return [
        tier
        if tier.upto is None or ENERGY_UNITS[unit] == basis
        else replace(tier, basis=ENERGY_UNITS[unit])
        for tier, _, unit in blocks
    ]


def _fuel_adjustment(table: StrictTable) -> tuple[EnergyCharge, ...]:
    rates = table.each("fueladjustmentsmonthly", read_number, "12 prices per kWh")
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


def _minimum(table: StrictTable, covers: tuple[Component, ...]) -> tuple[MinimumBill, ...]:
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
    return tuple(MinimumBill(amount=a, per=p, covers=covers) for a, p in amounts)


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
            remarks.append(f"not in the bill: {key}: {json.dumps(found, default=str)[:400]}")
    extra = table.optional_decimal("fixedchargeeaaddl")
    if extra:
        remarks.append(
            f"not in the bill: fixedchargeeaaddl: {extra} for each meter after the first"
        )
    return tuple(remarks)


def _reactive_remark(table: StrictTable) -> tuple[str, ...]:
    remark = (
        "every kvar of a month's peak is billed: demandreactivepowercharge does not say how much "
        "reactive power is free"
    )
    return () if is_nothing(table.look("demandreactivepowercharge")) else (remark,)


def _refuse_what_is_left(table: StrictTable) -> None:
    for key in sorted(table.keys()):
        name = key.lower()
        words = name in NOT_PRICES or name.endswith(WORDS_ONLY)
        prices = not words and any(word in name for word in PRICING_WORDS)
        if prices and not is_nothing(table.take(key)):
            raise UnsupportedRate(field=key, problem="is not a field this reader knows")
