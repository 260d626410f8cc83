"""The SAM engine as an independent second opinion on bills, and random rates to ask it about."""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from PySAM import Utilityrate5
from PySAM.UtilityRateTools import URDBv8_to_ElectricityRates

from tariff_bargainer.profiles.intervals import LoadProfile

FIXED_ZONE = "Etc/GMT+7"
"""A zone without clock changes, seven hours behind UTC, as the SAM engine has no clock changes."""
START = datetime(2018, 1, 1, 7, tzinfo=UTC)
"""Midnight of 1 January 2018, a Monday, in that zone; the SAM engine's year starts on a Monday."""
OPEN = 1e38


@dataclass(frozen=True, slots=True)
class OracleBill:
    """What the SAM engine bills, by month."""

    total: list[float]
    energy: list[float]
    demand: list[float]
    fixed: list[float]
    minimum: list[float]


def profile_of(load_kw: np.ndarray, generation_kw: np.ndarray) -> LoadProfile:
    """Put net power on the import and export registers of one meter."""
    steps = len(load_kw) // 8760
    net_wh = (load_kw - generation_kw) * 1000.0 / steps
    return LoadProfile(
        start=START,
        step_s=3600 // steps,
        import_wh=np.maximum(net_wh, 0.0),
        export_wh=np.maximum(-net_wh, 0.0),
    )


def prepared_model(
    load_kw: np.ndarray, generation_kw: np.ndarray, rates: dict[str, Any]
) -> Utilityrate5.Utilityrate5:
    """Set the SAM engine up for one year of one home."""
    model = Utilityrate5.new()
    model.Lifetime.analysis_period = 1
    model.Lifetime.inflation_rate = 0
    model.Lifetime.system_use_lifetime_output = 0
    model.SystemOutput.gen = generation_kw.tolist()
    model.SystemOutput.degradation = [0]
    model.Load.load = load_kw.tolist()
    model.Load.load_escalation = [0]
    defaults = {
        "en_electricity_rates": 1,
        "rate_escalation": [0],
        "ur_monthly_fixed_charge": 0,
        "ur_monthly_min_charge": 0,
        "ur_annual_min_charge": 0,
        "ur_dc_enable": 0,
        "ur_en_ts_buy_rate": 0,
        "ur_en_ts_sell_rate": 0,
        "ur_metering_option": 0,
        "ur_nm_yearend_sell_rate": 0,
        "ur_nm_credit_month": 11,
        "ur_nm_credit_rollover": 0,
        "ur_sell_eq_buy": 0,
        "TOU_demand_single_peak": 0,
        "ur_enable_billing_demand": 0,
        "ur_nb_apply_credit_current_month": 0,
        "ur_nb_credit_expire": 0,
        "ur_yearzero_usage_peaks": [0] * 12,
    }
    model.ElectricityRates.assign({**defaults, **rates})
    return model


def ask_pysam(load_kw: np.ndarray, generation_kw: np.ndarray, rates: dict[str, Any]) -> OracleBill:
    """Bill one year with the SAM engine."""
    model = prepared_model(load_kw, generation_kw, rates)
    model.execute(0)
    out = model.Outputs.export()

    def months(name: str) -> np.ndarray:
        return np.array(out[name])[1]

    return OracleBill(
        total=months("utility_bill_w_sys_ym").tolist(),
        energy=months("charge_w_sys_ec_ym").tolist(),
        demand=(months("charge_w_sys_dc_fixed_ym") + months("charge_w_sys_dc_tou_ym")).tolist(),
        fixed=months("charge_w_sys_fixed_ym").tolist(),
        minimum=months("charge_w_sys_minimum_ym").tolist(),
    )


def rates_of(urdb: dict[str, Any], metering_option: int | None = None) -> dict[str, Any]:
    """Convert a URDB rate to the engine's inputs by the engine's own converter.

    Ratchets are written anew: the converter leaves the month's own peak out, and lets all months
    share one row.
    """
    urdb = dict(urdb)
    if "demandratchetpercentage" in urdb:
        urdb["lookbackpercent"] = urdb["demandratchetpercentage"][0]
        urdb["lookbackrange"] = 11
    rates = URDBv8_to_ElectricityRates(json.loads(json.dumps(urdb)))
    if metering_option is not None:
        rates["ur_metering_option"] = metering_option
    if "lookbackpercent" in urdb:
        percent = urdb["lookbackpercent"] * 100
        flags = urdb.get("lookbackmonths") or [1] * 12
        rates["ur_billing_demand_lookback_percentages"] = [[percent * bool(f), 1] for f in flags]
        rates["ur_billing_demand_lookback_period"] = urdb["lookbackrange"]
    return rates


