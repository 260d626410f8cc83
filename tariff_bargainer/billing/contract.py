"""A bill over a price change: versions of a tariff, each from its effective day.

The time is cut at the local midnights on which versions change. Each part is billed under its own
version; standing charges, monthly blocks, thresholds, demand and minimum bills shrink with the part of
the month, and the parts of a month are added up. Blocks of a quarter or a year go on counting,
ratchets look back, and the first months of a discount run from the beginning of the contract.
"""

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal

from tariff_bargainer.billing.bill import Amounts, Bill, Earlier, MonthBill, bill
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import InsufficientProfile, InvalidContract, UnsupportedRate
from tariff_bargainer.profiles.calendar import zone
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import Metering, Tariff

Part = tuple[int, int, Tariff]


def bill_versions(
    profile: LoadProfile,
    versions: Sequence[Tariff],
    *,
    metering: Metering | None = None,
    registers: Mapping[str, LoadProfile | None] | None = None,
    index: Mapping[str, IndexSeries] | None = None,
    conditions: AbstractSet[str] = frozenset(),
) -> Bill:
    """Price a load profile under the versions of one contract, each while it holds.

    Args:
        profile: Import and export per interval [Wh], no gaps.
        versions: Tariffs of one currency; each holds from its `effective_from` until the next
            version begins or its own `effective_to`. The first may lack a beginning.
        metering: As in `bill`.
        registers: As in `bill`.
        index: As in `bill`.
        conditions: As in `bill`.

    Raises:
        InvalidContract: Versions overlap, differ in currency, or leave part of the time open.
        UnsupportedRate: A surplus would have to be carried over the change.
    """
    parts = _parts(profile, versions)
    if len(parts) == 1 and len(versions) == 1:
        return bill(profile, versions[0], metering=metering, registers=registers, index=index,
                    conditions=conditions)  # fmt: skip
    bills = []
    start = _start(profile, versions)
    for low, high, version in parts:
        own = version.metering if metering is None else metering
        if own == "net" and profile.export_wh is not None and len(parts) > 1:
            raise UnsupportedRate(
                field="effective_from",
                problem="a net-metered surplus cannot be carried over a change of tariff",
            )
        if own == "net-billing" and version.net_billing.carry == "next-month" and len(parts) > 1:
            raise UnsupportedRate(
                field="net_billing.carry",
                problem="a credit cannot be carried over a change of tariff",
            )
        bills.append(
            bill(
                _cut(profile, low, high),
                version,
                metering=metering,
                registers={
                    name: None if other is None else _cut(other, low, high)
                    for name, other in (registers or {}).items()
                },
                index=index,
                conditions=conditions,
                prorate=True,
                earlier=Earlier(
                    start=start,
                    profile=_cut(profile, 0, low) if low else None,
                    registers={
                        name: _cut(other, 0, low) if other is not None and low else None
                        for name, other in (registers or {}).items()
                    },
                ),
            )
        )
    return _joined(bills)


def _start(profile: LoadProfile, versions: Sequence[Tariff]) -> date:
    """Day on which a contract begins: of its first version, or else of the load."""
    days = [version.effective_from for version in versions]
    known = [day for day in days if day is not None]
    if len(known) == len(days):
        return min(known)
    return profile.start.astimezone(zone(versions[0].timezone)).date()


def _parts(profile: LoadProfile, versions: Sequence[Tariff]) -> list[Part]:
    """Find the intervals of each version, and refuse gaps and overlaps."""
    if not versions:
        raise InvalidContract("a contract needs one tariff or more; give a tariff")
    if len({version.currency for version in versions}) > 1:
        raise InvalidContract("versions of a contract differ in currency; give one currency")
    ordered = sorted(versions, key=lambda version: version.effective_from or date.min)
    starts = [version.effective_from for version in ordered]
    if None in starts[1:] or len(set(starts)) < len(starts):
        raise InvalidContract(
            "versions of a contract begin on the same day, or without a day; give every version "
            "but the first its own effective_from"
        )
    parts: list[Part] = []
    for position, version in enumerate(ordered):
        low = (
            0
            if version.effective_from is None or len(ordered) == 1
            else _interval(profile, version, version.effective_from)
        )
        high = len(profile)
        if position + 1 < len(ordered):
            following = ordered[position + 1]
            high = _interval(profile, following, following.effective_from or date.max)
        if version.effective_to is not None and len(ordered) > 1:
            end = _interval(profile, version, version.effective_to)
            if end < high and high > 0:
                raise InvalidContract(
                    f"{version.name} ends on {version.effective_to}, and no version follows it; "
                    "give the version that does"
                )
        if high > low:
            parts.append((low, high, version))
    if not parts or parts[0][0] > 0:
        raise InvalidContract(
            f"no version holds on {profile.start.date()}; give the version that held then"
        )
    return parts


def _interval(profile: LoadProfile, version: Tariff, day: date) -> int:
    """Position of the interval that begins at a local midnight, within the profile."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone(version.timezone))
    offset_s = (local.astimezone(UTC) - profile.start).total_seconds()
    position = min(max(offset_s / profile.step_s, 0), len(profile))
    if position != int(position):
        raise InsufficientProfile(
            reasons=(f"prices change at midnight of {day}, inside an interval; give finer ones",)
        )
    return int(position)


def _cut(profile: LoadProfile, low: int, high: int) -> LoadProfile:
    start = datetime.fromtimestamp(profile.start.timestamp() + low * profile.step_s, tz=UTC)
    return LoadProfile(
        start=start,
        step_s=profile.step_s,
        import_wh=profile.import_wh[low:high],
        export_wh=None if profile.export_wh is None else profile.export_wh[low:high],
        missing=None if profile.missing is None else profile.missing[low:high],
    )


def _joined(bills: Sequence[Bill]) -> Bill:
    """Add the parts of each month, and the months."""
    months: dict[str, MonthBill] = {}
    for part in bills:
        for month in part.monthly:
            known = months.get(month.month)
            months[month.month] = (
                month
                if known is None
                else MonthBill(
                    month=month.month,
                    import_kwh=known.import_kwh + month.import_kwh,
                    export_kwh=known.export_kwh + month.export_kwh,
                    amounts=_sum([known.amounts, month.amounts]),
                )
            )
    monthly = tuple(months[name] for name in sorted(months))
    digest = hashlib.sha256("".join(part.tariff_hash for part in bills).encode())
    return Bill(
        currency=bills[0].currency,
        tariff_hash=digest.hexdigest(),
        annual=_sum([month.amounts for month in monthly]),
        monthly=monthly,
        notes=tuple(dict.fromkeys(note for part in bills for note in part.notes)),
    )


def _sum(amounts: Sequence[Amounts]) -> Amounts:
    names = [field.name for field in fields(Amounts)]
    return Amounts(
        **{name: sum((getattr(each, name) for each in amounts), Decimal(0)) for name in names}
    )
