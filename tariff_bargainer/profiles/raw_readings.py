"""From readings as meters and portals give them to one regular profile, with every kWh accounted for.

Rows may come unsorted, twice, with holes, with the times of a wall clock or labelled by the end of
their interval. What can be put right without guessing is, and the account says how much energy each
step left out; nothing is ever added. What would need a guess comes back as a reason, as a value.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.profiles.calendar import zone
from tariff_bargainer.profiles.intervals import INTERVALS_MAX, LoadProfile
from tariff_bargainer.profiles.sufficiency import Fault, Insufficiency

UNITS = ("wh", "kwh", "mwh", "w", "kw")
STEP_SHARE_MIN = 0.5
"""Least share of rows that must lie one step apart for that step to be the meter's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingsAccount:
    """Where the energy of the rows went: given = import - export + repeated + conflicting.

    Attributes:
        rows: Rows given.
        given_wh: Sum of all numbers given [Wh], export negative.
        import_wh: Sum of the profile's import [Wh].
        export_wh: Sum of the profile's export [Wh]; 0 unless negative readings count as export.
        repeated_rows: Rows that say again what another row says; one of each is kept.
        repeated_wh: Their energy [Wh].
        conflicting_rows: Rows for one interval that contradict each other; none of them is kept.
        conflicting_wh: Their energy [Wh].
        missing: Intervals of the profile without a reading.
    """

    rows: int
    given_wh: float
    import_wh: float
    export_wh: float
    repeated_rows: int
    repeated_wh: float
    conflicting_rows: int
    conflicting_wh: float
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TidyReadings:
    """A profile and its account, or the reasons why there is none.

    Attributes:
        profile: The profile; None when there are reasons.
        account: Where the energy went; None when there are reasons.
        reasons: What would need a guess.
    """

    profile: LoadProfile | None
    account: ReadingsAccount | None
    reasons: tuple[Insufficiency, ...]


class _Reason(Exception):
    """Ends the tidying at the first thing that would need a guess."""

    def __init__(
        self, fault: Fault, text: str, *, intervals: int = 0, first: datetime | None = None
    ) -> None:
        self.fault, self.text, self.intervals, self.first = fault, text, intervals, first
        super().__init__(text)


def tidy_readings(
    home: str,
    readings: "pd.Series[float]",
    *,
    unit: str,
    timezone: str | None = None,
    labelled: str = "start",
    net: bool = False,
) -> TidyReadings:
    """Bring readings into one regular profile in UTC, and account for every kWh.

    Args:
        home: Name used in the reasons.
        readings: One number per row, indexed by time. Energy per interval, or mean power.
        unit: `wh`, `kwh`, `mwh`, or for mean power `w`, `kw`.
        timezone: Zone of the wall clock that times without an offset were read from: an IANA name,
            or a fixed offset such as `UTC+01:00` for meters that keep winter time.
        labelled: Whether a time is the `start` or the `end` of its interval.
        net: Whether a negative reading is export; otherwise one is a reason.

    Returns:
        The profile with missing intervals as NaN, or the first reason why there can be none.

    Raises:
        InvalidProfile: `readings` is no Series, or `unit`, `timezone` or `labelled` is not known.
    """
    if not isinstance(readings, pd.Series):
        raise InvalidProfile("give the readings as one Series: frame['column']")
    if unit not in UNITS:
        raise InvalidProfile(f"unit {unit!r} is not known; use one of {', '.join(UNITS)}")
    if labelled not in ("start", "end"):
        raise InvalidProfile(f"labelled is {labelled!r}; give 'start' or 'end'")
    try:
        profile, account = _tidy(readings, unit, timezone, labelled, net)
    except _Reason as reason:
        told = Insufficiency(
            home=home,
            fault=reason.fault,
            text=f"{home}: {reason.text}",
            intervals=reason.intervals,
            first=reason.first,
        )
        return TidyReadings(profile=None, account=None, reasons=(told,))
    return TidyReadings(profile=profile, account=account, reasons=())