def random_urdb(rng: random.Random) -> dict[str, Any]:
    """Make a rate the SAM engine can represent."""
    n_periods = rng.randint(1, 4)
    n_tiers = rng.randint(1, 3)
    unit = rng.choice(["kWh", "kWh", "kWh daily", "kWh/kW", "kWh/kW daily"])
    scale = {"kWh": 400.0, "kWh daily": 15.0, "kWh/kW": 60.0, "kWh/kW daily": 2.0}[unit]
    limits = sorted(round(rng.uniform(0.2, 2.0) * scale, 3) for _ in range(n_tiers - 1))
    rate: dict[str, Any] = {
        "label": "random",
        "name": "a random rate",
        "energyratestructure": [
            [
                {
                    "rate": round(rng.uniform(0.02, 0.5), 5),
                    "adj": round(rng.uniform(-0.01, 0.02), 5),
                    "sell": round(rng.uniform(0.0, 0.2), 4),
                    "unit": unit,
                    **({"max": limits[tier]} if tier < n_tiers - 1 else {}),
                }
                for tier in range(n_tiers)
            ]
            for _ in range(n_periods)
        ],
        "energyweekdayschedule": _random_schedule(rng, n_periods),
        "energyweekendschedule": _random_schedule(rng, n_periods),
    }
    _add_charges(rng, rate)
    _add_demand(rng, rate)
    return rate


def random_urdb_of_mixed_blocks(rng: random.Random) -> dict[str, Any]:
    """Make a rate whose blocks count by the month beside by the day, rising in every month."""
    rate = random_urdb(rng)
    by_month, by_day, scale = rng.choice(
        [("kWh", "kWh daily", 400.0), ("kWh/kW", "kWh/kW daily", 60.0)]
    )
    n_tiers = rng.randint(3, 4)
    # Each step is wide enough that a February of 28 days and a January of 31 keep the order.
    starts = [scale * (0.3 + 0.5 * tier) * rng.uniform(1.0, 1.15) for tier in range(n_tiers - 1)]
    units = [rng.choice([by_month, by_day]) for _ in starts]
    units[:2] = rng.sample([by_month, by_day], 2)
    limits = [
        round(start / 30 if unit == by_day else start, 4)
        for start, unit in zip(starts, units, strict=True)
    ]
    for position, _ in enumerate(rate["energyratestructure"]):
        rate["energyratestructure"][position] = [
            {
                "rate": round(rng.uniform(0.02, 0.5), 5),
                "sell": round(rng.uniform(0.0, 0.2), 4),
                "unit": unit,
                **({} if limit is None else {"max": limit}),
            }
            for limit, unit in [*zip(limits, units, strict=True), (None, by_month)]
        ]
    return rate


def with_ratchet_percentage(rng: random.Random, rate: dict[str, Any]) -> dict[str, Any]:
    """Write a ratchet as one share for each month, as older entries of URDB do."""
    plain = {key: found for key, found in rate.items() if not key.startswith("lookback")}
    if "demandratestructure" not in plain:
        plain["flatdemandstructure"] = [_demand_tiers(rng, _demand_limits(rng))]
        plain["flatdemandmonths"] = [0] * 12
    return plain | {"demandratchetpercentage": [round(rng.uniform(0.3, 1.0), 2)] * 12}


def in_bulk_names(rate: dict[str, Any]) -> dict[str, Any]:
    """Write a rate as the bulk download of URDB does."""
    names = {
        "energyratestructure": ("energyRateStrux", "energyRateTiers"),
        "demandratestructure": ("demandRateStrux", "demandRateTiers"),
        "flatdemandstructure": ("flatDemandStrux", "flatDemandTiers"),
        "energyweekdayschedule": ("energyWeekdaySched", None),
        "energyweekendschedule": ("energyWeekendSched", None),
        "demandweekdayschedule": ("demandWeekdaySched", None),
        "demandweekendschedule": ("demandWeekendSched", None),
        "flatdemandmonths": ("flatDemandMonths", None),
        "fixedchargefirstmeter": ("fixedChargeFirstMeter", None),
        "fixedchargeunits": ("fixedChargeUnits", None),
        "mincharge": ("minCharge", None),
        "minchargeunits": ("minChargeUnits", None),
        "lookbackpercent": ("lookbackPercent", None),
        "lookbackrange": ("lookbackRange", None),
        "lookbackmonths": ("lookbackMonths", None),
        "name": ("rateName", None),
    }
    bulk = {}
    for key, found in rate.items():
        name, wrapper = names.get(key, (key, None))
        bulk[name] = [{wrapper: blocks} for blocks in found] if wrapper else found
    return bulk


