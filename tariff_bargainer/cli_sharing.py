"""The command `sharing`: who brings what to a common peak. A report; nobody is paid by it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tariff_bargainer.cli_bargaining_input import (
    HomesOption,
    JsonOption,
    one_line_errors,
    read_homes,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tariff_bargainer.bargaining.cost_sharing import PoolCost

SHARING_EXAMPLE = (
    "Example: tariff-bargainer sharing --homes street/ --price-per-kw 60 --archetypes-by "
    "evening.toml --timezone Europe/Vienna --json"
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("sharing", epilog=SHARING_EXAMPLE)(sharing_command)


def sharing_command(
    homes: HomesOption,
    price_per_kw: Annotated[
        float, typer.Option(min=0, help="Price of the group's highest mean power, per kW.")
    ],
    archetypes_by: Annotated[
        Path | None,
        typer.Option(
            help="Tariff to group homes by first; shares are then nested: between archetypes "
            "exactly, and within each. For large groups."
        ),
    ] = None,
    timezone: Annotated[
        str, typer.Option(help="IANA zone of the homes' clock, for archetypes.")
    ] = "UTC",
    error: Annotated[
        float, typer.Option(min=1e-6, max=1, help="Share of the cost that sampling may be off by.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Report who brings what to a common peak: Shapley or Owen values, and the least core.

    Up to 12 homes exactly, with the least core; more by sampling, with the error that is left; with
    archetypes by the Owen value.
    """
    from tariff_bargainer.bargaining.cost_sharing import peak_cost
    from tariff_bargainer.profiles.load_profile import stack_profiles

    group = read_homes(homes)
    with one_line_errors(homes):
        loads, start, step_s = stack_profiles(group.values())
        cost = peak_cost(price_per_kw, step_s=step_s)
        if archetypes_by is not None:
            labels = _archetypes(loads, start, step_s, timezone, archetypes_by, seed)
            found = _nested(loads, cost, labels, seed)
        else:
            found = _plain(loads, cost, error, seed)
    shares = dict(zip(group, found.pop("shares"), strict=True))
    report = {
        "homes": len(group),
        "cost": float(cost(loads.sum(axis=0, keepdims=True))[0]),
        "cost_alone": float(cost(loads).sum()),
        **found,
        "shares": shares,
    }
    if as_json:
        print(json.dumps(report))
        return
    print(
        f"{len(group)} homes: {report['cost']:,.2f} together, {report['cost_alone']:,.2f} if each "
        f"paid for its own peak; {report['method']}"
    )
    for home, share in sorted(shares.items(), key=lambda one: -one[1]):
        print(f"  {home:24} {share:12,.2f}")


def _plain(
    loads: "NDArray[np.float64]", cost: "PoolCost", error: float, seed: int
) -> dict[str, Any]:
    from tariff_bargainer.bargaining.cost_sharing import (
        PLAYERS_EXACT_MAX,
        coalition_costs,
        core_excess,
        least_core,
        shapley_estimate,
        shapley_exact,
    )

    if len(loads) > PLAYERS_EXACT_MAX:
        made = shapley_estimate(loads, cost, error_share_max=error, seed=seed)
        kept = "within" if made.good_enough else "stopped at"
        return {
            "method": f"Shapley values from {made.permutations} orders, {kept} "
            f"{made.error_share:.2%} of the cost (99.9 % sure for all)",
            "permutations": made.permutations,
            "error_share": made.error_share,
            "good_enough": made.good_enough,
            "shares": made.values.tolist(),
            "standard_errors": made.standard_error.tolist(),
        }
    costs = coalition_costs(loads, cost)
    values = shapley_exact(costs)
    core = least_core(costs)
    return {
        "method": "exact Shapley values",
        "shares": values.tolist(),
        "least_core": core.shares.tolist(),
        "least_core_excess": core.excess,
        "worst_coalition_pays_beyond_its_own": core_excess(values, costs),
    }


def _nested(
    loads: "NDArray[np.float64]", cost: "PoolCost", labels: "NDArray[np.int64]", seed: int
) -> dict[str, Any]:
    import numpy as np

    from tariff_bargainer.bargaining.nested_sharing import owen_values

    made = owen_values(loads, labels, cost, seed=seed)
    return {
        "method": f"Owen values over {len(made.groups)} archetypes, exact between them",
        "archetypes": [
            {"homes": int((labels == number).sum()), "cost": float(total)}
            for number, total in enumerate(made.groups)
        ],
        "archetype_of": labels.tolist(),
        "shares": made.values.tolist(),
        "standard_errors": [None if np.isnan(one) else float(one) for one in made.standard_error],
    }


def _archetypes(
    loads: "NDArray[np.float64]", start: Any, step_s: int, timezone: str, by: Path, seed: int
) -> "NDArray[np.int64]":
    import numpy as np

    from tariff_bargainer.bargaining.cell_rates import rates_on_typical_days
    from tariff_bargainer.profiles.archetypes import find_archetypes
    from tariff_bargainer.profiles.load_profile import home_cells
    from tariff_bargainer.tariffs.tariff_file import read_tariff

    with one_line_errors(by):
        rates = rates_on_typical_days(read_tariff(by))
    cells = home_cells(loads, start=start, step_s=step_s, timezone=timezone)
    return find_archetypes(cells, np.vstack([rates]), seed=seed).labels
