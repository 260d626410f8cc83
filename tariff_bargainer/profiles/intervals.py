"""Load over time: one regular series of energy per half-open interval, in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tariff_bargainer.errors import InvalidProfile

Energy = NDArray[np.int64] | NDArray[np.float64]
"""Energy per interval [Wh]; whole numbers, or floats where NaN means missing."""

INTERVALS_MAX = 20_000_000
"""Longest series that one profile may hold: 38 years of minutes."""

MICRO_PER_WH = 1_000_000
MICRO_PER_SECOND = 1_000_000
ENERGY_WH_MAX = 1e10
"""Largest energy of one interval [Wh]; keeps every sum of a year inside 64 bits of µWh."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadProfile:
    """Energy of one home (or one group) per regular interval `[start, start + step)`.

    Missing is not zero: a missing interval is NaN in a float array, or True in `missing`.

    Attributes:
        start: Start of the first interval, aware; kept in UTC.
        step_s: Length of every interval [s]; divides a day.
        import_wh: Energy taken from the grid per interval [Wh], shape (n,).
        export_wh: Energy given to the grid per interval [Wh], shape (n,), or None for no meter.
        missing: True where an interval was not measured, shape (n,), or None.
    """

    start: datetime
    step_s: int
    import_wh: Energy
    export_wh: Energy | None = None
    missing: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Refuse what is not a profile, and freeze the arrays."""
        if not isinstance(self.start, datetime):
            raise InvalidProfile(f"start is {self.start!r}; give an aware datetime, in UTC")
        if self.start.tzinfo is None:
            raise InvalidProfile("start is naive; give an aware datetime, in UTC")
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        if self.step_s <= 0 or 86_400 % self.step_s:
            raise InvalidProfile(
                f"step_s is {self.step_s}; give a whole number of seconds that divides a day"
            )
        n_intervals = len(self.import_wh) if np.ndim(self.import_wh) else 0
        if not 0 < n_intervals <= INTERVALS_MAX:
            raise InvalidProfile(
                f"{n_intervals} intervals; a profile has 1 to {INTERVALS_MAX} of them"
            )
        object.__setattr__(self, "import_wh", _checked(self.import_wh, "import_wh", n_intervals))
        if self.export_wh is not None:
            export = _checked(self.export_wh, "export_wh", n_intervals)
            object.__setattr__(self, "export_wh", export)
        if self.missing is not None:
            mask = np.array(self.missing, dtype=np.bool_)
            if mask.shape != (n_intervals,):
                raise InvalidProfile(f"missing has shape {mask.shape}; give ({n_intervals},)")
            mask.flags.writeable = False
            object.__setattr__(self, "missing", mask)

    def __len__(self) -> int:
        return len(self.import_wh)

    @property
    def end(self) -> datetime:
        """End of the last interval, which the profile does not contain."""
        return self.start + timedelta(seconds=self.step_s * len(self))

    @property
    def missing_mask(self) -> NDArray[np.bool_]:
        """True where an interval was not measured, shape (n,)."""
        mask = np.isnan(self.import_wh)
        if self.export_wh is not None:
            mask |= np.isnan(self.export_wh)
        if self.missing is not None:
            mask |= self.missing
        return mask

    @property
    def index(self) -> pd.DatetimeIndex:
        """Starts of the intervals, aware UTC."""
        step = pd.Timedelta(seconds=self.step_s)
        return pd.date_range(self.start, periods=len(self), freq=step, name="interval_start")

    def _repr_html_(self) -> str:
        missing = int(self.missing_mask.sum())
        exported = (
            ""
            if self.export_wh is None
            else f", {np.nansum(self.export_wh) / 1e3:,.1f} kWh exported"
        )
        return (
            f"<p><b>Load profile</b>: {len(self):,} intervals of {self.step_s / 60:g} min from "
            f"{self.start.isoformat()} to {self.end.isoformat()}; "
            f"{np.nansum(self.import_wh) / 1e3:,.1f} kWh imported{exported}, {missing:,} missing</p>"
        )

    def to_frame(self) -> pd.DataFrame:
        """Give the profile as a frame: aware UTC index, `import_wh` and, if metered, `export_wh`.

        Missing intervals are NaN, so a profile with gaps comes back as floats.
        """
        mask = self.missing_mask
        columns: dict[str, Any] = {"import_wh": self.import_wh}
        if self.export_wh is not None:
            columns["export_wh"] = self.export_wh
        if mask.any():
            columns = {name: np.where(mask, np.nan, wh) for name, wh in columns.items()}
        return pd.DataFrame(columns, index=self.index)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "LoadProfile":
        """Read a frame with an aware, regular, sorted index of interval starts.

        Args:
            frame: Columns `import_wh` and optionally `export_wh` [Wh]; NaN means missing.

        Raises:
            InvalidProfile: The index is naive, irregular or too short, or a column is wrong.
        """
        if not isinstance(frame, pd.DataFrame):
            raise InvalidProfile("this is no DataFrame; give a frame with a column import_wh [Wh]")
        for column in ("import_wh", "export_wh"):
            if list(frame.columns).count(column) > 1:
                raise InvalidProfile(f"the column {column} stands twice; keep one of them")
        if "import_wh" not in frame.columns:
            raise InvalidProfile("the frame has no column import_wh [Wh]; rename or add it")
        start, step_s = start_and_step(frame.index)
        export = frame["export_wh"].to_numpy() if "export_wh" in frame.columns else None
        return cls(
            start=start,
            step_s=step_s,
            import_wh=frame["import_wh"].to_numpy(),
            export_wh=export,
        )


def start_and_step(index: pd.Index) -> tuple[datetime, int]:
    """Return the first instant and the step [s] of an aware, rising, evenly spaced index.

    Raises:
        InvalidProfile: It is naive, too short, unsorted, or repeats or skips an interval; names the
            first place.
    """
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise InvalidProfile(
            "the index must hold aware times, with a zone: use frame.tz_localize('UTC') if they are UTC, "
            "or tidy_readings for times of a wall clock"
        )
    if len(index) < 2:
        raise InvalidProfile(
            f"{len(index)} intervals do not tell the step; the index needs two rows or more"
        )
    steps = np.diff(index.tz_convert("UTC").as_unit("us").asi8)
    usual = int(np.sort(steps)[(steps.size - 1) // 2])
    wrong = np.flatnonzero((steps != usual) | (steps <= 0))
    if wrong.size:
        at, step = int(wrong[0]), int(steps[wrong[0]])
        what = (
            "runs backwards" if step < 0 else "skips intervals" if step else "repeats an interval"
        )
        what = what if step <= 0 or step > usual else "is not evenly spaced"
        raise InvalidProfile(
            f"the index {what} after {index[at].isoformat()}; sort it, drop repetitions and "
            "reindex to one step with NaN in gaps, or let tidy_readings do so"
        )
    if usual % MICRO_PER_SECOND:
        raise InvalidProfile(f"the index steps by {usual / 1e6:g} s; give whole seconds")
    start: datetime = index[0].to_pydatetime()
    return start, usual // MICRO_PER_SECOND


def _checked(energy: Energy, name: str, n_intervals: int) -> Energy:
    """Copy an energy array as int64 or float64, refusing what is not energy."""
    given = np.asarray(energy)
    if given.shape != (n_intervals,):
        raise InvalidProfile(f"{name} has shape {given.shape}; give ({n_intervals},)")
    if given.dtype.kind not in "iuf":
        raise InvalidProfile(f"{name} is {given.dtype}, not numbers; give energy [Wh]")
    kept: Energy = given.astype(np.float64) if given.dtype.kind == "f" else given.astype(np.int64)
    for wrong, what in (
        (kept < 0, "negative"),
        (np.isinf(kept), "infinite"),
        (kept > ENERGY_WH_MAX, "too large"),
    ):
        if wrong.any():
            raise InvalidProfile(
                f"{name} has {what} energy in {int(wrong.sum())} intervals, first at interval "
                f"{int(wrong.argmax())}; import and export are each positive, at most "
                f"{ENERGY_WH_MAX:g} Wh per interval, and NaN means missing"
            )
    kept.flags.writeable = False
    return kept
