"""How fast many homes are priced under many tariffs, next to PySAM in the same run.

PySAM bills one home per call and also writes outputs by the hour that we do not make; its time is
that of `execute()` alone, without setting the inputs. Ratios are per bill at the same step.
"""

import random
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
from numba import get_num_threads, njit, prange, set_num_threads

from tariff_bargainer.billing.bill import bill
from tariff_bargainer.billing.cells import Portfolio, cell_grid, reduce_loads
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.billing.sweep import sweep
from tariff_bargainer.tariffs.tariff import EnergyCharge, IndexLink, Period, Tariff, Tier
from tariff_bargainer.tariffs.urdb import parse_urdb
from tests.tariff_bargainer.billing.pysam_oracle import (
    FIXED_ZONE,
    START,
    as_json,
    prepared_model,
    random_load_kw,
    random_urdb,
    rates_of,
)

HOMES = 1_000
MANY_HOMES = 10_000
TARIFFS = 20
INTERVALS = 35_040
STEP_S = 900
REPEATS = 5


def _best_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Shortest of a few runs [s]; the machine is shared, so the mean would measure others."""
    times_s = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - start)
    return min(times_s)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one piece of work takes.

    Attributes:
        wall_s: Time on the clock [s].
        cpu_s: Processor time of all threads [s], which what else runs on the machine hardly moves.
    """

    wall_s: float
    cpu_s: float


