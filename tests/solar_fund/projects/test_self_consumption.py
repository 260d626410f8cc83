import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from solar_fund.errors import InputFileInvalid
from solar_fund.projects.self_consumption import (
    PooledLoad,
    own_use,
    own_use_in_order,
    read_load,
    solar_on_load,
)

energies = arrays(np.int64, 48, elements=st.integers(0, 50_000))


def load_of(energy_wh, step_s: int = 1800) -> PooledLoad:
    start = pd.date_range("2025-06-01", periods=len(energy_wh), freq=f"{step_s}s", tz="UTC")
    return PooledLoad(source="test", start=start, step_s=step_s, energy_wh=energy_wh)


@given(energies, energies)
@settings(deadline=None)
def test_own_use_is_the_sum_of_minima_exactly(load_wh, solar_wh) -> None:
    use = own_use(load_of(load_wh), solar_wh)
    assert use.own_wh == sum(map(min, load_wh.tolist(), solar_wh.tolist()))
    assert use.own_wh + use.export_wh == use.solar_wh == solar_wh.sum()
    assert use.peak_after_kw <= use.peak_before_kw


@given(energies, st.lists(energies, min_size=1, max_size=4))
@settings(deadline=None)
def test_marginal_own_uses_add_up_to_the_common_own_use(load_wh, projects) -> None:
    uses = own_use_in_order(load_of(load_wh), projects)
    together = own_use(load_of(load_wh), sum(projects))
    assert sum(use.own_wh for use in uses) == together.own_wh
    turned = own_use_in_order(load_of(load_wh), projects[::-1])
    assert sum(use.own_wh for use in turned) == together.own_wh


@given(
    arrays(np.float64, 8760, elements=st.floats(0, 100, width=32), fill=st.just(0.3)),
    st.sampled_from([300, 900, 1800, 3600]),
)
@settings(max_examples=25, deadline=None)
def test_no_energy_is_lost_when_hours_are_spread(hourly_kwh, step_s) -> None:
    load = load_of(np.zeros(24 * 3600 // step_s, dtype=np.int64), step_s)
    spread = solar_on_load(hourly_kwh, load)
    first = 151 * 24
    assert abs(int(spread.sum()) - hourly_kwh[first : first + 24].sum() * 1000) <= 1
    assert (spread >= 0).all()


HEAD = "interval_start,import_wh\n"


def written(tmp_path, text: str):
    path = tmp_path / "load.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("column", "figure"), [("import_wh", "500"), ("import_kwh", "0.5"), ("import_kw", "1")]
)
def test_a_load_reads_in_any_of_its_units(tmp_path, column, figure) -> None:
    path = written(
        tmp_path,
        f"interval_start,{column},note\n2025-01-01T00:00+01:00,{figure},x\n"
        f"2025-01-01T00:30+01:00,{figure},y\n",
    )
    load = read_load(path)
    assert load.energy_wh.tolist() == [500, 500]
    assert str(load.start[0]) == "2024-12-31 23:00:00+00:00"
    assert (load.step_s, load.price_per_kwh) == (1800, None)


def test_prices_of_a_load_value_its_own_use(tmp_path) -> None:
    path = written(
        tmp_path,
        "interval_start,import_wh,price_per_kwh\n"
        "2025-01-01T00:00Z,1000,0.10\n2025-01-01T01:00Z,1000,0.30\n",
    )
    use = own_use(read_load(path), np.array([500, 2000]))
    assert use.value == pytest.approx(0.5 * 0.10 + 1 * 0.30)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a,b\n1,2\n", "line 1", "interval_start"),
        ("interval_start,import_wh,import_kw\n", "line 1", "one of"),
        (HEAD + "2025-01-01T00:00,5\n", "line 2", "no offset"),
        (HEAD + "yesterday,5\n", "line 2", "ISO 8601"),
        (HEAD + "2025-01-01T00:00Z,-5\n", "line 2", "not negative"),
        (HEAD + "2025-01-01T00:00Z,nan\n", "line 2", "expected a number"),
        (HEAD + "2025-01-01T00:00Z,5\n2025-01-01T00:07Z,5\n", "line 3", "420 s"),
        (
            HEAD + "2025-01-01T00:00Z,5\n2025-01-01T01:00Z,5\n2025-01-01T03:00Z,5\n",
            "line 4",
            "gap",
        ),
        (HEAD, "", "fewer than two"),
    ],
)
def test_a_fault_in_a_load_is_named_with_its_line(tmp_path, text, place, words) -> None:
    with pytest.raises(InputFileInvalid, match=words) as caught:
        read_load(written(tmp_path, text))
    assert caught.value.place == place
