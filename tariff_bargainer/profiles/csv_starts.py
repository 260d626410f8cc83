"""The start of each row of a regular CSV: an instant, checked against the row before.

A time without offset is only read where a zone is given. In autumn the clock shows an hour twice;
which of the two a row means follows from the row before it.
"""

from datetime import UTC, datetime, tzinfo

from tariff_bargainer.errors import LoadFileError

START_COLUMN = "interval_start"


class StartColumn:
    """Starts of a series, taken row by row."""

    def __init__(self, clock: tzinfo | None = None, zone_name: str = "") -> None:
        self.starts_s: list[int] = []
        self.local = False
        self._clock = clock
        self._zone_name = zone_name

    def take(self, text: str, line: int) -> None:
        """Read one row's start.

        Raises:
            LoadFileError: It is no time, has no offset, or does not follow the row before it.
        """
        try:
            start = datetime.fromisoformat(text)
        except ValueError:
            raise LoadFileError(
                line=line,
                problem=f"{START_COLUMN} is {text!r}, no ISO 8601 time",
                remedy="write it as 2018-01-01T00:00:00-07:00",
            ) from None
        if start.microsecond:
            raise LoadFileError(
                line=line,
                problem=f"{text!r} has a fraction of a second",
                remedy="use whole seconds",
            )
        naive = start.tzinfo is None
        if self.starts_s and naive != self.local:
            raise LoadFileError(
                line=line,
                problem=f"{text!r} has {'no' if naive else 'an'} offset, unlike the rows above",
                remedy="write all times with their offset",
            )
        self.local = naive
        start_s = self._of_local(start, text, line) if naive else int(start.timestamp())
        self._check_step(start_s, text, line)
        self.starts_s.append(start_s)

    def _of_local(self, start: datetime, text: str, line: int) -> int:
        if self._clock is None:
            raise LoadFileError(
                line=line,
                problem=f"{START_COLUMN} {text!r} has no offset from UTC",
                remedy="write the offset, as in 2018-01-01T00:00:00-07:00",
            )
        twice = [start.replace(tzinfo=self._clock, fold=fold).astimezone(UTC) for fold in (0, 1)]
        if twice[0].astimezone(self._clock).replace(tzinfo=None) != start:
            raise LoadFileError(
                line=line,
                problem=f"the clock of {self._zone_name} never shows {text}",
                remedy="write the offset of every time, or give the zone of the file's clock",
            )
        first, second = (int(instant.timestamp()) for instant in twice)
        last = self.starts_s[-1] if self.starts_s else first - 1
        expected = last + self.step_s if len(self.starts_s) > 1 else first
        return second if first <= last or second == expected else first

    @property
    def step_s(self) -> int:
        """Length of an interval [s]; needs two rows."""
        return self.starts_s[1] - self.starts_s[0]

    def _check_step(self, start_s: int, text: str, line: int) -> None:
        if not self.starts_s:
            return
        step_s = start_s - self.starts_s[-1]
        if step_s == 0:
            raise LoadFileError(
                line=line,
                problem=f"{text} stands twice in a row",
                remedy="keep one of the two rows",
            )
        if step_s < 0:
            raise LoadFileError(
                line=line,
                problem=f"{text} is before the row above it",
                remedy="sort the rows by time, and check the offsets around clock changes",
            )
        expected_s = self.step_s if len(self.starts_s) > 1 else step_s
        if step_s != expected_s:
            more = "a gap" if step_s > expected_s else "an irregular step"
            raise LoadFileError(
                line=line,
                problem=f"{more} before {text}: {step_s} s instead of {expected_s} s",
                remedy="write a row for every interval, with an empty cell where nothing was "
                "measured",
            )
