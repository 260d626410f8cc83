"""What serving a pool's load probably costs a supplier, as a waterfall that can be inspected.

The energy lines are a decomposition of one number, the load priced at spot, so they sum to it
exactly: a flat block, a peak block, the shape that blocks cannot follow, and the covariance of
load and price within each hour of the typical day. Everything else rests on stated assumptions,
all zero until the caller states them, and each line says which.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from decimal import Decimal
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.calendar import LocalCalendar, local_calendar
from tariff_bargainer.profiles.intervals import LoadProfile

MICRO = Decimal("0.000001")
WEEK_S = 7 * 86_400
WEEKS_MIN = 4
"""Shortest history from which weeks can be drawn at all."""
SCENARIOS_MAX = 100_000
ATM_OPTION = 0.398942
"""1 / sqrt(2 pi): value of an at-the-money option per unit of price x volatility x sqrt(years).

Source: Brenner and Subrahmanyam, "A simple formula to compute the implied standard deviation",
Financial Analysts Journal 44(5), 1988.
"""
HOURS_PER_YEAR = 8760


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorAssumptions:
    """What cannot be measured from load and spot prices, stated by whoever asks.

    Attributes:
        forward_premium_share: What forwards cost above expected spot, share of the blocks [0..1].
        imbalance_spread_per_mwh: Cost of each MWh by which the forecast misses [currency/MWh].
        risk_weight: Share of the risk (CVaR above the mean) that the supplier charges [0..1].
        risk_tail_share: Worst share of scenarios that CVaR averages, such as 0.05.
        scenarios: Number of bootstrap years.
        window_weeks: How far, before and after, a week may be drawn from; keeps the season.
        serving_per_meter_year: Billing, service and metering of one home [currency/year].
        acquisition_per_meter: Winning one home, spread over the term [currency].
        term_months: Length of the contract [months].
        credit_days: Days between delivery and payment.
        credit_rate_per_year: What the money outstanding costs, defaults included [1/year].
        validity_days: Days for which the supplier keeps the offer open.
        forward_volatility_per_year: Standard deviation of forward prices [1/sqrt(year)].
        pass_through_per_kwh: Network charges and levies by energy [currency/kWh].
        pass_through_per_meter_year: The same by connection [currency/year].
        margin_per_kwh: Least margin [currency/kWh].
        uncertainty_share: By how much each assumed line may be off, either way [0..1].
    """

    forward_premium_share: float = 0.0
    imbalance_spread_per_mwh: float = 0.0
    risk_weight: float = 0.0
    risk_tail_share: float = 0.05
    scenarios: int = 2000
    window_weeks: int = 4
    serving_per_meter_year: float = 0.0
    acquisition_per_meter: float = 0.0
    term_months: int = 12
    credit_days: float = 0.0
    credit_rate_per_year: float = 0.0
    validity_days: float = 0.0
    forward_volatility_per_year: float = 0.0
    pass_through_per_kwh: float = 0.0
    pass_through_per_meter_year: float = 0.0
    margin_per_kwh: float = 0.0
    uncertainty_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that would make the floor meaningless."""
        for field in fields(self):
            if getattr(self, field.name) < 0 or not np.isfinite(getattr(self, field.name)):
                raise InvalidProfile(
                    f"{field.name} is {getattr(self, field.name)}: give a finite number, at least 0"
                )
        if not 0 < self.risk_tail_share < 1:
            raise InvalidProfile(f"risk_tail_share is {self.risk_tail_share}: give 0 to 1")
        if not 1 <= self.scenarios <= SCENARIOS_MAX:
            raise InvalidProfile(f"scenarios is {self.scenarios}: give 1 to {SCENARIOS_MAX}")
        if self.term_months < 1 or self.uncertainty_share > 1:
            raise InvalidProfile("term_months must be at least 1, uncertainty_share at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallLine:
    """One step of the waterfall.

    Attributes:
        key: Name for programs.
        text: What the line is and which assumption it rests on.
        amount: Cost over the profile's span [currency], six decimals.
        low: The same if the assumption is too high by its uncertainty.
        high: The same if it is too low.
        negotiable: False for what the supplier only passes on.
    """

    key: str
    text: str
    amount: Decimal
    low: Decimal
    high: Decimal
    negotiable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorEstimate:
    """The supplier's probable least price for a pool.

    Attributes:
        currency: ISO 4217 code of all amounts.
        lines: Steps; `total` is their exact sum.
        energy_kwh: Volume the rates refer to [kWh].
        meters: Homes served.
        capture_ratio: Load-weighted spot price over mean spot price [1].
        assumptions: What the estimate rests on.
    """

    currency: str
    lines: tuple[WaterfallLine, ...]
    energy_kwh: Decimal
    meters: int
    capture_ratio: float
    assumptions: FloorAssumptions

    @property
    def total(self) -> Decimal:
        """Cost over the profile's span [currency]."""
        return sum((line.amount for line in self.lines), Decimal(0))

    @property
    def total_low(self) -> Decimal:
        """Cost if every assumption is too high by its uncertainty [currency]."""
        return sum((line.low for line in self.lines), Decimal(0))

    @property
    def total_high(self) -> Decimal:
        """Cost if every assumption is too low by its uncertainty [currency]."""
        return sum((line.high for line in self.lines), Decimal(0))

    @property
    def rate_per_kwh(self) -> Decimal:
        """All-in floor per kWh of the pool [currency/kWh]."""
        return (self.total / self.energy_kwh).quantize(MICRO)

    @property
    def rate_low_per_kwh(self) -> Decimal:
        """Lower end of the floor [currency/kWh]."""
        return (self.total_low / self.energy_kwh).quantize(MICRO)

    @property
    def rate_high_per_kwh(self) -> Decimal:
        """Upper end of the floor [currency/kWh]."""
        return (self.total_high / self.energy_kwh).quantize(MICRO)

    def amount(self, key: str) -> Decimal:
        """Return one line's amount [currency]; KeyError when there is no such line."""
        return {line.key: line.amount for line in self.lines}[key]

    def as_json(self) -> dict[str, Any]:
        """Give the estimate as JSON values, money as decimal strings."""
        return {
            "currency": self.currency,
            "meters": self.meters,
            "energy_kwh": str(self.energy_kwh),
            "capture_ratio": self.capture_ratio,
            "lines": [
                {
                    "key": line.key,
                    "text": line.text,
                    "amount": str(line.amount),
                    "low": str(line.low),
                    "high": str(line.high),
                    "negotiable": line.negotiable,
                }
                for line in self.lines
            ],
            "total": str(self.total),
            "rate_per_kwh": str(self.rate_per_kwh),
            "rate_low_per_kwh": str(self.rate_low_per_kwh),
            "rate_high_per_kwh": str(self.rate_high_per_kwh),
            "assumptions": asdict(self.assumptions),
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{line.key}</td><td style='text-align:right'>{line.amount:,.2f}</td>"
            f"<td>{escape(line.text)}</td></tr>"
            for line in self.lines
        )
        return (
            f"<table><caption>Supplier floor {self.rate_per_kwh} {self.currency}/kWh</caption>"
            f"<tr><th>line</th><th>{self.currency}</th><th>why</th></tr>{rows}"
            f"<tr><th>total</th><th>{self.total:,.2f}</th><th></th></tr></table>"
        )


def estimate_floor(
    pool: LoadProfile,
    spot_per_mwh: ArrayLike,
    *,
    currency: str,
    timezone: str,
    meters: int,
    assumptions: FloorAssumptions | None = None,
    holidays: Collection[date] = (),
    forecast_wh: ArrayLike | None = None,
    seed: int = 0,
) -> FloorEstimate:
    """Estimate a supplier's cost of serving a pool, line by line.

    Args:
        pool: The pool's summed import [Wh], without gaps.
        spot_per_mwh: Spot price of each of the pool's intervals [currency/MWh].
        currency: ISO 4217 code of the prices and assumptions.
        timezone: IANA zone of the market; its peak block is Monday to Friday, 08:00 to 20:00.
        meters: Homes in the pool.
        assumptions: What the data cannot tell; all zero when left out.
        holidays: Local dates without a peak block.
        forecast_wh: Day-ahead forecast of the pool [Wh]; the same interval of the week before
            when left out.
        seed: Seed of the bootstrap; the same seed compares two pools on the same scenarios.

    Raises:
        InvalidProfile: Prices and load differ in length or hold gaps.
        InsufficientProfile: Fewer than four weeks.

    Source: cost components after C. Burger, B. Graeber and G. Schindlmayr, "Managing Energy Risk",
    2nd ed., Wiley 2014, chapter 6 (full-supply contracts). The decomposition is an identity.
    """
    given = assumptions or FloorAssumptions()
    load_mwh, price = _checked(pool, spot_per_mwh, meters)
    calendar = local_calendar(pool.start, pool.step_s, len(pool), timezone, holidays)
    energy = _EnergyCost.of(load_mwh, price, calendar)
    risk = _tail_risk(load_mwh - energy.hedge_mwh, load_mwh, price, pool.step_s, given, seed)
    lines = (
        _measured("base_block", "flat block at each month's mean spot price", energy.base),
        _measured("peak_block", "extra for weekday 08:00-20:00 blocks", energy.peak_block),
        _measured("shape", "typical hours that blocks cannot follow", energy.shape),
        _measured("covariance", "load and price rising together", energy.covariance),
        *_hedging_lines(given, energy, risk, _missed_mwh(load_mwh, pool.step_s, forecast_wh)),
        *_customer_lines(
            given,
            energy,
            meters=meters,
            volume_kwh=float(load_mwh.sum()) * 1000,
            years=len(pool) * pool.step_s / 3600 / HOURS_PER_YEAR,
        ),
    )
    return FloorEstimate(
        currency=currency,
        lines=lines,
        energy_kwh=Decimal(int(np.rint(load_mwh.sum() * 1e6))) / 1000,
        meters=meters,
        capture_ratio=capture_ratio(load_mwh, price),
        assumptions=given,
    )


def capture_ratio(load: ArrayLike, price: ArrayLike) -> float:
    """Return the load-weighted mean price over the plain mean price; NaN when that mean is zero."""
    weights, prices = np.asarray(load, dtype=np.float64), np.asarray(price, dtype=np.float64)
    base = float(prices.mean())
    if not base or not weights.sum():
        return float("nan")
    return float((weights * prices).sum() / weights.sum()) / base


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnergyCost:
    """The four parts of load priced at spot, and the blocks that hedge it."""

    base: float
    peak_block: float
    shape: float
    covariance: float
    hedge_mwh: NDArray[np.float64]

    @property
    def total(self) -> float:
        return self.base + self.peak_block + self.shape + self.covariance

    @classmethod
    def of(
        cls, load: NDArray[np.float64], price: NDArray[np.float64], calendar: LocalCalendar
    ) -> "_EnergyCost":
        month = calendar.month_index.astype(np.int64)
        working = calendar.day_type == 0
        hour = calendar.hour.astype(np.int64)
        in_peak = (working & (hour >= 8) & (hour < 20)).astype(np.int64)
        block = month * 2 + in_peak
        cell = (month * 2 + working) * 24 + hour
        base = _priced_at_means(load, price, month)
        blocks, hedge = _priced_at_means(load, price, block), _means(load, block)
        cells = _priced_at_means(load, price, cell)
        spot = float((load * price).sum())
        return cls(
            base=base,
            peak_block=blocks - base,
            shape=cells - blocks,
            covariance=spot - cells,
            hedge_mwh=hedge,
        )


def _hedging_lines(
    given: FloorAssumptions, energy: _EnergyCost, risk: float, missed_mwh: float
) -> tuple[WaterfallLine, ...]:
    """Price what buying ahead costs, and what it leaves open."""
    blocks = max(energy.base + energy.peak_block, 0.0)
    option = ATM_OPTION * given.forward_volatility_per_year * (given.validity_days / 365) ** 0.5
    return (
        _assumed(
            "forward_premium",
            f"forwards {given.forward_premium_share:.1%} above expected spot",
            given.forward_premium_share * blocks,
            given,
        ),
        _assumed(
            "imbalance",
            f"{missed_mwh:,.1f} MWh missed day ahead at {given.imbalance_spread_per_mwh:g} per MWh",
            missed_mwh * given.imbalance_spread_per_mwh,
            given,
        ),
        _assumed(
            "risk",
            f"{given.risk_weight:g} x (mean of the worst {given.risk_tail_share:.0%} of years - "
            f"mean of all), {given.scenarios} joint bootstrap years",
            given.risk_weight * risk,
            given,
        ),
        _assumed(
            "validity",
            f"offer kept open {given.validity_days:g} days at "
            f"{given.forward_volatility_per_year:.0%} volatility",
            option * blocks,
            given,
        ),
    )


def _customer_lines(
    given: FloorAssumptions, energy: _EnergyCost, *, meters: int, volume_kwh: float, years: float
) -> tuple[WaterfallLine, ...]:
    """Price what each home and each kWh costs beside the energy."""
    per_meter = given.serving_per_meter_year * years
    per_meter += given.acquisition_per_meter * years * 12 / given.term_months
    pass_through = given.pass_through_per_kwh * volume_kwh
    pass_through += given.pass_through_per_meter_year * meters * years
    credit = given.credit_rate_per_year * given.credit_days / 365
    passed_on = _measured("pass_through", "network charges and levies", pass_through)
    return (
        _assumed("serving", f"{meters} homes served and won", per_meter * meters, given),
        _assumed(
            "credit",
            f"{given.credit_days:g} days outstanding at {given.credit_rate_per_year:.1%} a year",
            credit * (max(energy.total, 0.0) + pass_through),
            given,
        ),
        replace(passed_on, negotiable=False),
        _assumed(
            "margin",
            f"least margin of {given.margin_per_kwh:g} per kWh",
            given.margin_per_kwh * volume_kwh,
            given,
        ),
    )


def _means(series: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Replace each entry by the mean of its group."""
    count = np.bincount(group)
    total = np.bincount(group, weights=series)
    means: NDArray[np.float64] = (total / np.maximum(count, 1))[group]
    return means


def _priced_at_means(
    load: NDArray[np.float64], price: NDArray[np.float64], group: NDArray[np.int64]
) -> float:
    return float((load * _means(price, group)).sum())


def _tail_risk(
    open_mwh: NDArray[np.float64],
    load_mwh: NDArray[np.float64],
    price: NDArray[np.float64],
    step_s: int,
    given: FloorAssumptions,
    seed: int,
) -> float:
    """Return CVaR minus mean of what blocks leave unhedged, over joint bootstrap years.

    Load and price of a week are drawn together, so that their covariance is kept. CVaR is
    sub-additive over scenarios that two pools share, so merging pools never raises it.
    """
    per_week = WEEK_S // step_s
    weeks = load_mwh.size // per_week
    used = weeks * per_week
    shape = (weeks, per_week)
    prices = price[:used].reshape(shape)
    spot_cost = (load_mwh[:used].reshape(shape) * prices).sum(axis=1)
    hedge = (load_mwh - open_mwh)[:used].reshape(shape)
    # Entry (w, s): what is left to buy when week s happens at the place of week w.
    unhedged = spot_cost[None, :] - hedge @ prices.T
    rng = np.random.default_rng(seed)
    reach = min(given.window_weeks, (weeks - 1) // 2)
    shifts = rng.integers(-reach, reach + 1, size=(given.scenarios, weeks))
    places = np.arange(weeks)
    years = unhedged[places, (places + shifts) % weeks].sum(axis=1)
    worst = max(1, int(np.ceil(given.risk_tail_share * given.scenarios)))
    tail = np.partition(years, given.scenarios - worst)[given.scenarios - worst :]
    return max(0.0, float(tail.mean() - years.mean())) * load_mwh.size / used


def _missed_mwh(load_mwh: NDArray[np.float64], step_s: int, forecast_wh: ArrayLike | None) -> float:
    """Return the sum of absolute day-ahead errors over the whole span [MWh]."""
    if forecast_wh is not None:
        forecast = np.asarray(forecast_wh, dtype=np.float64) / 1e6
        if forecast.shape != load_mwh.shape or not np.isfinite(forecast).all():
            raise InvalidProfile("forecast_wh must give one finite number for each interval")
        return float(np.abs(load_mwh - forecast).sum())
    lag = WEEK_S // step_s
    errors = np.abs(load_mwh[lag:] - load_mwh[:-lag])
    return float(errors.mean()) * load_mwh.size


def _checked(
    pool: LoadProfile, spot_per_mwh: ArrayLike, meters: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    price = np.asarray(spot_per_mwh, dtype=np.float64)
    if price.shape != (len(pool),):
        raise InvalidProfile(
            f"{price.size} prices for {len(pool)} intervals: give one price per interval of the "
            "pool, on the same step"
        )
    if not np.isfinite(price).all():
        at = int(np.flatnonzero(~np.isfinite(price))[0])
        raise InvalidProfile(f"the spot price of interval {at} is missing: fill or cut the span")
    if meters < 1:
        raise InvalidProfile(f"meters is {meters}: a pool has at least one home")
    if pool.missing_mask.any():
        raise InsufficientProfile(
            reasons=[f"the pool misses {int(pool.missing_mask.sum())} intervals; add whole homes"]
        )
    if len(pool) * pool.step_s < WEEKS_MIN * WEEK_S:
        raise InsufficientProfile(
            reasons=[f"the pool covers less than {WEEKS_MIN} weeks; a floor needs weeks to draw"]
        )
    if not pool.import_wh.any():
        raise InsufficientProfile(reasons=["the pool uses no energy; there is nothing to price"])
    return np.asarray(pool.import_wh, dtype=np.float64) / 1e6, price


def _measured(key: str, text: str, amount: float) -> WaterfallLine:
    exact = _micro(amount)
    return WaterfallLine(key=key, text=text, amount=exact, low=exact, high=exact)


def _assumed(key: str, text: str, amount: float, given: FloorAssumptions) -> WaterfallLine:
    spread = given.uncertainty_share * amount
    return WaterfallLine(
        key=key,
        text=text,
        amount=_micro(amount),
        low=_micro(amount - spread),
        high=_micro(amount + spread),
    )


def _micro(amount: float) -> Decimal:
    exact = Decimal(repr(float(amount))).quantize(MICRO)
    return Decimal(0).quantize(MICRO) if exact == 0 else exact
