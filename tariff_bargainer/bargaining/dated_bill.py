"""A bill over a span in which a tariff changed: each part under the version that held."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from tariff_bargainer.bargaining.minor_units import to_minor
from tariff_bargainer.billing.bill import bill
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import MismatchedHomes
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import Tariff


def bill_by_dates_minor(
    profile: LoadProfile,
    versions: Sequence[Tariff],
    *,
    index: Mapping[str, IndexSeries] | None = None,
) -> int:
    """Bill a profile under the version of a tariff that held on each day [minor units].

    The profile is cut at local midnight of each effective date; each part is billed, with its
    standing charges shared out over its days, and rounded once.

    Args:
        profile: The use, without gaps.
        versions: Versions by effective dates; a single one holds at all times.
        index: Price series by the name that tariffs use.

    Raises:
        MismatchedHomes: A day has no version, or two.
    """
    if len(versions) == 1:
        return _bill_minor(profile, versions[0], index)
    total_minor, covered = 0, 0
    for version in versions:
        first = _interval_of(profile, version, version.effective_from, otherwise=0)
        last = _interval_of(profile, version, version.effective_to, otherwise=len(profile))
        if first < last:
            total_minor += _bill_minor(_cut(profile, first, last), version, index)
            covered += last - first
    if covered != len(profile) or _overlap(versions):
        raise MismatchedHomes(
            home="",
            problem=f"the versions of {versions[0].name!r} leave days uncovered, or overlap: give "
            "each an effective_from and an effective_to that meet",
        )
    return total_minor


def _interval_of(profile: LoadProfile, tariff: Tariff, day: date | None, *, otherwise: int) -> int:
    """Return the first interval on or after a local day, within the profile."""
    if day is None:
        return otherwise
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(tariff.timezone))
    seconds = (midnight.astimezone(UTC) - profile.start).total_seconds()
    return min(max(0, -int(-seconds // profile.step_s)), len(profile))


def _cut(profile: LoadProfile, first: int, last: int) -> LoadProfile:
    export, missing = profile.export_wh, profile.missing
    return LoadProfile(
        start=profile.start + timedelta(seconds=profile.step_s * first),
        step_s=profile.step_s,
        import_wh=profile.import_wh[first:last],
        export_wh=None if export is None else export[first:last],
        missing=None if missing is None else missing[first:last],
    )


def _overlap(versions: Sequence[Tariff]) -> bool:
    spans = sorted(
        (version.effective_from or date.min, version.effective_to or date.max)
        for version in versions
    )
    return any(earlier[1] > later[0] for earlier, later in pairwise(spans))


def _bill_minor(
    profile: LoadProfile, tariff: Tariff, index: Mapping[str, IndexSeries] | None
) -> int:
    return to_minor(bill(profile, tariff, index=index).annual.total, tariff.currency)
