"""The quick sweep says what the exact bill says, with and without compiled kernels."""

import random
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.billing.bill import bill
from tariff_bargainer.billing.cells import Portfolio, cell_grid, reduce_loads
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.billing.kernels import run_sums
from tariff_bargainer.billing.sweep import SweepResult, sweep
from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.tariffs.tariff import Tariff
from tariff_bargainer.tariffs.urdb import parse_urdb
from tests.tariff_bargainer.billing.builders import tariff
from tests.tariff_bargainer.billing.pysam_oracle import (
    FIXED_ZONE,
    as_json,
    profile_of,
    random_generation_kw,
    random_load_kw,
    random_urdb,
)
from tests.tariff_bargainer.billing.test_bill_rules import LINKED, spot

HOMES = 3


def portfolio(steps: int, *, solar: bool) -> Portfolio:
    return Portfolio.of(
        [
            profile_of(
                random_load_kw(home, steps),
                random_generation_kw(home, steps, 3.0 * solar * home),
            )
            for home in range(HOMES)
        ]
    )


def assert_agrees(
    homes: Portfolio,
    tariffs: list[Tariff],
    made: SweepResult,
    metering: str | None,
    index: dict[str, IndexSeries] | None = None,
) -> None:
    for position, priced in enumerate(tariffs):
        for home in range(homes.n_homes):
            exact = bill(homes.profile(home), priced, metering=metering, index=index).annual
            scale = max(1.0, abs(float(exact.total)))
            assert abs(made.total[home, position] - float(exact.total)) < 1e-9 * scale
            for name, table in made.parts.items():
                found, wanted = table[home, position], float(getattr(exact, name))
                assert abs(found - wanted) < 1e-9 * scale, (name, position)


@pytest.mark.parametrize("metering", ["none", "net-billing"])
@pytest.mark.parametrize("steps", [1, 4])
def test_random_rates(metering: str, steps: int) -> None:
    homes = portfolio(steps, solar=True)
    tariffs = [
        parse_urdb(as_json(random_urdb(random.Random(seed + steps * 50))), timezone=FIXED_ZONE)
        for seed in range(10)
    ]
    made = sweep(homes, tariffs, metering=metering, compiled=False)
    assert not any(made.exact)
    assert_agrees(homes, tariffs, made, metering)


RULES = [
    (
        '[[energy]]\ntier_basis = "quarter"\ntiers = [{ upto_kwh = 900, rate_per_kwh = 0.1 }, '
        "{ rate_per_kwh = 0.3 }]\n"
    ),
    (
        '[[energy]]\ntier_scope = "period"\n[[energy.periods]]\nname = "a"\n'
        'windows = [{ days = ["sat"] }]\n'
        "tiers = [{ upto_kwh = 40, rate_per_kwh = 0.1 }, { rate_per_kwh = 0.3 }]\n"
        '[[energy.periods]]\nname = "b"\nrate_per_kwh = 0.2\n'
    ),
    (
        '[[energy]]\ntier_basis = "day"\ntier_order = "chronological"\n'
        "tiers = [{ upto_kwh = 8, rate_per_kwh = 0.1 }, { rate_per_kwh = 0.3 }]\n"
    ),
    (
        'holidays = ["05-01"]\n[[energy]]\n[[energy.periods]]\nname = "h"\nrate_per_kwh = 1\n'
        'windows = [{ days = ["holidays"] }]\n[[energy.periods]]\nname = "o"\nrate_per_kwh = 0.2\n'
    ),
    (
        '[[energy]]\n[[energy.periods]]\nname = "n"\nrate_per_kwh = 0.1\n'
        'windows = [{ from = "00:30", to = "07:30" }]\n'
        '[[energy.periods]]\nname = "d"\nrate_per_kwh = 0.3\n'
    ),
    (
        "[[energy]]\nrate_per_kwh = 0.2\n[[demand]]\nwindow_min = 30\nrate_per_kw = 5\n"
        "minimum_kw = 2\nratchet = { percent = 90 }\n"
    ),
    (
        '[[energy]]\nrate_per_kwh = 0.1\n[[minimum]]\namount = 55\n[[taxes]]\nname = "l"\n'
        'per_kwh = 0.01\nabove_kwh = 100\n[[taxes]]\nname = "v"\npercent = 20\non = ["energy", "tax"]\n'
        '[[discounts]]\nname = "d"\npercent = 5\nfirst_months = 3\n[[standing]]\namount = 0.2\n'
        'per = "day"\n'
    ),
    (
        "[[energy]]\nrate_per_kwh = 0.2\n[[demand]]\nrate_per_kw = 5\n"
        "ratchet = { percent_by_month = [90, 20, 30, 40, 50, 60, 95, 80, 10, 20, 30, 40] }\n"
    ),
    "[[energy]]\nrate_per_kwh = 0.2\n[[demand]]\nn_highest = 3\nrate_per_kw = 5\n",
    (
        '[[energy]]\n[[energy.periods]]\nname = "s"\nrate_per_kwh = 0.1\n'
        'windows = [{ season = "06-15..09-14" }]\n'
        '[[energy.periods]]\nname = "w"\nrate_per_kwh = 0.3\n'
    ),
    "[[energy]]\ntiers = [{ upto_kwh = 50, rate_per_kwh = 1 }, { upto_kwh = 1e6, rate_per_kwh = 2 }]\n",
    "[[energy]]\nrate_per_kwh = 1\n[[demand]]\ntiers = [{ upto_kw = 1e6, rate_per_kw = 2 }]\n",
]


