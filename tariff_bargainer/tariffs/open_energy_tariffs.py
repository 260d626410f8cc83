"""Reading a plan of the open-energy-tariffs collection, schema version 1.

Source: `schema/v1/tariff.schema.json` of that project. Bands are painted on the local week by
intervals; fields the schema reserves (`tiers`, `demand`) are priced when their meaning is plain
and refused otherwise.
"""

from collections.abc import Mapping
from decimal import Decimal

from tariff_bargainer.errors import UnsupportedRate
from tariff_bargainer.profiles.calendar import DAY_KINDS, MINUTES_PER_DAY, WEEKDAYS, WEEKEND
from tariff_bargainer.tariffs.foreign_fields import told_by
from tariff_bargainer.tariffs.json_text import parse_json
from tariff_bargainer.tariffs.schedule import ALL_MONTHS, Window
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff import EnergyCharge, Period, StandingCharge, Tariff, Tier

WEEK = DAY_KINDS[:7]
DAY_SETS = {"all": DAY_KINDS, "weekday": WEEKDAYS, "weekend": WEEKEND}
Seasons = Mapping[str, tuple[int, ...]]


def parse_open_energy_tariffs(text: str, *, timezone: str | None = None) -> Tariff:
    """Read one plan from its JSON text.

    Args:
        text: An object with `meta` and `tariff`.
        timezone: IANA zone; None takes `meta.timezone`.

    Raises:
        TariffFileError: The text is not such JSON.
        UnsupportedRate: A part cannot be represented.
    """
    top = StrictTable(parse_json(text), "")
    meta = StrictTable(top.take("meta"), "meta")
    body = StrictTable(top.take("tariff"), "tariff")
    unit = meta.text("unit", "kWh")
    if unit != "kWh":
        raise UnsupportedRate(field="meta.unit", problem=f"{unit!r} is not kWh")
    seasons = _seasons(body)
    imported = _structure(body, "import", seasons)
    export = _structure(body, "export", seasons) if "export" in body else None
    if "demand" in body and body.items("demand"):
        raise UnsupportedRate(
            field="tariff.demand", problem="the schema does not say the averaging time"
        )
    with told_by({"energy[0]": "tariff.import.schedule", "export[0]": "tariff.export.schedule"}):
        tariff = Tariff(
            name=meta.text("plan"),
            currency=meta.text("currency"),
            timezone=timezone or meta.text("timezone"),
            supplier=meta.text("provider", ""),
            source=_source(meta),
            energy=(imported, *_controlled_loads(body)),
            export=() if export is None else (export,),
            standing=_supply(body),
            metering="none" if export is None else "net-billing",
            effective_from=body.optional_day("validFrom"),
        )
    body.take("kind")
    body.close()
    top.close()
    return tariff


def _source(meta: StrictTable) -> str:
    entry, link = meta.take("id"), meta.take("sourceUrl")
    updated, licence = meta.take("updated"), meta.take("license")
    return f"open-energy-tariffs {entry} ({link}), {updated}, {licence}"[:400]


def _seasons(body: StrictTable) -> Seasons:
    """Read season windows; months are counted from 0 and may run over new year."""
    seasons = {}
    for entry in body.tables("seasons"):
        name = entry.text("id")
        first, last = entry.whole("from"), entry.whole("to")
        entry.take("name")
        if not (0 <= first <= 11 and 0 <= last <= 11):
            raise entry.fault("from", f"is {first} to {last}", "use months 0 to 11")
        entry.close()
        span = range(first, last + 1) if first <= last else [*range(first, 12), *range(last + 1)]
        seasons[name] = tuple(sorted(month + 1 for month in span))
    return seasons


def _structure(body: StrictTable, key: str, seasons: Seasons) -> EnergyCharge:
    table = StrictTable(body.take(key), f"tariff.{key}")
    flat = table.optional_decimal("flatRate")
    windows = _painted(table, f"tariff.{key}")
    bands = list(table.tables("bands"))
    name = "energy" if key == "import" else "export"
    if flat is not None and not windows:
        if bands:
            raise UnsupportedRate(field=f"tariff.{key}.bands", problem="stand beside a flat rate")
        table.close()
        return EnergyCharge(name=name, periods=(Period(name="all", tiers=(Tier(rate=flat),)),))
    if flat is not None:
        raise UnsupportedRate(field=f"tariff.{key}.flatRate", problem="stands beside a schedule")
    periods: list[Period] = []
    for band in bands:
        periods += _band(band, windows, seasons)
    if windows:
        raise UnsupportedRate(
            field=f"tariff.{key}.schedule", problem=f"paints unknown band {min(windows)!r}"
        )
    table.close()
    return EnergyCharge(name=name, periods=tuple(periods))


