"""How much energy a pool saved beyond the weather, as a report and never as a basis of payment.

Daily energy follows a base, heating below one outdoor temperature and cooling above another. The
model is fitted on the days before a change, asked what the days after would have used in their own
weather, and says how sure that is. Single homes are too noisy for this; pools are the right size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile

Floats = NDArray[np.float64]
DAYS_MIN = 300
HEATING_BALANCES_C = np.arange(4.0, 21.0, 0.5)
COOLING_BALANCES_C = np.arange(12.0, 29.0, 0.5)
T_90 = 1.645
"""Two-sided 90 % point of the normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeatherModel:
    """Daily energy by outdoor temperature.

    Attributes:
        base_kwh: Energy of a day without heating or cooling [kWh].
        heating_kwh_per_k: Extra energy per kelvin below the heating balance [kWh/K].
        heating_balance_c: Temperature below which the pool heats [deg C], or None.
        cooling_kwh_per_k: Extra energy per kelvin above the cooling balance [kWh/K].
        cooling_balance_c: Temperature above which it cools [deg C], or None.
        r2: Share of the variance explained [0..1].
        cv_rmse: Root mean square error over the mean [1].
        autocorrelation: Of the residuals from one day to the next [-1..1].
        days: Days it was fitted on.
    """

    base_kwh: float
    heating_kwh_per_k: float
    heating_balance_c: float | None
    cooling_kwh_per_k: float
    cooling_balance_c: float | None
    r2: float
    cv_rmse: float
    autocorrelation: float
    days: int

    def predict_kwh(self, temperature_c: ArrayLike) -> Floats:
        """Return the expected energy of days with these mean temperatures [kWh]."""
        temperature = np.asarray(temperature_c, dtype=np.float64)
        energy = np.full(temperature.shape, self.base_kwh)
        if self.heating_balance_c is not None:
            below = np.maximum(0.0, self.heating_balance_c - temperature)
            energy = energy + self.heating_kwh_per_k * below
        if self.cooling_balance_c is not None:
            above = np.maximum(0.0, temperature - self.cooling_balance_c)
            energy = energy + self.cooling_kwh_per_k * above
        return energy


