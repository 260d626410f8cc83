"""Many homes under many tariffs, quickly.

Loads are reduced once to cells and highest windows; tariffs are then matrix products over the
cells. Blocks in the order of use and index-linked prices go over the year's hours once. A tariff
with a rule that cells cannot show (net metering with export, daily demand, mid-month seasons …)
is priced home by home with the exact `bill`, so that a sweep never leaves a rule out.

Results are 64-bit floats for choosing; they agree with `bill` to about 1e-9, before rounding by
the tariff's own rule. Money is paid on `bill` alone.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tariff_bargainer.billing.bill import bill, is_chronological
from tariff_bargainer.billing.cell_pricing import price_on_cells
from tariff_bargainer.billing.cells import Portfolio
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.billing.reduction import Reduction, holidays_for, periods_of, table_of
from tariff_bargainer.tariffs.tariff import (
    DemandCharge,
    EnergyCharge,
    Metering,
    Period,
    Tariff,
)

Floats = NDArray[np.float64]
PARTS = ("energy", "demand", "fixed", "minimum", "export_credit", "discount", "tax")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweepResult:
    """Annual amounts of every home under every tariff, each of shape (n_homes, n_tariffs).

    Attributes:
        names: Names of the tariffs, in order.
        currencies: Their currencies.
        parts: Amounts by component [currency], as in `Amounts`.
        exact: Why a tariff was priced home by home with `bill`, or empty.
    """

    names: tuple[str, ...]
    currencies: tuple[str, ...]
    parts: Mapping[str, Floats]
    exact: tuple[str, ...]

    @property
    def total(self) -> Floats:
        """What is to pay [currency], shape (n_homes, n_tariffs)."""
        signs = {"export_credit": -1.0}
        total: Floats = np.sum(
            [signs.get(name, 1.0) * part for name, part in self.parts.items()], axis=0
        )
        return total

    def _repr_html_(self) -> str:
        """Show the totals as a table in a notebook."""
        return str(self.to_frame().to_html(max_rows=20))

    def to_frame(self, homes: Sequence[str] | None = None) -> pd.DataFrame:
        """Give the totals as a frame, homes down and tariffs across [currency]."""
        rows = None if homes is None else list(homes)
        return pd.DataFrame(self.total, index=rows, columns=list(self.names))


def sweep(
    portfolio: Portfolio,
    tariffs: Sequence[Tariff],
    *,
    metering: Metering | None = None,
    index: Mapping[str, IndexSeries] | None = None,
    conditions: AbstractSet[str] = frozenset(),
    compiled: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SweepResult:
    """Price every home of a portfolio under every tariff.

    Args:
        portfolio: Loads of the homes, without gaps.
        tariffs: The tariffs.
        metering: As in `bill`.
        index: Price series by name.
        conditions: Conditions of discounts that all homes meet.
        compiled: Whether to use numba; None decides. The result is the same to the last bit.
        progress: Called with the tariffs done and all tariffs.

    Returns:
        Annual amounts by home, tariff and component.
    """
    # Columns are written one by one, so they are kept together in memory.
    parts = {name: np.zeros((len(tariffs), portfolio.n_homes)).T for name in PARTS}
    own = [tariff.metering if metering is None else metering for tariff in tariffs]
    reasons = [
        why_exact(tariff, portfolio, metered) for tariff, metered in zip(tariffs, own, strict=True)
    ]
    clocks: dict[tuple[str, frozenset[date]], list[int]] = {}
    done = 0
    for position, tariff in enumerate(tariffs):
        if reasons[position]:
            _price_exactly(parts, position, portfolio, tariff, own[position], index, conditions)
            done += 1
            if progress:
                progress(done, len(tariffs))
        else:
            clock = (tariff.timezone, holidays_for(tariff, portfolio))
            clocks.setdefault(clock, []).append(position)
    for positions in clocks.values():
        reduction = Reduction(portfolio, compiled, [tariffs[p] for p in positions])
        reduction.reduce()
        wanted = [(tariffs[p], own[p]) for p in positions]
        made = price_on_cells(reduction, wanted, index or {}, conditions)
        # A product adds twelve months several times as fast as a sum along the short axis.
        each_month = np.ones(reduction.grid.n_months)
        for position, amounts in zip(positions, made, strict=True):
            for name in amounts.used:
                parts[name][:, position] = getattr(amounts, name) @ each_month
            done += 1
            if progress:
                progress(done, len(tariffs))
    return SweepResult(
        names=tuple(tariff.name for tariff in tariffs),
        currencies=tuple(tariff.currency for tariff in tariffs),
        parts=parts,
        exact=tuple(reasons),
    )


def why_exact(tariff: Tariff, portfolio: Portfolio, metering: Metering) -> str:
    """Say which rule keeps a tariff from being priced on cells, or nothing."""
    if metering == "net" and portfolio.export_wh is not None:
        return "export is netted by month and carried on"
    step_min = portfolio.step_s / 60
    energies = [
        _why_exact_energy(charge, is_chronological(charge, tariff, metering))
        for charge in (*tariff.energy, *tariff.export)
    ]
    demands = [_why_exact_demand(charge, step_min) for charge in tariff.demand]
    schedules = [_why_exact_schedule(periods, tariff, step_min) for periods in periods_of(tariff)]
    return next((reason for reason in (*energies, *demands, *schedules) if reason), "")


def _why_exact_schedule(periods: tuple[Period, ...], tariff: Tariff, step_min: float) -> str:
    if any(window.season for period in periods for window in period.windows):
        return "seasons change within a month"
    if table_of(periods, tariff).slot_minutes % step_min:
        return "windows split an interval"
    return ""


def _why_exact_energy(charge: EnergyCharge, chronological: bool) -> str:
    if charge.register:
        return f"{charge.name} is metered on register {charge.register}"
    if any(tier.basis for period in charge.periods for tier in period.tiers):
        return f"{charge.name} has blocks that count in different units"
    if _ends(charge.periods):
        return f"{charge.name} says nothing of what lies above its last block"
    if charge.tiered and charge.tier_basis == "day" and not chronological:
        return f"{charge.name} shares daily blocks out over periods"
    return ""


def _why_exact_demand(charge: DemandCharge, step_min: float) -> str:
    if charge.register:
        return f"{charge.name} is metered on register {charge.register}"
    if charge.per == "day" or charge.n_highest > 1 or charge.coincident:
        return f"{charge.name} bills other peaks than the month's highest"
    if _ends(charge.periods):
        return f"{charge.name} says nothing of what lies above its last block"
    window_min = charge.window_min or 0
    if window_min > step_min and (60 % window_min or window_min % step_min):
        return f"{charge.name} has windows that do not fill the hour"
    return ""


def _ends(periods: Sequence[Period]) -> bool:
    """Whether a last block has an end; only a bill can tell whether it is gone beyond."""
    return any(period.tiers[-1].upto is not None for period in periods)


def _price_exactly(
    parts: Mapping[str, Floats],
    position: int,
    portfolio: Portfolio,
    tariff: Tariff,
    metering: Metering,
    index: Mapping[str, IndexSeries] | None,
    conditions: AbstractSet[str],
) -> None:
    for home in range(portfolio.n_homes):
        made = bill(
            portfolio.profile(home), tariff, metering=metering, index=index, conditions=conditions
        )
        for name, table in parts.items():
            table[home, position] = float(getattr(made.annual, name))
