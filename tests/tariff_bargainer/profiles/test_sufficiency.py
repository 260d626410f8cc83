"""Reasons not to use a profile, each found by itself and all found together."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.profiles.sufficiency import (
    Fault,
    Requirements,
    group_insufficiencies,
    insufficiencies,
)

START = datetime(2025, 1, 1, tzinfo=UTC)


def year(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 3000, size=8760).astype(float)


def profile(energy: np.ndarray, step_s: int = 3600) -> LoadProfile:
    return LoadProfile(start=START, step_s=step_s, import_wh=energy)


def faults(energy: np.ndarray, step_s: int = 3600) -> list[Fault]:
    return [reason.fault for reason in insufficiencies("h1", profile(energy, step_s))]


def test_a_full_year_of_hours_is_sufficient():
    assert faults(year()) == []


def test_half_a_year_is_too_short_and_says_how_long_it_is():
    (reason,) = insufficiencies("h1", profile(year()[:4380]))
    assert reason.fault == Fault.TOO_SHORT
    assert "182.5 days" in reason.text


def test_a_long_gap_is_named_with_its_start():
    energy = year()
    energy[1000:1200] = np.nan
    (reason,) = insufficiencies("h1", profile(energy))
    assert (reason.fault, reason.intervals) == (Fault.LONG_GAP, 200)
    assert reason.first == START + timedelta(hours=1000)


def test_many_short_gaps_are_too_many_together():
    energy = year()
    energy[::5] = np.nan
    assert faults(energy) == [Fault.MISSING]


def test_a_stuck_meter_is_found_but_an_empty_home_is_not_stuck():
    stuck = year()
    stuck[100:160] = 712
    (reason,) = insufficiencies("h1", profile(stuck))
    assert (reason.fault, reason.intervals) == (Fault.STUCK, 60)
    assert reason.first == START + timedelta(hours=100)
    holiday = year()
    holiday[100:160] = 0
    assert faults(holiday) == []


def test_a_dead_meter_is_silent_for_longer_than_any_fridge():
    dead = year()
    dead[100:500] = 0
    (reason,) = insufficiencies("h1", profile(dead))
    assert (reason.fault, reason.intervals) == (Fault.SILENT, 400)
    sunny = LoadProfile(
        start=START, step_s=3600, import_wh=dead, export_wh=np.where(dead == 0, 900.0, 0.0)
    )
    assert insufficiencies("h1", sunny) == []


@pytest.mark.parametrize(("factor", "says"), [(1e-3, "kWh may have been read as Wh"), (1e3, "Wh")])
def test_a_wrong_unit_shows_in_the_mean_power(factor, says):
    reasons = insufficiencies("h1", profile(year() * factor))
    assert {reason.fault for reason in reasons} == {Fault.IMPLAUSIBLE}
    assert says in reasons[0].text


def test_zero_all_year_is_no_energy():
    assert faults(np.zeros(8760)) == [Fault.NO_ENERGY]


def test_a_catch_up_reading_is_implausible():
    energy = year()
    energy[77] = 400_000
    assert faults(energy) == [Fault.IMPLAUSIBLE]


def test_a_daily_step_is_too_coarse_for_typical_days():
    daily = np.arange(1, 366, dtype=float) * 100
    assert faults(daily, step_s=86_400) == [Fault.COARSE_STEP]


def test_all_reasons_come_together_and_nothing_is_changed():
    energy = year()[:5000]
    energy[0:1000] = np.nan
    before = energy.copy()
    given = profile(energy)
    found = {reason.fault for reason in insufficiencies("h1", given)}
    assert found == {Fault.TOO_SHORT, Fault.MISSING, Fault.LONG_GAP}
    np.testing.assert_array_equal(given.import_wh, before)


def test_reasons_of_a_group_name_each_home():
    homes = {"a": profile(year()), "b": profile(np.zeros(8760))}
    assert [reason.home for reason in group_insufficiencies(homes)] == ["b"]


@pytest.mark.parametrize("days", [30, 31])
def test_the_limits_are_the_callers_to_set(days):
    month = profile(year()[: 30 * 24])
    found = insufficiencies("h1", month, Requirements(days_min=days))
    assert bool(found) == (days == 31)
