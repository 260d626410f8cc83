"""Distance to standard profiles, by hand."""

from datetime import UTC, datetime

import numpy as np
import pytest

from tariff_bargainer.errors import InsufficientProfile
from tariff_bargainer.profiles.archetypes import price_distance, shape_distance
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.profiles.load_profile import home_cells
from tariff_bargainer.profiles.standard_profiles import flat_cells, standard_cells

START = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = {"start": START, "step_s": 3600, "count": 8760, "timezone": "UTC"}


def evening(days: int = 365, step_s: int = 3600) -> np.ndarray:
    hour = np.arange(days * 86_400 // step_s) * step_s // 3600 % 24
    return np.where((hour >= 18) & (hour < 22), 3.0, 1.0)


def test_half_of_an_evening_homes_extra_energy_has_to_move_to_be_flat():
    homes = home_cells(evening()[None, :], start=START, step_s=3600, timezone="UTC")
    # 12 of 32 parts are used in 4 of 24 hours, where a flat load uses a sixth.
    assert shape_distance(homes[0], flat_cells(**YEAR)) == pytest.approx(12 / 32 - 4 / 24)


def test_a_standard_of_another_year_step_and_scale_is_the_same_shape():
    other = LoadProfile(
        start=datetime(2023, 1, 1, tzinfo=UTC), step_s=900, import_wh=7e-3 * evening(step_s=900)
    )
    homes = home_cells(evening()[None, :], start=START, step_s=3600, timezone="UTC")
    standard = standard_cells(other, **YEAR)
    assert shape_distance(homes[0], standard) == pytest.approx(0, abs=1e-6)
    price = np.tile(np.where(np.arange(24) == 18, 1.0, 0.2), 24)
    assert price_distance(homes[0], standard, price) == pytest.approx(0, abs=1e-6)
    flat = price_distance(homes[0], flat_cells(**YEAR), price)
    assert flat == pytest.approx(0.8 * (3 / 32 - 1 / 24))


def test_a_standard_of_half_a_year_says_what_it_lacks():
    half = LoadProfile(start=START, step_s=3600, import_wh=evening(181))
    with pytest.raises(InsufficientProfile, match="month 7, weekday, hour 0"):
        standard_cells(half, **YEAR)
    summer = {**YEAR, "count": 24 * 90}
    assert standard_cells(half, **summer).sum() > 0