@dataclass(frozen=True, slots=True, kw_only=True)
class WeatherReport:
    """Energy saved beyond the weather.

    Attributes:
        model: What was fitted before the change.
        expected_kwh: What the days after would have used [kWh].
        actual_kwh: What they used [kWh].
        saved_share: Expected less actual over expected [1].
        uncertainty_share: Half the 90 % interval of `saved_share` [1].
    """

    model: WeatherModel
    expected_kwh: float
    actual_kwh: float
    saved_share: float
    uncertainty_share: float

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside the 90 % interval."""
        return abs(self.saved_share) > self.uncertainty_share


def fit_weather_model(daily_kwh: ArrayLike, temperature_c: ArrayLike) -> WeatherModel:
    """Fit base, heating and cooling to daily energy; parts that do not pay for themselves go.

    Args:
        daily_kwh: Energy of each day [kWh]; NaN days are left out.
        temperature_c: Mean outdoor temperature of each day [deg C].

    Raises:
        InsufficientProfile: Fewer than 300 days.
        InvalidProfile: The arrays differ in length.

    Source: variable-base degree days as in M. Fels, "PRISM: an introduction", Energy and Buildings
    9, 1986; the choice among models by the Bayesian information criterion.
    """
    energy, temperature = _paired(daily_kwh, temperature_c)
    if energy.size < DAYS_MIN:
        raise InsufficientProfile(
            reasons=[f"{energy.size} days; a year's weather needs {DAYS_MIN}"]
        )
    best: tuple[float, float | None, float | None, Floats] | None = None
    heating: list[float | None] = [None, *HEATING_BALANCES_C.tolist()]
    cooling: list[float | None] = [None, *COOLING_BALANCES_C.tolist()]
    for cold in heating:
        for warm in cooling:
            if cold is not None and warm is not None and warm < cold:
                continue
            columns = _columns(temperature, cold, warm)
            solved = np.linalg.lstsq(columns, energy, rcond=None)[0]
            factors: Floats = np.asarray(solved, dtype=np.float64)
            # Heating and cooling take energy; a negative slope would be a fit to chance.
            if (factors[1:] <= 0).any():
                continue
            missed = float(((energy - columns @ factors) ** 2).sum())
            freedom = 1 + 2 * ((cold is not None) + (warm is not None))
            size = energy.size
            score = size * np.log(max(missed, 1e-12) / size) + freedom * np.log(size)
            if best is None or score < best[0]:
                best = (score, cold, warm, factors)
    if best is None:
        raise InvalidProfile("no weather model fits: check the unit of the temperatures")
    _, cold, warm, factors = best
    slopes = factors[1:].tolist()
    residual = energy - _columns(temperature, cold, warm) @ factors
    spread = float(((energy - energy.mean()) ** 2).sum())
    return WeatherModel(
        base_kwh=float(factors[0]),
        heating_kwh_per_k=slopes.pop(0) if cold is not None else 0.0,
        heating_balance_c=cold,
        cooling_kwh_per_k=slopes.pop(0) if warm is not None else 0.0,
        cooling_balance_c=warm,
        r2=1 - float((residual**2).sum()) / spread if spread else 1.0,
        cv_rmse=float(np.sqrt((residual**2).sum() / (energy.size - factors.size)) / energy.mean()),
        autocorrelation=_autocorrelation(residual),
        days=energy.size,
    )


def report_weather_normalised(
    model: WeatherModel, daily_kwh: ArrayLike, temperature_c: ArrayLike
) -> WeatherReport:
    """Compare the days after a change with what the model expects in their weather.

    Args:
        model: Fitted on the days before.
        daily_kwh: Energy of each day after [kWh]; NaN days are left out on both sides.
        temperature_c: Mean outdoor temperature of each day [deg C].

    Raises:
        InvalidProfile: The arrays differ in length, or there is no day.

    Source: uncertainty after ASHRAE Guideline 14-2014, annex B, for daily models with
    autocorrelated residuals.
    """
    energy, temperature = _paired(daily_kwh, temperature_c)
    expected = float(model.predict_kwh(temperature).sum())
    if energy.size == 0 or expected <= 0:
        raise InvalidProfile("there is no day after the change whose use could be expected")
    actual = float(energy.sum())
    rho = min(max(model.autocorrelation, 0.0), 0.95)
    effective = model.days * (1 - rho) / (1 + rho)
    # The guideline's 1.26 is an empirical factor for weather models.
    spread = (
        1.26 * model.cv_rmse * np.sqrt(model.days / effective * (1 + 2 / effective) / energy.size)
    )
    return WeatherReport(
        model=model,
        expected_kwh=expected,
        actual_kwh=actual,
        saved_share=1 - actual / expected,
        uncertainty_share=float(T_90 * spread),
    )


def _columns(temperature: Floats, cold: float | None, warm: float | None) -> Floats:
    columns = [np.ones(temperature.size)]
    if cold is not None:
        columns.append(np.maximum(0.0, cold - temperature))
    if warm is not None:
        columns.append(np.maximum(0.0, temperature - warm))
    return np.column_stack(columns)


def _paired(daily_kwh: ArrayLike, temperature_c: ArrayLike) -> tuple[Floats, Floats]:
    energy = np.asarray(daily_kwh, dtype=np.float64)
    temperature = np.asarray(temperature_c, dtype=np.float64)
    if energy.shape != temperature.shape or energy.ndim != 1:
        raise InvalidProfile("give one mean temperature for each day's energy")
    known = ~(np.isnan(energy) | np.isnan(temperature))
    return energy[known], temperature[known]


def _autocorrelation(residual: Floats) -> float:
    power = float((residual**2).sum())
    return float((residual[1:] * residual[:-1]).sum()) / power if power else 0.0
