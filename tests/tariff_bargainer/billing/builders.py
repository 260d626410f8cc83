"""Small profiles and tariffs for tests, with round numbers that can be checked by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import Tariff
from tariff_bargainer.tariffs.tariff_file import parse_tariff

HEAD = 'format = "commonwatt-tariff/1"\nname = "test"\ncurrency = "EUR"\ntimezone = "{zone}"\n'


def tariff(body: str, zone: str = "Etc/UTC") -> Tariff:
    """Parse a tariff of which only the rules matter."""
    return parse_tariff(HEAD.format(zone=zone) + body)


def flat_profile(
    start: str,
    days: float,
    wh_per_interval: int = 1000,
    step_s: int = 3600,
    export_wh: int | None = None,
) -> LoadProfile:
    """Make a constant load from an ISO 8601 start with offset."""
    n_intervals = int(days * 86_400) // step_s
    return LoadProfile(
        start=datetime.fromisoformat(start),
        step_s=step_s,
        import_wh=np.full(n_intervals, wh_per_interval),
        export_wh=None if export_wh is None else np.full(n_intervals, export_wh),
    )


def with_values(profile: LoadProfile, at: dict[str, float]) -> LoadProfile:
    """Replace the import of single intervals, named by their ISO 8601 start."""
    import_wh = profile.import_wh.astype(np.float64)
    for start, wh in at.items():
        offset = datetime.fromisoformat(start) - profile.start
        import_wh[int(offset / timedelta(seconds=profile.step_s))] = wh
    return LoadProfile(start=profile.start, step_s=profile.step_s, import_wh=import_wh)


def utc(*parts: int) -> datetime:
    """Shorten an aware instant."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def amounts(bill: Any, month: int = 0) -> dict[str, Decimal]:
    """Give the components of one month that are not zero."""
    found = bill.monthly[month].amounts
    names = ("energy", "demand", "fixed", "minimum", "export_credit", "discount", "tax", "total")
    return {name: getattr(found, name) for name in names if getattr(found, name)}