def _add_charges(rng: random.Random, rate: dict[str, Any]) -> None:
    if rng.random() < 0.7:
        rate["fixedchargefirstmeter"] = round(rng.uniform(0.1, 20), 2)
        rate["fixedchargeunits"] = rng.choice(["$/day", "$/month", "$/year"])
    if rng.random() < 0.5:
        rate["minchargeunits"] = rng.choice(["$/day", "$/month", "$/year"])
        scale = {"$/day": 1, "$/month": 30, "$/year": 600}[rate["minchargeunits"]]
        rate["mincharge"] = round(rng.uniform(0.2, 4) * scale, 2)


def _add_demand(rng: random.Random, rate: dict[str, Any]) -> None:
    if rng.random() < 0.5:
        n_periods = rng.randint(1, 3)
        limits = _demand_limits(rng)
        rate["demandratestructure"] = [_demand_tiers(rng, limits) for _ in range(n_periods)]
        rate["demandweekdayschedule"] = _random_schedule(rng, n_periods)
        rate["demandweekendschedule"] = _random_schedule(rng, n_periods)
    if rng.random() < 0.5:
        n_periods = rng.randint(1, 3)
        rate["flatdemandstructure"] = [
            _demand_tiers(rng, _demand_limits(rng)) for _ in range(n_periods)
        ]
        rate["flatdemandmonths"] = [rng.randrange(n_periods) for _ in range(12)]
    if rng.random() < 0.4 and ("demandratestructure" in rate or "flatdemandstructure" in rate):
        rate["lookbackpercent"] = round(rng.uniform(0.3, 1.0), 2)
        rate["lookbackrange"] = rng.randint(1, 11)
        if rng.random() < 0.5:
            rate["lookbackmonths"] = [rng.randint(0, 1) for _ in range(11)] + [1]


def _demand_limits(rng: random.Random) -> list[float]:
    return sorted(round(rng.uniform(0.5, 6), 2) for _ in range(rng.randint(0, 2)))


def _demand_tiers(rng: random.Random, limits: list[float]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [
        {"rate": round(rng.uniform(0, 12), 3), "max": m} for m in limits
    ]
    return [*blocks, {"rate": round(rng.uniform(0, 12), 3)}]


def _random_schedule(rng: random.Random, n_periods: int) -> list[list[int]]:
    """Draw seasons of months with blocks of hours; every period need not occur."""
    schedule: list[list[int]] = []
    while len(schedule) < 12:
        row: list[int] = []
        while len(row) < 24:
            row += [rng.randrange(n_periods)] * rng.randint(1, 9)
        schedule += [row[:24]] * rng.randint(1, 6)
    return [list(row) for row in schedule[:12]]


def random_load_kw(seed: int, steps_per_hour: int, scale: float = 1.0) -> np.ndarray:
    """Make a plausible year of load [kW], shape (8760 * steps_per_hour,)."""
    rng = np.random.default_rng(seed)
    n_intervals = 8760 * steps_per_hour
    hour = np.arange(n_intervals) / steps_per_hour % 24
    shape = 0.4 + 0.5 * np.exp(-((hour - 19) ** 2) / 8) + 0.2 * np.exp(-((hour - 7) ** 2) / 4)
    season = 1 + 0.4 * np.cos(np.arange(n_intervals) / n_intervals * 2 * np.pi)
    return scale * shape * season * rng.gamma(2.0, 0.5, n_intervals)


def random_generation_kw(seed: int, steps_per_hour: int, peak_kw: float) -> np.ndarray:
    """Make a plausible year of solar power [kW], shape (8760 * steps_per_hour,)."""
    rng = np.random.default_rng(seed)
    n_intervals = 8760 * steps_per_hour
    hour = np.arange(n_intervals) / steps_per_hour % 24
    sun = np.maximum(0.0, np.sin((hour - 6) / 12 * np.pi))
    season = 0.6 - 0.4 * np.cos(np.arange(n_intervals) / n_intervals * 2 * np.pi)
    return peak_kw * sun * season * rng.uniform(0.2, 1.0, n_intervals)


def as_json(urdb: dict[str, Any]) -> str:
    """Write a rate as the text of a file."""
    return json.dumps(urdb)
