"""What a solar array yields in a typical year, hour by hour.

The chain is the one PVWatts uses: sun position, Perez sky diffuse, reflection at the glass, cell
temperature from the installed nominal operating temperature, a linear power model, fixed losses
and an inverter curve.

Source: Dobos, "PVWatts Version 5 Manual" (NREL/TP-6A20-62641, 2014) for the chain and the losses;
PVWatts version 8 for the module types; carried out with pvlib.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pvlib import atmosphere, iam, inverter, irradiance, pvsystem, solarposition, temperature

from solar_fund.errors import ProjectInvalid
from solar_fund.projects.weather_files import HOURS_PER_YEAR, WeatherYear

Floats = npt.NDArray[np.float64]
Mounting = Literal["rack", "roof"]
ModuleType = Literal["standard", "premium", "thin film"]

# Power lost per kelvin above 25 °C, and module efficiency. Source: PVWatts version 8.
MODULES: dict[ModuleType, tuple[float, float]] = {
    "standard": (-0.0037, 0.19),
    "premium": (-0.0035, 0.21),
    "thin film": (-0.0032, 0.18),
}
# Installed nominal operating cell temperature [°C]. Source: PVWatts manual, table 3.
NOCT_C: dict[Mounting, float] = {"rack": 45.0, "roof": 49.0}
INVERTER_EFFICIENCY_REFERENCE = 0.9637
# Crystalline modules carry an anti-reflective coating. Source: PVWatts version 8; index of
# refraction as in pvlib's `iam.physical`.
AR_COATED: frozenset[ModuleType] = frozenset({"standard", "premium"})
AR_COATING_INDEX = 1.29


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarLosses:
    """Shares of DC energy lost, one by one, in percent.

    The defaults are those of PVWatts and give 14.08 % together.
    """

    soiling_pct: float = 2.0
    shading_pct: float = 3.0
    snow_pct: float = 0.0
    mismatch_pct: float = 2.0
    wiring_pct: float = 2.0
    connections_pct: float = 0.5
    light_induced_pct: float = 1.5
    nameplate_pct: float = 1.0
    age_pct: float = 0.0
    availability_pct: float = 3.0

    @property
    def total_pct(self) -> float:
        """All losses together [%]; they multiply, they do not add."""
        kept = 1.0
        for name in self.__slots__:
            kept *= 1 - getattr(self, name) / 100
        return (1 - kept) * 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarArray:
    """Modules that look one way, behind their inverter.

    Attributes:
        peak_kw: Rated DC power [kWp].
        tilt_deg: 0 flat, 90 upright.
        azimuth_deg: Clockwise from north: 90 east, 180 south, 270 west.
        mounting: Open rack, or close to a roof and so warmer.
        module: Module type.
        dc_ac_ratio: DC rating over inverter rating.
        inverter_efficiency: At rated power.
    """

    peak_kw: float
    tilt_deg: float
    azimuth_deg: float
    mounting: Mounting = "roof"
    module: ModuleType = "standard"
    dc_ac_ratio: float = 1.15
    inverter_efficiency: float = 0.96

    def __post_init__(self) -> None:
        bounds = (
            ("peak_kw", self.peak_kw, 1e-3, 1e6),
            ("tilt_deg", self.tilt_deg, 0, 90),
            ("azimuth_deg", self.azimuth_deg, 0, 360),
            ("dc_ac_ratio", self.dc_ac_ratio, 0.5, 3),
            ("inverter_efficiency", self.inverter_efficiency, 0.5, 1),
        )
        for name, found, lowest, highest in bounds:
            if not lowest <= found <= highest:
                raise ProjectInvalid(f"{name} is {found}: it must be from {lowest} to {highest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarYear:
    """The yield of a typical first year.

    Attributes:
        hourly_kwh: AC energy by hour of the weather year (UTC), shape (8760,).
        peak_kw: Rated DC power [kWp].
        temperature_model: In words, for the assumptions table.
        losses_pct: DC losses together [%].
    """

    hourly_kwh: Floats
    peak_kw: float
    temperature_model: str
    losses_pct: float

    @property
    def annual_kwh(self) -> float:
        """AC energy of the year [kWh]."""
        return float(self.hourly_kwh.sum())

    def monthly_kwh(self, weather: WeatherYear, timezone: str = "UTC") -> tuple[float, ...]:
        """AC energy of each month of a time zone, January first [kWh]."""
        months = weather.hour_start.tz_convert(timezone).month.to_numpy()
        return tuple(float(self.hourly_kwh[months == month].sum()) for month in range(1, 13))


def solar_year(
    arrays: tuple[SolarArray, ...], weather: WeatherYear, losses: SolarLosses | None = None
) -> SolarYear:
    """Model the first year of one or more arrays.

    Raises:
        ProjectInvalid: There is no array.
    """
    if not arrays:
        raise ProjectInvalid("the project has no [[array]]: describe at least one")
    lost = losses or SolarLosses()
    total = np.zeros(HOURS_PER_YEAR)
    for array in arrays:
        total += _array_kwh(array, weather, lost)
    # An hour that began late lies partly in the next hour of UTC.
    late = weather.minutes_late / 60
    total = (1 - late) * total + late * np.roll(total, 1)
    noct = sorted({NOCT_C[array.mounting] for array in arrays})
    return SolarYear(
        hourly_kwh=total,
        peak_kw=sum(array.peak_kw for array in arrays),
        temperature_model=f"NOCT as in SAM, installed NOCT {', '.join(f'{t:g}' for t in noct)} °C",
        losses_pct=lost.total_pct,
    )


def _array_kwh(array: SolarArray, weather: WeatherYear, losses: SolarLosses) -> Floats:
    sun = solarposition.get_solarposition(
        weather.sun_at, weather.latitude_deg, weather.longitude_deg, weather.altitude_m
    )
    zenith = sun["apparent_zenith"].to_numpy()
    azimuth = sun["azimuth"].to_numpy()
    poa = irradiance.get_total_irradiance(
        array.tilt_deg,
        array.azimuth_deg,
        zenith,
        azimuth,
        weather.dni_w_per_m2,
        weather.ghi_w_per_m2,
        weather.dhi_w_per_m2,
        dni_extra=irradiance.get_extra_radiation(weather.sun_at.day_of_year.to_numpy()),
        airmass=np.asarray(atmosphere.get_relative_airmass(zenith)),
        model="perez",
        albedo=weather.albedo,
    )
    angle = irradiance.aoi(array.tilt_deg, array.azimuth_deg, zenith, azimuth)
    direct = np.nan_to_num(np.asarray(poa["poa_direct"]))
    sky = np.nan_to_num(np.asarray(poa["poa_sky_diffuse"]))
    ground = np.nan_to_num(np.asarray(poa["poa_ground_diffuse"]))
    # Light from all over the sky meets the glass at slanting angles and loses a little, too.
    coating = {"n_ar": AR_COATING_INDEX} if array.module in AR_COATED else {}
    kept = iam.marion_diffuse("physical", array.tilt_deg, **coating)
    beam_kept = np.nan_to_num(iam.physical(angle, **coating))
    effective = direct * beam_kept + sky * kept["sky"] + ground * kept["ground"]
    gamma_per_k, efficiency = MODULES[array.module]
    cell_c = temperature.noct_sam(
        direct + sky + ground,
        weather.air_temperature_c,
        weather.wind_speed_m_per_s,
        noct=NOCT_C[array.mounting],
        module_efficiency=efficiency,
    )
    dc_kw = pvsystem.pvwatts_dc(effective, cell_c, array.peak_kw, gamma_per_k)
    dc_kw = np.maximum(dc_kw, 0.0) * (1 - losses.total_pct / 100)
    ac_rated_kw = array.peak_kw / array.dc_ac_ratio
    ac_kw = inverter.pvwatts(
        dc_kw,
        ac_rated_kw / array.inverter_efficiency,
        array.inverter_efficiency,
        INVERTER_EFFICIENCY_REFERENCE,
    )
    return np.nan_to_num(np.asarray(ac_kw, dtype=np.float64))
