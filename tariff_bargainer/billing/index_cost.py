"""Prices that follow a published series, hour by hour, exactly."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import lcm
from operator import mul
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tariff_bargainer.billing.metered_energy import MICRO_PER_KWH, MeteredEnergy, MicroEnergy
from tariff_bargainer.errors import (
    IndexFileError,
    InsufficientProfile,
    InvalidProfile,
    LoadFileError,
    MissingInput,
)
from tariff_bargainer.profiles.regular_csv import read_regular_csv
from tariff_bargainer.tariffs.tariff import IndexLink

NANO = 1_000_000_000
INDEX_COLUMNS = ("price_per_kwh", "price_per_mwh")
PRICE_PER_KWH_MAX = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IndexSeries:
    """A price series, such as a day-ahead market, in whole nano-units of currency per kWh.

    Attributes:
        start: Start of the first interval, aware; kept in UTC.
        step_s: Length of every interval [s].
        price_nano_per_kwh: Price per interval [1e-9 currency/kWh], shape (n,).
        missing: True where no price was published, shape (n,).
    """

    start: datetime
    step_s: int
    price_nano_per_kwh: NDArray[np.int64]
    missing: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse what is not a series."""
        if self.start.tzinfo is None:
            raise InvalidProfile("the start of a price series is naive; give an aware datetime")
        if self.step_s <= 0 or 86_400 % self.step_s:
            raise InvalidProfile("the step of a price series must divide a day")
        if self.price_nano_per_kwh.shape != self.missing.shape or not len(self.missing):
            raise InvalidProfile("prices and their missing mask must have one length, above zero")
        object.__setattr__(self, "start", self.start.astimezone(UTC))

    @classmethod
    def from_series(cls, price_per_kwh: pd.Series, *, step_s: int | None = None) -> "IndexSeries":
        """Read a pandas series with an aware, regular index; NaN means not published.

        Args:
            price_per_kwh: Price by start of interval [currency/kWh]; kept to 1e-9.
            step_s: Length of an interval [s], needed for a single one.

        Raises:
            InvalidProfile: The index is naive or irregular, or a price is out of range.
        """
        index = price_per_kwh.index
        if not isinstance(index, pd.DatetimeIndex) or index.tz is None or not len(index):
            raise InvalidProfile("a price series needs an index of aware times")
        instants = index.tz_convert("UTC").as_unit("us").asi8
        steps = np.diff(instants)
        if step_s is None:
            step_s = int(steps[0]) // 1_000_000 if len(steps) else 0
        if (steps != step_s * 1_000_000).any():
            raise InvalidProfile("the index of a price series is not regular and rising")
        price = np.asarray(price_per_kwh.to_numpy(), dtype=np.float64)
        missing = np.isnan(price)
        if (np.abs(price[~missing]) > PRICE_PER_KWH_MAX).any():
            raise InvalidProfile("a price is beyond 1e6 per kWh; check the unit")
        nano = np.rint(np.where(missing, 0.0, price) * NANO).astype(np.int64)
        return cls(
            start=index[0].to_pydatetime(), step_s=step_s, price_nano_per_kwh=nano, missing=missing
        )

    def over(self, start: datetime, step_s: int, n_intervals: int) -> NDArray[np.int64]:
        """Prices of finer or equal intervals [1e-9 currency/kWh], shape (n_intervals,).

        Raises:
            InsufficientProfile: The series does not cover them, or its step is finer.
        """
        offset_s = round((start - self.start).total_seconds())
        if self.step_s % step_s or offset_s % step_s:
            raise InsufficientProfile(
                reasons=(
                    (
                        f"the price series has steps of {self.step_s} s, the profile of {step_s} s; "
                        "give a profile at least as fine as the prices, on the same clock"
                    ),
                )
            )
        position = (offset_s + np.arange(n_intervals, dtype=np.int64) * step_s) // self.step_s
        outside = (position < 0) | (position >= len(self.missing))
        absent = outside | self.missing[np.clip(position, 0, len(self.missing) - 1)]
        if absent.any():
            first = start + timedelta(seconds=step_s * int(np.argmax(absent)))
            raise InsufficientProfile(
                reasons=(
                    (
                        f"the price series has no price for {int(absent.sum())} intervals, the first "
                        f"at {first.isoformat()}; give prices for the whole time"
                    ),
                )
            )
        return self.price_nano_per_kwh[position]


