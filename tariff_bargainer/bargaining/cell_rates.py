"""A tariff's price per kWh in every cell of the typical days, for judging shapes."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.errors import UnsupportedRate
from tariff_bargainer.profiles.calendar import local_calendar, zone
from tariff_bargainer.profiles.load_profile import CELLS, typical_day_cells
from tariff_bargainer.tariffs.schedule import period_of_interval, schedule_table
from tariff_bargainer.tariffs.tariff import Tariff

YEAR = 2018
"""A year without a leap day that starts on a Monday; only windows matter here, not dates."""
STEP_S = 900
COUNT = 365 * 96


def rates_on_typical_days(tariff: Tariff) -> NDArray[np.float64]:
    """Return the mean price per kWh by month, day type and hour, shape (576,).

    Args:
        tariff: Prices per kWh by time; blocks and index links have no price per cell.

    Raises:
        UnsupportedRate: The tariff has blocks, follows an index, or changes within a quarter hour.
    """
    start = datetime(YEAR, 1, 1, tzinfo=zone(tariff.timezone)).astimezone(UTC)
    holidays = tariff.holidays_between(YEAR, YEAR)
    calendar = local_calendar(start, STEP_S, COUNT, tariff.timezone, holidays)
    price = np.zeros(COUNT)
    for place, charge in enumerate(tariff.energy):
        table = schedule_table(
            tuple(period.windows for period in charge.periods), holidays=tariff.has_holidays
        )
        found, straddling = period_of_interval(table, calendar, STEP_S)
        if charge.tiered or charge.index or straddling:
            raise UnsupportedRate(
                field=f"energy[{place}]", problem="has no one price per hour of the typical days"
            )
        price += np.array([float(period.tiers[0].rate) for period in charge.periods])[found]
    cells = typical_day_cells(
        start=start, step_s=STEP_S, count=COUNT, timezone=tariff.timezone, holidays=holidays
    )
    counts = np.bincount(cells, minlength=CELLS)
    rates: NDArray[np.float64] = np.bincount(cells, weights=price, minlength=CELLS) / counts
    return rates
