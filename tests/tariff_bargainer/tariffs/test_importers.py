"""Foreign tariff forms: what they mean, and what is refused by the name of its field."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tariff_bargainer.billing.bill import bill
from tariff_bargainer.errors import TariffFileError, UnsupportedRate
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.open_energy_tariffs import parse_open_energy_tariffs
from tariff_bargainer.tariffs.opentariff import parse_opentariff
from tariff_bargainer.tariffs.tariff_file import parse_tariff
from tariff_bargainer.tariffs.urdb import parse_urdb
from tests.tariff_bargainer.billing.builders import amounts, flat_profile, with_values

ZONE = "America/Denver"
ALWAYS = [[0] * 24 for _ in range(12)]


def urdb(**fields: Any) -> dict[str, Any]:
    return {
        "label": "abc",
        "name": "R-1",
        "utility": "Example Power",
        "energyratestructure": [[{"rate": 0.1, "adj": 0.01, "unit": "kWh"}]],
        "energyweekdayschedule": ALWAYS,
        "energyweekendschedule": ALWAYS,
        **fields,
    }


def read_urdb(rate: Any):
    return parse_urdb(json.dumps(rate), timezone=ZONE)


def test_urdb_rate_and_adjustment_add_up_exactly() -> None:
    tariff = read_urdb({"items": [urdb()]})
    assert tariff.energy[0].periods[0].tiers[0].rate == Decimal("0.11")
    assert tariff.currency == "USD"
    assert tariff.metering == "net"


def test_urdb_schedule_may_hold_floats_and_open_ends_as_1e38() -> None:
    rate = urdb(
        energyweekdayschedule=[[0.0] * 24] * 12,
        energyratestructure=[[{"rate": 0.1, "max": 9.999e37, "unit": "kWh"}]],
    )
    assert read_urdb(rate).energy[0].periods[0].tiers[0].upto is None


def test_urdb_names_of_version_7() -> None:
    tariff = read_urdb(urdb(fixedmonthlycharge=9, minmonthlycharge=12, annualmincharge=200))
    assert [(charge.amount, charge.per) for charge in tariff.standing] == [(9, "month")]
    assert [(rule.amount, rule.per) for rule in tariff.minimum] == [(12, "month"), (200, "year")]


def test_urdb_fuel_adjustment_by_month_is_priced() -> None:
    tariff = read_urdb(urdb(fueladjustmentsmonthly=[0.01] + [0] * 11))
    made = bill(flat_profile("2018-01-01T00:00:00-07:00", 31), tariff)
    assert made.annual.energy == Decimal(744) * Decimal("0.12")


def test_urdb_words_are_handed_on_as_remarks() -> None:
    tariff = read_urdb(urdb(energyattrs=[{"Rider": "see sheet"}], energycomments="words"))
    made = bill(flat_profile("2018-01-01T00:00:00-07:00", 1), tariff)
    assert made.notes == ('not in the bill: energyattrs: [{"Rider": "see sheet"}]',)


REFUSED = {
    "dgrules": {"dgrules": "Barter"},
    "energyratestructure[0][0].unit": {"energyratestructure": [[{"rate": 1, "unit": "therms"}]]},
    "energyratestructure[0][0].rate": {"energyratestructure": [[{"unit": "kWh"}]]},
    "energyratestructure[0][0].max": {"energyratestructure": [[{"rate": 1}, {"rate": 2}]]},
    "energyratestructure[0][1].max": {
        "energyratestructure": [[{"rate": 1, "max": 650}, {"rate": 2, "max": 350}, {"rate": 3}]]
    },
    "energyratestructure[0][0].bonus": {"energyratestructure": [[{"rate": 1, "bonus": 2}]]},
    "demandrateunit": {
        "demandratestructure": [[{"rate": 5}]],
        "demandrateunit": "kVA",
        "demandweekdayschedule": ALWAYS,
        "demandweekendschedule": ALWAYS,
    },
    "demandratchetpercentage": {
        "demandratchetpercentage": [0.5] * 6 + [0.8] * 6,
        "lookbackpercent": 0.6,
        "lookbackrange": 11,
    },
    "lookbackrange": {"lookbackpercent": 0.6, "lookbackrange": 13},
    "flatdemandstructure[0][1].sell": {
        "flatdemandstructure": [[{"rate": 5, "max": 3}, {"rate": 4, "sell": 1}]]
    },
    "flatdemandunit": {"flatdemandstructure": [[{"rate": 5}]], "flatdemandunit": "hp"},
    "demandreactivepowercharge": {"demandreactivepowercharge": 0.3},
    "coincidentratestructure": {"coincidentratestructure": [[{"rate": 5}]]},
    "coincidentrateunit": {
        "coincidentratestructure": [[{"rate": 5}]],
        "coincidentrateunit": "kW daily",
    },
    "coincidentrateweekdayschedule": {"coincidentrateweekdayschedule": [[1] * 24] * 12},
    "lookbackpercent": {"lookbackpercent": 80, "lookbackrange": 11},
    "fixedchargeunits": {"fixedchargefirstmeter": 1, "fixedchargeunits": "$/moon"},
    "fixedmonthlycharge": {"fixedchargefirstmeter": 1, "fixedmonthlycharge": 2},
    "minmonthlycharge": {"mincharge": 1, "minmonthlycharge": 2},
    "surchargepercent": {"surchargepercent": 3},
    "stormrider": {"stormrider": 0.004},
    "meterfee": {"meterfee": 2},
    "demandwindow": {"flatdemandstructure": [[{"rate": 5}]], "demandwindow": 7},
}


@pytest.mark.parametrize("field", REFUSED)
def test_urdb_rate_that_cannot_be_represented_is_refused_by_field(field: str) -> None:
    with pytest.raises(UnsupportedRate) as caught:
        read_urdb(urdb(**REFUSED[field]))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("key", "nothing"),
    [
        ("demandratchetpercentage", [0] * 12),
        ("demandratchetpercentage", None),
        ("coincidentratestructure", [[{"rate": 0, "unit": "kW"}]]),
    ],
)
def test_urdb_fields_that_hold_nothing_are_no_obstacle(key: str, nothing: Any) -> None:
    assert read_urdb(urdb(**{key: nothing, "energytoulabels": ["a"]}))


def test_periods_of_flat_demand_need_their_months() -> None:
    with pytest.raises(TariffFileError, match="flatdemandmonths: is missing"):
        read_urdb(urdb(flatdemandstructure=[[{"rate": 5}], [{"rate": 6}]]))


def test_a_schedule_of_zeros_without_a_structure_is_no_charge() -> None:
    rate = urdb(
        energyratestructure=None,
        demandweekdayschedule=ALWAYS,
        demandweekendschedule=ALWAYS,
        fixedchargefirstmeter=7,
    )
    assert read_urdb(rate).energy == read_urdb(rate).demand == ()
    with pytest.raises(TariffFileError, match="demandweekdayschedule"):
        read_urdb(rate | {"demandweekdayschedule": [[1] * 24] * 12})


@pytest.mark.parametrize("share", [[0.5] * 12 + [0.5], 80, [80] * 12, "half", [True]])
def test_a_ratchet_percentage_that_nobody_can_read_is_refused(share: Any) -> None:
    with pytest.raises((UnsupportedRate, TariffFileError), match="demandratchetpercentage"):
        read_urdb(urdb(demandratchetpercentage=share))


def test_a_bulk_field_beside_its_service_name_is_refused() -> None:
    with pytest.raises(TariffFileError, match="energyRateStrux"):
        read_urdb(urdb(energyRateStrux=[]))


def test_bulk_dates_and_names_are_read_and_unknown_charges_refused() -> None:
    rate = urdb(effectiveDate={"$date": "2018-02-01T00:00:00.000Z"}, fixedChargeFirstMeter=4)
    assert read_urdb(rate).effective_from == date(2018, 2, 1)
    assert read_urdb(rate).standing[0].amount == 4
    with pytest.raises(UnsupportedRate, match="meterChargeExtra"):
        read_urdb(urdb(meterChargeExtra=3))


def test_a_block_with_its_own_basis_is_the_same_from_toml() -> None:
    text = """