def _painted(table: StrictTable, place: str) -> dict[str, list[Window]]:
    """Collect the windows of each band."""
    windows: dict[str, list[Window]] = {}
    for entry in table.tables("schedule"):
        band = entry.text("band")
        low, high = _minute(entry, "from"), _minute(entry, "to")
        days = _days(entry)
        entry.close()
        if low == high:
            low, high = 0, MINUTES_PER_DAY
        try:
            window = Window(days=days, from_minute=low % MINUTES_PER_DAY, to_minute=high or 1440)
        except ValueError as wrong:
            raise UnsupportedRate(field=f"{place}.schedule", problem=str(wrong)) from None
        windows.setdefault(band, []).append(window)
    return windows


def _minute(entry: StrictTable, key: str) -> int:
    found = entry.text(key)
    hour, _, minute = found.partition(":")
    if not (hour.isdigit() and minute.isdigit()) or int(hour) * 60 + int(minute) > MINUTES_PER_DAY:
        raise entry.fault(key, f"is {found!r}", 'write local time as "16:30"')
    return int(hour) * 60 + int(minute)


def _days(entry: StrictTable) -> tuple[str, ...]:
    found = entry.take("days")
    if isinstance(found, str) and found in DAY_SETS:
        return DAY_SETS[found]
    if isinstance(found, list) and found and set(found) <= set(WEEK):
        chosen = tuple(kind for kind in WEEK if kind in found)
        return DAY_KINDS if chosen == WEEK else chosen
    raise entry.fault("days", f"is {found!r}", f"write all, weekday, weekend or some of {WEEK}")


def _band(band: StrictTable, windows: dict[str, list[Window]], seasons: Seasons) -> list[Period]:
    """Make a band's periods: one for its own rate, one for each season with another rate."""
    name, rate = band.text("id"), band.decimal("rate")
    own = _season_rates(band, seasons)
    for words in ("name", "color", "role"):
        band.take(words)
    if band.items("tiers"):
        raise UnsupportedRate(
            field=f"{band.path('tiers')}", problem="the schema does not say what time tiers count"
        )
    band.close()
    painted = windows.pop(name, [])
    if not painted:
        return []
    seasonal = {month for season in own for month in seasons[season]}
    spans: list[tuple[str, Decimal, tuple[int, ...]]] = [
        (f"{name} {season}", price, seasons[season]) for season, price in own.items()
    ]
    rest = tuple(month for month in ALL_MONTHS if month not in seasonal)
    if rest:
        spans.append((name, rate, rest))
    return [
        Period(
            name=label,
            tiers=(Tier(rate=price),),
            windows=tuple(
                Window(months=months, days=w.days, from_minute=w.from_minute, to_minute=w.to_minute)
                for w in painted
            ),
        )
        for label, price, months in spans
    ]


def _season_rates(band: StrictTable, seasons: Seasons) -> dict[str, Decimal]:
    found = band.take("seasonRates")
    if found is None:
        return {}
    table = StrictTable(found, band.path("seasonRates"))
    rates = {}
    for season in sorted(table.keys()):
        if season not in seasons:
            raise UnsupportedRate(field=table.path(season), problem="is not a season of this plan")
        rates[season] = table.decimal(season)
    return rates


def _controlled_loads(body: StrictTable) -> tuple[EnergyCharge, ...]:
    """Read separately metered circuits; each needs a register of its own to be billed."""
    charges = []
    for entry in body.tables("controlledLoad"):
        name, rate = entry.text("id"), entry.decimal("rate")
        entry.take("name")
        # When the circuit is switched on changes what is metered, not what a kWh costs.
        entry.take("schedule")
        entry.close()
        periods = (Period(name="all", tiers=(Tier(rate=rate),)),)
        charges.append(EnergyCharge(name=name, periods=periods, register=name))
    return tuple(charges)


def _supply(body: StrictTable) -> tuple[StandingCharge, ...]:
    found = body.take("supply")
    if found is None:
        return ()
    table = StrictTable(found, "tariff.supply")
    daily = table.decimal("daily")
    table.close()
    return (StandingCharge(name="supply", amount=daily, per="day"),)