def _best(work: Callable[[], object], repeats: int) -> Cost:
    """Least of a few runs, of either time."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Cost(min(walls), min(cpus))


def _portfolio(n_homes: int) -> Portfolio:
    rng = np.random.default_rng(7)
    base_wh = (random_load_kw(1, 4) * 1000 * STEP_S / 3600).astype(np.float32)
    loads_wh = np.empty((n_homes, INTERVALS), dtype=np.float32)
    scale = rng.uniform(0.5, 1.5, (n_homes, 1)).astype(np.float32)
    for shift in range(32):
        # Homes differ in size and in when their day begins.
        loads_wh[shift::32] = np.roll(base_wh, 3 * shift - 48) * scale[shift::32]
    return Portfolio(start=START, step_s=STEP_S, import_wh=loads_wh)


def _rates(*, tiers: int, demand: bool) -> list[dict[str, Any]]:
    """Draw rates with this many blocks, without minimum bills or ratchets."""
    drawn = []
    seed = 0
    while len(drawn) < TARIFFS:
        rate = random_urdb(random.Random(seed))
        seed += 1
        first = rate["energyratestructure"][0]
        plain = first[0]["unit"] == "kWh" and len(first) == tiers and "lookbackpercent" not in rate
        if plain and (not demand or "demandratestructure" in rate or "flatdemandstructure" in rate):
            drawn.append(rate)
    return drawn


def _pysam(rates: list[dict[str, Any]], metering_option: int) -> Cost:
    """What PySAM needs for one bill; it has one thread."""
    load_kw = random_load_kw(1, 4)
    costs = []
    for rate in rates[:5]:
        with redirect_stdout(StringIO()):
            model = prepared_model(load_kw, np.zeros(INTERVALS), rates_of(rate, metering_option))
        costs.append(_best(lambda model=model: model.execute(0), 3))
    return Cost(*np.mean([[cost.wall_s, cost.cpu_s] for cost in costs], axis=0).tolist())


def _ratio(
    name: str,
    goal: float,
    portfolio: Portfolio,
    tariffs: list[Tariff],
    pysam: Cost,
    **options: Any,
) -> dict[str, Any]:
    result = sweep(portfolio, tariffs, **options)
    repeats = 3 * REPEATS if portfolio.n_homes <= HOMES else 3
    took_s = _best_s(lambda: sweep(portfolio, tariffs, **options), repeats)
    bills = portfolio.n_homes * len(tariffs)
    threads = get_num_threads()
    set_num_threads(1)
    try:
        alone_s = _best(lambda: sweep(portfolio, tariffs, **options), repeats).cpu_s
    finally:
        set_num_threads(threads)
    return {
        "name": name,
        "value": round(pysam.wall_s * bills / took_s, 1),
        "unit": "x PySAM execute",
        "goal": goal,
        "detail": (
            f"{portfolio.n_homes} homes x {len(tariffs)} tariffs x {INTERVALS} intervals in "
            f"{took_s:.4f} s ({bills / took_s:,.0f} bills/s); PySAM {pysam.wall_s * 1e3:.2f} ms/bill; "
            f"{pysam.cpu_s * bills / alone_s:,.0f} x in processor time, one thread each; "
            f"{sum(map(bool, result.exact))} tariffs priced home by home"
        ),
    }


@njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
def _read_all(loads: Any, sums: Any) -> None:
    """Read every value once, as fast as memory gives it."""
    for home in prange(loads.shape[0]):
        total = np.float32(0)
        row = loads[home]
        for at in range(len(row)):
            total += row[at]
        sums[home] = total


def _reduction(portfolio: Portfolio) -> dict[str, Any]:
    grid = cell_grid(portfolio, "Europe/Berlin")
    loads = portfolio.import_wh
    sums = np.empty(len(loads), dtype=np.float32)
    _read_all(loads, sums)
    reduce_loads(loads, grid, STEP_S)
    # In slices and in turns, each slice over the whole run's best, so that what else runs on the
    # machine disturbs both alike and a slice is short enough to be left alone once.
    slices = [loads[low : low + HOMES // 10] for low in range(0, len(loads), HOMES // 10)]
    best_s = np.full((2, len(slices)), np.inf)
    for _ in range(6 * REPEATS):
        for number, part in enumerate(slices):
            read = partial(_read_all, part, sums[: len(part)])
            reduce = partial(reduce_loads, part, grid, STEP_S, numba=True)
            best_s[0, number] = min(best_s[0, number], _best_s(read, 1))
            best_s[1, number] = min(best_s[1, number], _best_s(reduce, 1))
    read_s, reduce_s = best_s.sum(axis=1)
    size_gb = loads.nbytes / 1e9
    return {
        "name": "interval reduction to cells and peaks",
        "value": round(float(100 * read_s / reduce_s), 1),
        "unit": "% of read bandwidth",
        "goal": 25,
        "detail": f"{size_gb / reduce_s:.1f} GB/s; reading alone {size_gb / read_s:.1f} GB/s",
    }


def _spot_tariffs() -> tuple[list[Tariff], dict[str, IndexSeries]]:
    rng = np.random.default_rng(3)
    hours = pd.date_range(START, periods=8760, freq="h")
    price = pd.Series(np.round(rng.normal(0.05, 0.02, 8760), 5), index=hours)
    open_block = (Period(name="all", tiers=(Tier(rate=Decimal("0.08")),)),)
    tariffs = [
        Tariff(
            name=f"spot {number}",
            currency="EUR",
            timezone=FIXED_ZONE,
            energy=(
                EnergyCharge(
                    name="energy",
                    periods=open_block,
                    index=IndexLink(
                        series="day-ahead",
                        markup_per_kwh=Decimal(number) / 1000,
                        cap_per_kwh=Decimal("0.2"),
                        floor_per_kwh=Decimal(0),
                    ),
                ),
            ),
        )
        for number in range(TARIFFS)
    ]
    return tariffs, {"day-ahead": IndexSeries.from_series(price)}


def _exact_bill(portfolio: Portfolio, tariff: Tariff, pysam: Cost) -> dict[str, Any]:
    profile = portfolio.profile(0)
    took_s = _best_s(lambda: bill(profile, tariff))
    return {
        "name": "one exact bill",
        "value": round(pysam.wall_s / took_s, 2),
        "unit": "x PySAM execute",
        "goal": None,
        "detail": f"{took_s * 1e3:.2f} ms, whole µWh and exact fractions",
    }


def _many_homes(tariffs: list[Tariff], pysam: Cost) -> dict[str, Any]:
    portfolio = _portfolio(MANY_HOMES)
    row = _ratio("sweep of 10,000 homes in memory", 2000, portfolio, tariffs, pysam)
    row["detail"] += f"; loads {portfolio.import_wh.nbytes / 1e9:.2f} GB"
    return row


def run() -> list[dict[str, Any]]:
    """Measure, and give one row per figure."""
    portfolio = _portfolio(HOMES)
    plain = _rates(tiers=1, demand=True)
    tiered = [replace_demand(rate) for rate in _rates(tiers=3, demand=False)]
    by_plain, by_tiered = _pysam(plain, 2), _pysam(tiered, 2)
    priced = [parse_urdb(as_json(rate), timezone=FIXED_ZONE) for rate in plain]
    ordered = [parse_urdb(as_json(rate), timezone=FIXED_ZONE) for rate in tiered]
    spot, index = _spot_tariffs()
    return [
        _ratio("flat, time-of-use and demand sweep", 2000, portfolio, priced, by_plain),
        _ratio(
            "blocks in the order of use", 200, portfolio, ordered, by_tiered, metering="net-billing"
        ),
        _ratio("spot-linked, one index", 500, portfolio, spot, by_plain, index=index),
        _reduction(portfolio),
        _exact_bill(portfolio, replace(priced[0], metering="none"), by_plain),
        _many_homes(priced, by_plain),
    ]


def replace_demand(rate: dict[str, Any]) -> dict[str, Any]:
    """Leave demand out, so that blocks alone are timed."""
    return {key: value for key, value in rate.items() if "demand" not in key}


if __name__ == "__main__":
    for row in run():
        print(row)  # noqa: T201 - a benchmark prints
