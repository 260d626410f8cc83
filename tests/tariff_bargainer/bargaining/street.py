"""A made-up street: seeded hourly homes and spot prices that look enough like real ones."""

from datetime import UTC, datetime

import numpy as np

from tariff_bargainer.profiles.intervals import LoadProfile

START = datetime(2025, 1, 1, tzinfo=UTC)


def hourly_homes(count: int, *, days: int = 364, seed: int = 1) -> dict[str, LoadProfile]:
    rng = np.random.default_rng(seed)
    hour = np.arange(days * 24) % 24
    day = np.arange(days * 24) // 24
    season = 1 + 0.3 * np.cos(2 * np.pi * day / 365)
    evening = np.exp(-(((hour - 19) / 2.5) ** 2))
    homes = {}
    for number in range(count):
        base, cooking = rng.uniform(80, 250), rng.uniform(200, 1200)
        noise = rng.gamma(2.0, 0.5, size=hour.size)
        night = rng.uniform(0, 2500) * ((hour < 5) & (rng.random() < 0.3))
        load = (base + cooking * evening + night) * season * noise
        homes[f"home-{number:03d}"] = LoadProfile(
            start=START, step_s=3600, import_wh=np.rint(load).astype(np.int64)
        )
    return homes


def spot_per_mwh(count: int, *, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hour = np.arange(count) % 24
    shape = 20 * np.exp(-(((hour - 19) / 3) ** 2)) - 15 * np.exp(-(((hour - 13) / 3) ** 2))
    weekly = np.repeat(rng.normal(0, 12, size=count // 168 + 1), 168)[:count]
    return 80 + shape + weekly + rng.normal(0, 8, size=count)


def pool(homes: dict[str, LoadProfile]) -> LoadProfile:
    return LoadProfile(
        start=START,
        step_s=3600,
        import_wh=sum(home.import_wh for home in homes.values()),
    )