def _tidy(
    readings: "pd.Series[float]", unit: str, timezone: str | None, labelled: str, net: bool
) -> tuple[LoadProfile, ReadingsAccount]:
    numbers = _numbers(readings)
    instants_s = _instants(readings.index, timezone)
    step_s = _step(np.unique(instants_s))
    if labelled == "end":
        instants_s = instants_s - step_s
    energy = numbers * _factor(unit, step_s)
    first_s = int(instants_s.min())
    offset = instants_s - first_s
    if (offset % step_s).any():
        at = int((offset % step_s > 0).argmax())
        raise _Reason(
            Fault.IRREGULAR,
            f"{_text(instants_s[at])} does not fit the step of {step_s} s from {_text(first_s)}; "
            "round the times, or give one step a file",
            intervals=int((offset % step_s > 0).sum()),
            first=_time(instants_s[at]),
        )
    count = int(offset.max()) // step_s + 1
    if count > INTERVALS_MAX:
        raise _Reason(
            Fault.IRREGULAR,
            f"{count} intervals from {_text(first_s)} to {_text(instants_s.max())}; a profile has "
            f"at most {INTERVALS_MAX}: check the years",
        )
    kept, repeated, conflicting = _one_each(energy, offset // step_s)
    series = np.full(count, np.nan)
    series[(offset // step_s)[kept]] = energy[kept]
    if (series < 0).any() and not net:
        at = int((series < 0).argmax())
        raise _Reason(
            Fault.NEGATIVE,
            f"{int((series < 0).sum())} readings are below zero, first at "
            f"{_text(first_s + at * step_s)}; if they are export, read them with net, if not, find "
            "out what they are",
            intervals=int((series < 0).sum()),
            first=_time(first_s + at * step_s),
        )
    profile = LoadProfile(
        start=_time(first_s),
        step_s=step_s,
        import_wh=np.maximum(series, 0.0),
        export_wh=np.maximum(0.0 - series, 0.0) if net else None,
    )
    return profile, ReadingsAccount(
        rows=len(numbers),
        given_wh=float(np.nansum(energy)),
        import_wh=float(np.nansum(np.maximum(series, 0.0))),
        export_wh=float(np.nansum(np.maximum(-series, 0.0))),
        repeated_rows=int(repeated.sum()),
        repeated_wh=float(np.nansum(energy[repeated])),
        conflicting_rows=int(conflicting.sum()),
        conflicting_wh=float(np.nansum(energy[conflicting])),
        missing=int(np.isnan(series).sum()),
    )


def _numbers(readings: "pd.Series[float]") -> NDArray[np.float64]:
    if len(readings) < 2:
        raise _Reason(
            Fault.TOO_SHORT, f"{len(readings)} rows do not tell the step; give two or more"
        )
    if pd.api.types.is_bool_dtype(readings.dtype):
        raise _Reason(Fault.NOT_NUMBERS, "the readings are true or false; give energy or power")
    try:
        numbers = np.array(readings.to_numpy(np.float64, na_value=np.nan), dtype=np.float64)
    except (ValueError, TypeError):
        wrong = pd.to_numeric(readings, errors="coerce").isna() & readings.notna()
        example = readings[wrong].iloc[0] if wrong.any() else readings.iloc[0]
        raise _Reason(
            Fault.NOT_NUMBERS,
            f"{str(example)[:40]!r} is no number; check the decimal sign and marks for gaps",
            intervals=int(wrong.sum()),
        ) from None
    if np.isinf(numbers).any():
        raise _Reason(Fault.NOT_NUMBERS, "a reading is infinite; leave it empty when it is missing")
    return numbers


def _instants(index: pd.Index, timezone: str | None) -> NDArray[np.int64]:
    """Return the rows' times [s since 1970]."""
    if not isinstance(index, pd.DatetimeIndex):
        raise _Reason(Fault.CLOCK, "the index holds no times; parse it with pandas.to_datetime")
    without = np.asarray(index.isna())
    if without.any():
        raise _Reason(
            Fault.CLOCK, f"{int(without.sum())} rows have no time; leave them out or mend them"
        )
    if index.tz is None:
        if timezone is None:
            raise _Reason(
                Fault.NO_ZONE,
                f"times such as {index[0].isoformat()} have no offset; say which zone's clock the "
                "meter shows",
                intervals=len(index),
            )
        index = _localized(index, timezone)
    micro: NDArray[np.int64] = index.tz_convert("UTC").as_unit("us").asi8
    if (micro % 1_000_000).any():
        raise _Reason(Fault.IRREGULAR, "a time has a fraction of a second; round the times")
    return micro // 1_000_000


def _localized(index: pd.DatetimeIndex, timezone: str) -> pd.DatetimeIndex:
    """Read wall-clock times; the order of rows tells which of a repeated hour is meant."""
    known = zone(timezone)
    rises = index.is_monotonic_increasing or _falls_back_only(index)
    try:
        return index.tz_localize(
            known, ambiguous="infer" if rises else "raise", nonexistent="raise"
        )
    except Exception as fault:  # noqa: BLE001 - pandas raises types of pytz or its own by version
        time = str(fault).split(" as there are no repeated times")[0]
        time = time.replace("Cannot infer dst time from ", "").split(", try")[0]
        raise _Reason(
            Fault.CLOCK,
            f"the wall clock of {timezone} does not tell one instant for {time[:60]}; if the meter "
            "keeps winter time all year, give a fixed offset such as UTC+01:00, if not, times with "
            "offsets",
        ) from None


def _falls_back_only(index: pd.DatetimeIndex) -> bool:
    """Whether rows run backwards by at most an hour, as a clock does in autumn."""
    steps = np.diff(index.as_unit("us").asi8)
    return bool((steps >= -3_600_000_000).all() and (steps < 0).sum() <= len(index) // 4000 + 1)


def _step(instants_s: NDArray[np.int64]) -> int:
    steps, counts = np.unique(np.diff(instants_s), return_counts=True)
    if not steps.size:
        raise _Reason(Fault.IRREGULAR, "all rows have the same time; give each its own")
    step_s = int(steps[counts.argmax()])
    if counts.max() < STEP_SHARE_MIN * counts.sum():
        raise _Reason(
            Fault.IRREGULAR,
            f"the rows have no usual step, {step_s} s is only the most frequent; these may be "
            "readings of events, which have to be turned into energy per interval first",
            intervals=int(counts.sum()),
        )
    if 86_400 % step_s:
        raise _Reason(
            Fault.IRREGULAR,
            f"the step of {step_s} s does not divide a day; bring the readings to 5, 10, 15, 30 or "
            "60 minutes first",
            intervals=int(counts.sum()),
        )
    return step_s


def _factor(unit: str, step_s: int) -> float:
    hours = step_s / 3600
    return {"wh": 1.0, "kwh": 1e3, "mwh": 1e6, "w": hours, "kw": 1e3 * hours}[unit]


def _one_each(
    energy: NDArray[np.float64], place: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell rows to keep, rows that repeat a kept one, and rows that contradict each other."""
    has_number = ~np.isnan(energy)
    rows = pd.DataFrame({"place": place, "wh": energy})[has_number]
    repeats = rows.duplicated()
    conflicts = rows[~repeats].duplicated("place", keep=False)
    contradicted = rows["place"].isin(rows.loc[conflicts[conflicts].index, "place"])
    repeated = np.zeros(energy.size, dtype=np.bool_)
    conflicting = np.zeros(energy.size, dtype=np.bool_)
    repeated[has_number] = (repeats & ~contradicted).to_numpy()
    conflicting[has_number] = contradicted.to_numpy()
    return has_number & ~repeated & ~conflicting, repeated, conflicting


def _time(instant_s: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(instant_s))


def _text(instant_s: float) -> str:
    return _time(instant_s).isoformat()