def read_index_csv(path: Path) -> IndexSeries:
    """Read a price series: `interval_start`, and `price_per_kwh` or `price_per_mwh` [currency].

    Raises:
        IndexFileError: The file cannot be read as one regular series; names line and remedy.
    """
    try:
        rows = read_regular_csv(path, INDEX_COLUMNS, negative=True)
    except LoadFileError as fault:
        raise IndexFileError(line=fault.line, problem=fault.problem, remedy=fault.remedy) from None
    if len(rows.columns) != 1:
        raise IndexFileError(
            line=1,
            problem=f"{len(rows.columns)} price columns",
            remedy="give one of price_per_kwh, price_per_mwh",
        )
    name, numbers = next(iter(rows.columns.items()))
    price = pd.Series(
        np.array(numbers) / (1000.0 if name == "price_per_mwh" else 1.0),
        index=pd.to_datetime(rows.starts_s, unit="s", utc=True),
    )
    try:
        return IndexSeries.from_series(price)
    except InvalidProfile as invalid:
        problem, _, remedy = str(invalid).partition("; ")
        raise IndexFileError(problem=problem, remedy=remedy or "correct the file") from None


def linked_prices(link: IndexLink, price_nano_per_kwh: NDArray[np.int64]) -> tuple[list[int], int]:
    """Apply losses, markup, cap and floor to index prices.

    Returns:
        Whole numbers and the scale they are divided by to give currency/kWh, exactly.
    """
    terms = [link.loss_factor, link.markup_per_kwh, link.cap_per_kwh, link.floor_per_kwh]
    scale = lcm(*(Fraction(term).denominator for term in terms if term is not None))
    loss = int(Fraction(link.loss_factor) * scale)

    def scaled(price: Decimal) -> int:
        return int(Fraction(price) * scale * NANO)

    markup = scaled(link.markup_per_kwh)
    prices = [price * loss + markup for price in price_nano_per_kwh.tolist()]
    if link.cap_per_kwh is not None:
        cap = scaled(link.cap_per_kwh)
        prices = [min(price, cap) for price in prices]
    if link.floor_per_kwh is not None:
        floor = scaled(link.floor_per_kwh)
        prices = [max(price, floor) for price in prices]
    return prices, scale * NANO


def linked_floats(link: IndexLink, price_nano_per_kwh: NDArray[np.int64]) -> NDArray[np.float64]:
    """Apply losses, markup, cap and floor in floats [currency/kWh], for comparing tariffs."""
    index = price_nano_per_kwh.astype(np.float64) / NANO
    price: NDArray[np.float64] = index * float(link.loss_factor) + float(link.markup_per_kwh)
    if link.cap_per_kwh is not None:
        price = np.minimum(price, float(link.cap_per_kwh))
    if link.floor_per_kwh is not None:
        price = np.maximum(price, float(link.floor_per_kwh))
    return price


def monthly_index_cost(
    link: IndexLink,
    metered: MeteredEnergy,
    energy_uwh: MicroEnergy,
    index: Mapping[str, IndexSeries],
) -> list[Fraction]:
    """Price energy at a linked series, month by month.

    Raises:
        MissingInput: The series was not given.
        InsufficientProfile: The series does not cover the profile.
    """
    if link.series not in index:
        raise MissingInput(
            name=link.series, kind="price series", remedy="give it with the bill, by this name"
        )
    profile = metered.profile
    found = index[link.series].over(profile.start, profile.step_s, len(profile))
    prices, scale = linked_prices(link, found)
    months = metered.calendar.month_index
    # Months are contiguous in time, so each is one slice.
    edges = np.searchsorted(months, np.arange(metered.n_months + 1)).tolist()
    energy = energy_uwh.tolist()
    return [
        Fraction(sum(map(mul, energy[low:high], prices[low:high])), scale * MICRO_PER_KWH)
        for low, high in itertools.pairwise(edges)
    ]
