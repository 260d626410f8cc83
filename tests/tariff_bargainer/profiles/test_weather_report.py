"""The weather report, against loads whose true model and true saving are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.weather_report import fit_weather_model, report_weather_normalised

DAYS = np.arange(730)
MILD = 10 - 9 * np.cos(2 * np.pi * DAYS / 365)


def weather(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return MILD + rng.normal(0, 4, size=DAYS.size)


def load(temperature: np.ndarray, seed: int, *, noise: float = 4.0) -> np.ndarray:
    rng = np.random.default_rng(seed + 1)
    heating = 6.0 * np.maximum(0, 15 - temperature)
    cooling = 9.0 * np.maximum(0, temperature - 21)
    return 120 + heating + cooling + rng.normal(0, noise, size=temperature.size)


def test_a_known_model_is_found_again():
    temperature = weather(3)
    model = fit_weather_model(load(temperature, 3), temperature)
    assert model.heating_balance_c == pytest.approx(15, abs=1)
    assert model.heating_kwh_per_k == pytest.approx(6, rel=0.1)
    assert model.cooling_balance_c == pytest.approx(21, abs=1.5)
    assert model.cooling_kwh_per_k == pytest.approx(9, rel=0.25)
    assert model.base_kwh == pytest.approx(120, rel=0.03)
    assert model.r2 > 0.95


@given(st.integers(0, 500), st.floats(-0.1, 0.3))
@settings(max_examples=8, deadline=None)
def test_a_true_saving_lies_in_the_interval_even_in_another_winter(seed, share):
    temperature = weather(seed) - 3.0 * (DAYS >= 365)  # The second year is colder.
    energy = load(temperature, seed)
    before, after = slice(0, 365), slice(365, 730)
    model = fit_weather_model(energy[before], temperature[before])
    report = report_weather_normalised(model, energy[after] * (1 - share), temperature[after])
    assert abs(report.saved_share - share) <= max(0.015, 3 * report.uncertainty_share)
    naive = 1 - energy[after].sum() * (1 - share) / energy[before].sum()
    assert abs(report.saved_share - share) < abs(naive - share)


def test_a_pool_that_ignores_the_weather_has_no_heating():
    rng = np.random.default_rng(8)
    model = fit_weather_model(200 + rng.normal(0, 5, size=DAYS.size), weather(9))
    assert model.heating_balance_c is None
    assert model.cooling_balance_c is None


def test_a_small_change_in_a_noisy_load_is_not_called_clear():
    temperature = weather(5)
    energy = load(temperature, 5, noise=60)
    model = fit_weather_model(energy[:365], temperature[:365])
    small = report_weather_normalised(model, energy[365:] * 0.998, temperature[365:])
    large = report_weather_normalised(model, energy[365:] * 0.8, temperature[365:])
    assert not small.is_clear
    assert large.is_clear


def test_missing_days_are_left_out_on_both_sides():
    temperature = weather(6)
    energy = load(temperature, 6)
    model = fit_weather_model(energy[:365], temperature[:365])
    holed = energy[365:].copy()
    holed[::3] = np.nan
    report = report_weather_normalised(model, holed, temperature[365:])
    assert abs(report.saved_share) < 0.02


def test_too_little_history_or_unmatched_days_are_refused():
    with pytest.raises(InsufficientProfile, match="299 days"):
        fit_weather_model(np.ones(299), np.ones(299))
    with pytest.raises(InvalidProfile, match="one mean temperature"):
        fit_weather_model(np.ones(400), np.ones(399))


@pytest.mark.parametrize(("seed", "opendsm_kwh"), [(3, 61888.75), (11, 62228.64), (27, 62033.57)])
def test_expects_what_opendsm_expects_of_a_colder_winter(seed, opendsm_kwh):
    # OpenDSM 1.2.7's DailyModel, fitted on the first and asked for the second of the same years;
    # its figures are written down here because it does not go with the pandas that we use.
    temperature = weather(seed) - 3.0 * (DAYS >= 365)
    energy = load(temperature, seed)
    model = fit_weather_model(energy[:365], temperature[:365])
    report = report_weather_normalised(model, energy[365:] * 0.92, temperature[365:])
    assert report.expected_kwh == pytest.approx(opendsm_kwh, rel=2e-4)
    assert report.saved_share == pytest.approx(1 - report.actual_kwh / opendsm_kwh, abs=2e-4)