compiling = pytest.mark.xdist_group("compiling")
"""Numba takes half a minute of a processor to compile; one worker does it for all."""


def test_every_kind_of_rule_in_a_zone_with_clock_changes() -> None:
    homes = portfolio(4, solar=False)
    tariffs = [tariff(rules, "America/Denver") for rules in RULES]
    made = sweep(homes, tariffs, compiled=False)
    assert [bool(reason) for reason in made.exact] == [False] * 8 + [True] * 4
    assert_agrees(homes, tariffs, made, None)


def test_spot_prices() -> None:
    homes = portfolio(4, solar=True)
    rng = np.random.default_rng(0)
    index = {"spot": spot(np.round(rng.normal(0.1, 0.1, 8760), 5).tolist(), "2018-01-01T07:00Z")}
    tariffs = [tariff(LINKED, FIXED_ZONE)]
    made = sweep(homes, tariffs, index=index, compiled=False)
    assert_agrees(homes, tariffs, made, None, index)


@pytest.mark.slow
@compiling
@pytest.mark.parametrize("steps", [1, 4])
def test_compiled_kernels_give_the_same_bits(steps: int) -> None:
    homes = portfolio(steps, solar=True)
    tariffs = [
        parse_urdb(as_json(random_urdb(random.Random(seed))), timezone=FIXED_ZONE)
        for seed in range(25)
    ]
    tariffs += [tariff(rules, "Europe/Berlin") for rules in RULES[: 7 if steps == 4 else 4]]
    for metering in ("none", "net-billing"):
        plain = sweep(homes, tariffs, metering=metering, compiled=False)
        fast = sweep(homes, tariffs, metering=metering, compiled=True)
        for name in plain.parts:
            assert np.array_equal(plain.parts[name], fast.parts[name]), name


@pytest.mark.slow
@compiling
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("step_s", "slot"), [(900, 60), (900, 30), (1800, 60), (300, 60)])
def test_compiled_reductions_give_the_same_bits(dtype: type, step_s: int, slot: int) -> None:
    rng = np.random.default_rng(4)
    loads = (rng.random((3, 40 * 86_400 // step_s)) * 100).astype(dtype)
    start = datetime(2024, 3, 1, tzinfo=UTC)
    grid = cell_grid(
        Portfolio(start=start, step_s=step_s, import_wh=loads), "Europe/Paris", slot_minutes=slot
    )
    for window_s in {step_s, 1800}:
        plain = reduce_loads(loads, grid, step_s, window_s=window_s, numba=False)
        fast = reduce_loads(loads, grid, step_s, window_s=window_s, numba=True)
        assert np.array_equal(plain.energy_kwh, fast.energy_kwh)
        assert np.array_equal(plain.peak_kw, fast.peak_kw)
    plain_runs = run_sums(loads, grid.run_start, compiled=False)
    assert np.array_equal(plain_runs, run_sums(loads, grid.run_start, compiled=True))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]),
    st.integers(1, 80),
)
def test_reduction_keeps_every_wh_and_the_highest_interval(seed: int, zone: str, days: int) -> None:
    rng = np.random.default_rng(seed)
    loads = rng.integers(0, 5000, (2, days * 48)).astype(np.float64)
    homes = Portfolio(start=datetime(2023, 10, 1, tzinfo=UTC), step_s=1800, import_wh=loads)
    grid = cell_grid(homes, zone, slot_minutes=30)
    cells = reduce_loads(loads, grid, 1800, numba=False)
    assert np.allclose(cells.energy_kwh.sum(axis=1) * 1000, loads.sum(axis=1), rtol=1e-14)
    assert np.allclose(cells.peak_kw.max(axis=1), loads.max(axis=1) / 500, rtol=1e-14)


def test_a_gap_or_a_wrong_shape_is_refused() -> None:
    start = datetime(2018, 1, 1, tzinfo=UTC)
    loads = np.ones((2, 48))
    loads[1, 5] = np.nan
    with pytest.raises(InsufficientProfile, match="missing intervals"):
        Portfolio(start=start, step_s=3600, import_wh=loads)
    with pytest.raises(InvalidProfile, match="float32 or float64"):
        Portfolio(start=start, step_s=3600, import_wh=np.ones((2, 48), dtype=np.int64))  # type: ignore[arg-type]


def test_progress_counts_every_tariff() -> None:
    seen: list[tuple[int, int]] = []
    homes = portfolio(1, solar=False)
    tariffs = [tariff("[[energy]]\nrate_per_kwh = 1\n", FIXED_ZONE)] * 3
    sweep(homes, tariffs, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
