"""Whatever stands in a tariff file, the answer is a tariff or a named error, never a traceback."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.errors import BargainerError
from tariff_bargainer.tariffs.open_energy_tariffs import parse_open_energy_tariffs
from tariff_bargainer.tariffs.opentariff import parse_opentariff
from tariff_bargainer.tariffs.tariff import Tariff
from tariff_bargainer.tariffs.tariff_file import tariff_from_table
from tariff_bargainer.tariffs.urdb import parse_urdb
from tests.tariff_bargainer.billing.pysam_oracle import random_urdb

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.lists(st.integers(-2, 3), max_size=3),
    st.sampled_from(["net", "kWh", "24:00", "00:00", "2024-02-30", "all", "$/day", 1e300, -1]),
)

TABLE = {
    "format": "commonwatt-tariff/1",
    "name": "t",
    "currency": "EUR",
    "timezone": "UTC",
    "holidays": ["12-25"],
    "rounding": {"places": 2, "mode": "half-up"},
    "net_metering": {"rollover": "money", "credit_month": 6},
    "energy": [
        {
            "tier_basis": "month",
            "periods": [
                {
                    "name": "a",
                    "windows": [
                        {"days": ["weekdays"], "from": "06:00", "to": "09:00", "months": [1]},
                        {"season": "06-15..09-14", "days": ["sun"]},
                    ],
                    "tiers": [{"upto_kwh": 5, "rate_per_kwh": 1}, {"rate_per_kwh": 2}],
                },
                {"name": "b", "rate_per_kwh": 3},
            ],
            "index": {"series": "spot", "cap_per_kwh": 1},
        }
    ],
    "demand": [{"rate_per_kw": 1, "window_min": 15, "ratchet": {"percent": 80}}],
    "standing": [{"amount": 1, "per": "day"}],
    "minimum": [{"amount": 1, "covers": ["energy"]}],
    "discounts": [{"name": "d", "percent": 5, "on": ["energy"]}],
    "taxes": [{"name": "v", "percent": 19, "on": ["energy"]}],
}
UK = {
    "dno_region": 16,
    "fuel_type": "electricity",
    "exit_fee_type": "fixed",
    "exit_fee_value": 30,
    "supplier_tariff_code": "x",
    "standing_charges": [{"standing_charge": 50, "fuel": "electricity"}],
    "rates": [
        {
            "rate_type": "time_of_use_static",
            "fuel": "electricity",
            "unit_rate": 20,
            "time_from": "00:00",
            "time_to": "00:00",
            "day_from": 0,
            "day_to": 6,
        }
    ],
}
PLAN = {
    "meta": {"plan": "p", "currency": "AUD", "timezone": "UTC"},
    "tariff": {
        "kind": "tou",
        "seasons": [{"id": "s", "from": 11, "to": 1}],
        "import": {
            "bands": [{"id": "p", "rate": 0.4, "seasonRates": {"s": 0.5}}],
            "schedule": [{"days": "all", "from": "00:00", "to": "24:00", "band": "p"}],
        },
        "controlledLoad": [{"id": "c", "name": "c", "rate": 0.1}],
        "supply": {"daily": 1},
    },
}

FORMS: dict[str, tuple[Any, Callable[[str], Tariff]]] = {
    "own": (TABLE, lambda text: tariff_from_table(json.loads(text))),
    "urdb": (
        {
            **random_urdb(random.Random(5)),
            "dgrules": "Net Metering",
            "utility": "u",
            "startdate": 1_400_000_000,
            "fueladjustmentsmonthly": [0.01] * 12,
            "flatdemandstructure": [[{"rate": 2, "unit": "kW"}]],
            "flatdemandmonths": [0] * 12,
            "lookbackpercent": 0.5,
            "lookbackmonths": [1] * 12,
            "lookbackrange": 3,
            "demandwindow": 15,
            "demandrateunit": "kW",
            "energyattrs": [{"a": "b"}],
        },
        lambda text: parse_urdb(text, timezone="UTC"),
    ),
    "opentariff": (UK, parse_opentariff),
    "open-energy-tariffs": (PLAN, parse_open_energy_tariffs),
}


def places(thing: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of all values, tables and lists included."""
    found = [path] if path else []
    if isinstance(thing, dict):
        for key, value in thing.items():
            found += places(value, (*path, key))
    elif isinstance(thing, list):
        for index, value in enumerate(thing[:3]):
            found += places(value, (*path, index))
    return found


@pytest.mark.parametrize("form", FORMS)
def test_the_untouched_file_is_a_tariff(form: str) -> None:
    whole, parse = FORMS[form]
    assert isinstance(parse(json.dumps(whole)), Tariff)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_file_with_one_odd_value_is_a_tariff_or_a_named_error(
    form: str, data: st.DataObject
) -> None:
    whole, parse = FORMS[form]
    odd = json.loads(json.dumps(whole))
    *parents, last = data.draw(st.sampled_from(places(whole)))
    target = odd
    for key in parents:
        target = target[key]
    target[last] = data.draw(ODD)
    try:
        assert isinstance(parse(json.dumps(odd)), Tariff)
    except BargainerError as refused:
        assert str(refused)  # noqa: PT017 - either outcome is right, a traceback is not
