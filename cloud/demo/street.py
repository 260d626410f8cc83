"""A made-up street: homes with plausible load over a year, the same for the same seed.

Everything here is simulated. Each home has a base load, cooking and evening use, and some have
an electric car, a heat pump or a roof. Weather and clouds are shared by the street, as in life.

The shapes are chosen by hand to look like homes; they are not fitted to measured data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

STEP_S = 900
STEPS_PER_DAY = 96
ZONE = "Europe/Vienna"
LATITUDE_DEG = 48.2

FIRST_NAMES = (
    "Ada", "Bruno", "Clara", "David", "Edda", "Fynn", "Greta", "Hamid", "Ines", "Jonas",
    "Kaya", "Lukas", "Mira", "Nils", "Olga", "Paul", "Rosa", "Samir", "Tilda", "Umut",
    "Vera", "Wim", "Xenia", "Yusuf", "Zora", "Anton", "Berta", "Cem", "Dora", "Emil",
)  # fmt: skip
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One home of the street.

    Args:
        number: House number, from 1.
        person: Made-up first name of the member.
        base_w: Power that never rests [W].
        daily_kwh: Energy of cooking, light and machines on a usual day [kWh].
        car_kw: Charging power of its car [kW], 0 without one.
        heat_pump_kw: Electric power of its heat pump on the coldest day [kW], 0 without one.
        roof_kwp: Size of its solar roof [kWp], 0 without one.
        old_tariff: Which tariff it had before.
    """

    number: int
    person: str
    base_w: float
    daily_kwh: float
    car_kw: float
    heat_pump_kw: float
    roof_kwp: float
    old_tariff: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the grid meter of one home counts.

    Args:
        start: Start of the first interval, aware UTC.
        import_wh: Bought per interval [Wh], shape (n,).
        export_wh: Sold per interval [Wh], shape (n,).
    """

    start: datetime
    import_wh: IntArray
    export_wh: IntArray


def make_homes(count: int, seed: int) -> list[Home]:
    """Draw the homes of the street."""
    dice = np.random.default_rng(seed)
    return [
        Home(
            number=number,
            person=FIRST_NAMES[(number - 1) % len(FIRST_NAMES)],
            base_w=float(dice.uniform(110, 210)),
            daily_kwh=float(dice.uniform(4.0, 8.5)),
            car_kw=3.7 if number % 3 == 0 else 0.0,
            heat_pump_kw=float(dice.uniform(1.4, 2.2)) if number % 3 == 1 else 0.0,
            roof_kwp=float(dice.uniform(3.5, 7.0)) if number % 2 == 0 else 0.0,
            old_tariff=("default", "default", "night", "green")[number % 4],
        )
        for number in range(1, count + 1)
    ]


def make_loads(homes: list[Home], *, start: datetime, steps: int, seed: int) -> dict[int, Load]:
    """Load of each home, by house number.

    Args:
        homes: The street.
        start: First interval, aware UTC on a quarter hour.
        steps: Number of quarter hours.
        seed: Same seed, same street.
    """
    sky = _Sky.over(start, steps, seed)
    loads = {}
    for home in homes:
        dice = np.random.default_rng((seed, home.number))
        use_w = _use_w(home, sky, dice)
        roof_w = home.roof_kwp * 1000 * 0.82 * sky.sun * dice.uniform(0.92, 1.08)
        net_wh = (use_w - roof_w) * STEP_S / 3600
        loads[home.number] = Load(
            start=start,
            import_wh=_whole(np.maximum(net_wh, 0.0)),
            export_wh=_whole(np.maximum(-net_wh, 0.0)),
        )
    return loads


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sky:
    """Shared by the street: local clock, outside temperature and sun, each of shape (n,)."""

    day: IntArray
    hour: FloatArray
    weekend: npt.NDArray[np.bool_]
    outside_c: FloatArray
    sun: FloatArray

    @classmethod
    def over(cls, start: datetime, steps: int, seed: int) -> _Sky:
        zone = ZoneInfo(ZONE)
        dice = np.random.default_rng((seed, 0))
        utc_h = (start.hour + start.minute / 60) + np.arange(steps) * STEP_S / 3600
        days_ahead = np.floor(utc_h / 24).astype(np.int64)
        offset_h = np.empty(steps)
        midnight = start.replace(hour=0, minute=0)
        for ahead in range(int(days_ahead[-1]) + 1):
            noon = (midnight + timedelta(days=ahead, hours=12)).astimezone(zone)
            shift = noon.utcoffset() or timedelta()
            offset_h[days_ahead == ahead] = shift.total_seconds() / 3600
        local_h = utc_h + offset_h
        day = np.floor(local_h / 24).astype(np.int64)
        hour = local_h - 24 * day
        ordinal = midnight.toordinal() + day
        year_turn = 2 * np.pi * ((midnight.timetuple().tm_yday + day) / 365.25)
        chill = np.repeat(dice.normal(0, 3.0, int(day[-1]) + 2), 1)[day]
        outside_c = (
            10.5
            - 10.5 * np.cos(year_turn - 0.35)
            + chill
            - 3.5 * np.cos((hour - 15) / 12 * np.pi + np.pi)
        )
        cloud = np.clip(dice.beta(1.6, 1.1, int(day[-1]) + 2), 0.12, 1.0)[day]
        return cls(
            day=day,
            hour=hour,
            weekend=(ordinal + 6) % 7 >= 5,
            outside_c=outside_c,
            sun=_sun(utc_h + 1.09, year_turn) * cloud * dice.uniform(0.9, 1.0, steps),
        )


def _sun(solar_h: FloatArray, year_turn: FloatArray) -> FloatArray:
    """Share of a roof's rating that a clear sky gives: sine of the sun's height, tilted south."""
    declination = -0.409 * np.cos(year_turn + 0.17)
    latitude = math.radians(LATITUDE_DEG - 18)
    hour_angle = (solar_h % 24 - 12) / 12 * np.pi
    height = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(
        declination
    ) * np.cos(hour_angle)
    clear: FloatArray = np.clip(height, 0.0, None) ** 1.15
    return clear


def _use_w(home: Home, sky: _Sky, dice: np.random.Generator) -> FloatArray:
    steps = len(sky.hour)
    days = int(sky.day[-1]) + 2
    busy = dice.lognormal(0, 0.22, days)[sky.day]
    morning = np.where(sky.weekend, 9.4, dice.uniform(6.6, 7.6))
    evening = dice.uniform(18.2, 19.6)
    shape = (
        0.55 * np.exp(-((sky.hour - morning) ** 2) / 1.6)
        + 1.0 * np.exp(-((sky.hour - evening) ** 2) / 5.5)
        + 0.30 * np.exp(-((sky.hour - 12.6) ** 2) / 3.0)
        + 0.12 * ((sky.hour > 8) & (sky.hour < 22))
    )
    flicker = dice.gamma(2.2, 1 / 2.2, steps)
    active_w = home.daily_kwh * 1000 / 5.2 * shape * busy * flicker
    season = 1 + 0.12 * np.cos((sky.outside_c - 2) / 25 * np.pi)
    use_w = home.base_w * dice.uniform(0.85, 1.15, steps) + active_w * season
    if home.heat_pump_kw:
        demand = np.clip((15.5 - sky.outside_c) / 22, 0, 1)
        night = np.where((sky.hour < 5) | (sky.hour > 22), 0.75, 1.0)
        use_w += home.heat_pump_kw * 1000 * demand * night * dice.uniform(0.6, 1.2, steps)
    if home.car_kw:
        use_w += _car_w(home, sky, dice)
    return use_w


def _car_w(home: Home, sky: _Sky, dice: np.random.Generator) -> FloatArray:
    """Charging after midnight on about half of the days, for one to three hours."""
    days = int(sky.day[-1]) + 2
    charges = dice.random(days) < 0.5
    begins_h = dice.uniform(0.2, 2.0, days)
    lasts_h = dice.uniform(1.0, 3.2, days)
    on = (
        charges[sky.day]
        & (sky.hour >= begins_h[sky.day])
        & (sky.hour < (begins_h + lasts_h)[sky.day])
    )
    return np.where(on, home.car_kw * 1000, 0.0)


def _whole(energy_wh: FloatArray) -> IntArray:
    """Whole Wh whose running sum never strays from the exact one by more than one Wh."""
    counter = np.floor(np.cumsum(energy_wh) + 1e-9).astype(np.int64)
    return np.diff(counter, prepend=0)