format = "commonwatt-tariff/1"
name = "mixed"
currency = "EUR"
timezone = "Etc/UTC"
[[energy]]
tiers = [
  { upto_kwh = 100, rate_per_kwh = 0.1 },
  { upto_kwh = 10, basis = "month-daily", rate_per_kwh = 0.2 },
  { rate_per_kwh = 0.4 },
]
"""
    tariff = parse_tariff(text)
    made = bill(flat_profile("2018-02-01T00:00:00+00:00", 28), tariff)
    # February: 672 kWh; blocks end at 100 and at 28 x 10 = 280 kWh.
    assert made.annual.energy == Decimal("0.1") * 100 + Decimal("0.2") * 180 + Decimal("0.4") * 392
    daily = text.replace("[[energy]]", '[[energy]]\ntier_basis = "day"')
    with pytest.raises(TariffFileError, match="mixes blocks"):
        parse_tariff(daily)


def by_hour(kw_at: dict[str, float], kw: float = 1.0) -> LoadProfile:
    """Sixty days of a constant load from midnight in Denver, with single hours changed."""
    load = flat_profile("2018-01-01T00:00:00-07:00", 59, wh_per_interval=int(kw * 1000))
    return with_values(load, {start: value * 1000 for start, value in kw_at.items()})


def test_urdb_coincident_demand_is_billed_at_the_peaks_that_are_given() -> None:
    rate = urdb(
        coincidentratestructure=[[{"rate": 0}], [{"rate": 3, "adj": 0.5}], [{"rate": 7}]],
        coincidentrateschedule=[[0] * 15 + [1] * 5 + [0] * 4, [2] * 24, *[[0] * 24] * 10],
        coincidentrateunit="kW",
    )
    load = by_hour({"2018-01-09T17:00:00-07:00": 4, "2018-01-20T03:00:00-07:00": 9,
                    "2018-02-02T08:00:00-07:00": 5})  # fmt: skip
    peaks = ("2018-01-09T17:20:00-07:00", "2018-02-02T08:00:00-07:00")
    made = bill(load, parse_urdb(json.dumps(rate), timezone=ZONE, system_peaks=peaks))
    assert [month.amounts.demand for month in made.monthly] == [Decimal("14.0"), 35]
    assert not [note for note in made.notes if "system peak" in note]
    bulk = {"coincidentSched" if key == "coincidentrateschedule" else key: found
            for key, found in rate.items()}  # fmt: skip
    assert parse_urdb(json.dumps(bulk), timezone=ZONE, system_peaks=peaks) == parse_urdb(
        json.dumps(rate), timezone=ZONE, system_peaks=peaks
    )


def test_a_month_without_a_system_peak_is_told() -> None:
    rate = urdb(coincidentratestructure=[[{"rate": 3}]])
    peaks = ("2018-01-09T17:20:00-07:00",)
    made = bill(by_hour({}), parse_urdb(json.dumps(rate), timezone=ZONE, system_peaks=peaks))
    assert made.notes == (
        "coincident demand: not billed in 2018-02, for which no system peak is given",
    )


def test_a_ratchet_that_differs_by_month_is_by_the_month_of_the_earlier_peak() -> None:
    """By hand: 10 kW in January leave 5 kW for February; without it February has 1 kW."""
    load = by_hour({"2018-01-09T17:00:00-07:00": 10})
    for shares, february in (([0.5] + [0.9] * 11, 5), ([0] * 12, 1), ([0] + [0.9] * 11, 1)):
        rate = urdb(flatdemandstructure=[[{"rate": 2}]], demandratchetpercentage=shares)
        made = bill(load, read_urdb(rate))
        assert [month.amounts.demand for month in made.monthly] == [20, 2 * february]
        assert bool(made.notes) == (len(set(shares)) > 1)
    assert "by the month of the earlier peak" in made.notes[0]


def test_prices_per_kva_and_per_kvar_need_the_power_factor() -> None:
    """By hand: 4 kW at 0.8 are 5 kVA and 3 kvar."""
    rate = urdb(
        flatdemandstructure=[[{"rate": 2, "max": 3}, {"rate": 10}]],
        flatdemandunit="kVA",
        demandreactivepowercharge=0.5,
    )
    load = by_hour({"2018-01-09T17:00:00-07:00": 4})
    with pytest.raises(UnsupportedRate, match=r"demandreactivepowercharge: .*--power-factor"):
        read_urdb(rate)
    made = bill(load, parse_urdb(json.dumps(rate), timezone=ZONE, power_factor=Decimal("0.8")))
    assert made.monthly[0].amounts.demand == 2 * 3 + 10 * 2 + Decimal("1.5")
    assert any("every kvar of a month's peak is billed:" in note for note in made.notes)
    del rate["demandreactivepowercharge"]
    with pytest.raises(UnsupportedRate, match=r"flatdemandunit: .*--power-factor"):
        read_urdb(rate)
    one = bill(load, parse_urdb(json.dumps(rate), timezone=ZONE, power_factor=Decimal(1)))
    assert one.monthly[0].amounts.demand == 2 * 3 + 10
    with pytest.raises(TariffFileError, match="power-factor"):
        parse_urdb(json.dumps(rate), timezone=ZONE, power_factor=Decimal("1.2"))


def test_an_answer_that_was_saved_as_one_json_string_is_read() -> None:
    answer = json.dumps({"items": [urdb()]})
    assert parse_urdb(json.dumps(answer), timezone=ZONE) == parse_urdb(answer, timezone=ZONE)


def test_what_is_sold_through_a_meter_of_its_own_leaves_the_minimum_bill_alone() -> None:
    rate = urdb(mincharge=50, dgrules="Buy All Sell All")
    rate["energyratestructure"][0][0]["sell"] = 0.05
    load = flat_profile("2018-01-01T00:00:00-07:00", 31, export_wh=2000)
    assert amounts(bill(load, read_urdb(rate))) == {
        "energy": Decimal("81.84"), "export_credit": Decimal("74.4"), "total": Decimal("7.44"),
    }  # fmt: skip
    rate["dgrules"] = "Net Billing Instantaneous"
    assert amounts(bill(load, read_urdb(rate)))["total"] == 50


HOURS_USE = [
    {"rate": 0.30, "max": 200, "unit": "kWh"},
    {"rate": 0.20, "max": 150, "unit": "kWh/kW"},
    {"rate": 0.10, "unit": "kWh"},
]


def test_urdb_blocks_in_kwh_beside_blocks_in_kwh_per_kw() -> None:
    """By hand: 1 kW and one hour of 3 kW; 150 kWh per kW of that peak are 450 kWh."""
    tariff = read_urdb(urdb(energyratestructure=[HOURS_USE]))
    load = by_hour({"2018-01-09T17:00:00-07:00": 3, "2018-02-09T17:00:00-07:00": 3})
    for metering in ("net", "net-billing"):
        january, february = bill(load, tariff, metering=metering).monthly
        assert january.amounts.energy == 60 + 50 + Decimal("0.10") * (31 * 24 + 2 - 450)
        assert february.amounts.energy == 60 + 50 + Decimal("0.10") * (28 * 24 + 2 - 450)


def test_a_month_in_which_such_blocks_change_their_order_is_refused() -> None:
    tariff = read_urdb(urdb(energyratestructure=[HOURS_USE]))
    with pytest.raises(UnsupportedRate, match=r"block 2 ends at 150.000 kWh, below block 1"):
        bill(by_hour({}), tariff)
    little = bill(by_hour({}, kw=0.1), read_urdb(urdb(energyratestructure=[[
        {"rate": 0.3, "max": 200, "unit": "kWh"}, {"rate": 0.2, "max": 900, "unit": "kWh/kW"},
        {"rate": 0.1}]])))  # fmt: skip
    assert little.monthly[0].amounts.energy == Decimal("74.4") * Decimal("0.3")


def test_a_last_block_with_an_end_is_billed_up_to_it_and_refused_above() -> None:
    blocks = [{"rate": 0.1, "max": 500}, {"rate": 0.3, "max": 744}]
    tariff = read_urdb(urdb(energyratestructure=[blocks]))
    assert bill(by_hour({}), tariff).monthly[0].amounts.energy == 50 + Decimal("73.2")
    for metering in ("net", "net-billing"):
        with pytest.raises(UnsupportedRate, match=r"ends at 744.000 kWh, and 745.000 kWh"):
            bill(by_hour({"2018-01-09T17:00:00-07:00": 2}), tariff, metering=metering)
    peaky = urdb(flatdemandstructure=[[{"rate": 0, "max": 3}, {"rate": 9, "max": 5}]])
    at = "2018-01-09T17:00:00-07:00"
    assert bill(by_hour({at: 5}), read_urdb(peaky)).monthly[0].amounts.demand == 18
    with pytest.raises(UnsupportedRate, match=r"ends at 5 kW, and 2018-01 has 5.500 kW"):
        bill(by_hour({at: 5.5}), read_urdb(peaky))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "holds 0 rates"),
        ('{"items": [{}, {}]}', "holds 2 rates"),
        ('{"items": [7]}', "not a table"),
        ('{"energyratestructure": NaN}', "NaN"),
        (json.dumps(urdb(energyweekdayschedule=[[1] * 24] * 12)), "no period"),
        (json.dumps(urdb(energyweekdayschedule=[[0] * 23] * 12)), "12 rows of 24"),
        (json.dumps(urdb(startdate=1700000000, enddate=1600000000)), "enddate"),
    ],
)
def test_urdb_text_that_is_no_rate_is_refused(text: str, problem: str) -> None:
    with pytest.raises(TariffFileError, match=problem):
        parse_urdb(text, timezone=ZONE)


def opentariff(rates: list[dict[str, Any]], **fields: Any) -> str:
    return json.dumps(
        {
            "dno_region": 16,
            "rate_type": rates[0]["rate_type"],
            "fuel_type": "electricity",
            "payment_method": "direct_debit",
            "standing_charges": [{"standing_charge": 50, "fuel": "electricity"}],
            "rates": rates,
            **fields,
        }
    )


STATIC = {"rate_type": "time_of_use_static", "fuel": "electricity"}


def test_opentariff_is_in_pence_per_kwh_and_day() -> None:
    single = {"rate_type": "single_rate", "fuel": "electricity", "unit_rate": 20}
    made = bill(
        flat_profile("2025-01-01T00:00:00+00:00", 1, 1000, step_s=1800),
        parse_opentariff(opentariff([single])),
    )
    assert made.annual.total == Decimal("10.10")
    assert made.currency == "GBP"


def test_opentariff_windows_by_time_day_and_month() -> None:
    rates = [
        {**STATIC, "unit_rate": "12", "time_from": "05:00:00", "time_to": "09:00:00"},
        {**STATIC, "unit_rate": "30", "time_from": "09:00:00", "time_to": "05:00:00",
         "month_from": 11, "month_to": 2},
        {**STATIC, "unit_rate": "20", "time_from": "09:00:00", "time_to": "05:00:00",
         "month_from": 3, "month_to": 10},
    ]  # fmt: skip
    tariff = parse_opentariff(opentariff(rates))
    made = bill(flat_profile("2025-02-28T00:00:00+00:00", 2), tariff)
    february, march = (amounts(made, month)["energy"] for month in (0, 1))
    assert (february, march) == (
        Decimal("0.12") * 4 + Decimal("0.30") * 20,
        Decimal("0.12") * 4 + Decimal("0.20") * 20,
    )


@pytest.mark.parametrize(
    ("rate", "field"),
    [
        (
            {
                "rate_type": "demand_tiered",
                "fuel": "electricity",
                "unit_rate": 20,
                "consumption_from": 0,
                "consumption_to": 100,
            },
            "rates[0].rate_type",
        ),
        ({**STATIC, "unit_rate": 20, "consumption_from": 5}, "rates[0].consumption_from"),
    ],
)
def test_opentariff_rate_that_is_not_said_in_full_is_refused(
    rate: dict[str, Any], field: str
) -> None:
    with pytest.raises(UnsupportedRate) as caught:
        parse_opentariff(opentariff([rate]))
    assert caught.value.field == field


def test_opentariff_gas_and_banded_standing_charges_are_refused() -> None:
    single = {"rate_type": "single_rate", "fuel": "electricity", "unit_rate": 20}
    with pytest.raises(UnsupportedRate, match="fuel_type"):
        parse_opentariff(opentariff([single], fuel_type="gas"))
    bands = [
        {"standing_charge": amount, "fuel": "electricity", "tcr_band": band}
        for amount, band in ((30, "1"), (60, "2"))
    ]
    with pytest.raises(UnsupportedRate, match="standing_charges"):
        parse_opentariff(opentariff([single], standing_charges=bands))
    upto = [{"standing_charge": 30, "fuel": "electricity", "max_consumption": 3000}]
    with pytest.raises(UnsupportedRate, match=r"standing_charges\[0\].max_consumption"):
        parse_opentariff(opentariff([single], standing_charges=upto))


def test_opentariff_standing_charges_of_one_fuel_add_up() -> None:
    single = {"rate_type": "single_rate", "fuel": "electricity", "unit_rate": 20}
    both = [{"standing_charge": amount, "fuel": "electricity"} for amount in (30, 12.5)]
    gas = {"standing_charge": 99, "fuel": "gas", "max_consumption": 5}
    tariff = parse_opentariff(opentariff([single], standing_charges=[*both, gas]))
    made = bill(flat_profile("2024-01-01T00:00:00+00:00", 2), tariff)
    assert amounts(made)["fixed"] == Decimal("0.85")


def test_windows_that_overlap_or_leave_time_open_are_told_by_the_forms_own_field() -> None:
    def static(low: str, high: str) -> dict[str, Any]:
        return {"rate_type": "time_of_use_static", "fuel": "electricity", "unit_rate": 9,
                "time_from": low, "time_to": high}  # fmt: skip

    for rates in ([static("00:00", "07:00")], [static("00:00", "07:00"), static("06:00", "00:00")]):
        with pytest.raises(UnsupportedRate) as caught:
            parse_opentariff(opentariff(rates))
        assert caught.value.field == "rates"
    painted = {"days": "all", "from": "00:00", "to": "07:00", "band": "a"}
    bands = {"bands": [{"id": "a", "name": "A", "rate": 0.1}], "schedule": [painted]}
    with pytest.raises(UnsupportedRate) as caught:
        parse_open_energy_tariffs(plan({"kind": "tou", "import": bands}))
    assert caught.value.field == "tariff.import.schedule"


def plan(body: dict[str, Any]) -> str:
    meta = {
        "id": "au-x",
        "schemaVersion": "1",
        "country": "AU",
        "provider": "Example",
        "plan": "Home",
        "currency": "AUD",
        "timezone": "Australia/Sydney",
        "source": "manual",
        "license": "CC0-1.0",
        "updated": "2026-01-01",
    }
    return json.dumps({"meta": meta, "tariff": body})


def test_open_energy_tariffs_bands_seasons_supply_and_feed_in() -> None:
    tariff = parse_open_energy_tariffs(
        plan(
            {
                "kind": "tou",
                "supply": {"daily": 1.2},
                "seasons": [{"id": "s", "name": "Summer", "from": 11, "to": 1}],
                "import": {
                    "bands": [
                        {"id": "p", "name": "Peak", "rate": 0.4, "seasonRates": {"s": 0.5}},
                        {"id": "o", "name": "Off", "rate": 0.2},
                    ],
                    "schedule": [
                        {"days": "all", "from": "16:00", "to": "22:00", "band": "p"},
                        {"days": "all", "from": "22:00", "to": "16:00", "band": "o"},
                    ],
                },
                "export": {"flatRate": 0.05},
            }
        )
    )
    made = bill(flat_profile("2025-02-28T00:00:00+11:00", 2, 1000, export_wh=100), tariff)
    assert amounts(made, 0)["energy"] == 6 * Decimal("0.5") + 18 * Decimal("0.2")
    assert amounts(made, 1)["energy"] == 6 * Decimal("0.4") + 18 * Decimal("0.2")
    assert made.annual.fixed == Decimal("2.4")
    assert made.annual.export_credit == 48 * Decimal("0.005")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "flat", "import": {"flatRate": 1}, "demand": [{"rate": 5}]}, "tariff.demand"),
        (
            {
                "kind": "tou",
                "import": {
                    "bands": [{"id": "p", "name": "P", "rate": 1, "tiers": [{"rate": 2}]}],
                    "schedule": [{"days": "all", "from": "00:00", "to": "24:00", "band": "p"}],
                },
            },
            "tariff.import.bands[0].tiers",
        ),
        (
            {
                "kind": "tou",
                "import": {
                    "bands": [{"id": "p", "name": "P", "rate": 1}],
                    "schedule": [{"days": "all", "from": "00:00", "to": "24:00", "band": "q"}],
                },
            },
            "tariff.import.schedule",
        ),
    ],
)
def test_open_energy_tariffs_part_without_clear_meaning_is_refused(
    body: dict[str, Any], field: str
) -> None:
    with pytest.raises(UnsupportedRate) as caught:
        parse_open_energy_tariffs(plan(body))
    assert caught.value.field == field


def test_open_energy_tariffs_gap_in_the_week_is_refused() -> None:
    body = {
        "kind": "tou",
        "import": {
            "bands": [{"id": "p", "name": "P", "rate": 1}],
            "schedule": [{"days": "weekday", "from": "00:00", "to": "24:00", "band": "p"}],
        },
    }
    with pytest.raises(UnsupportedRate, match=r"tariff\.import\.schedule: no period covers sat"):
        parse_open_energy_tariffs(plan(body))
