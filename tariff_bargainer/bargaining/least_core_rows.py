"""The least core of a shared peak for more homes than can be enumerated, by row generation.

Of all coalitions only those that complain most bind. So the linear programme starts with single
homes and with all but one, and a small integer programme finds the coalition that is worst off
under the present sharing; it is added until none is worse off than the programme says.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from tariff_bargainer.bargaining.cost_sharing import LeastCore
from tariff_bargainer.errors import NoFairSplit

Floats = NDArray[np.float64]
PLAYERS_MAX = 60
CELLS_MAX = 2_000
ROUNDS_MAX = 2_000
TOLERANCE_SHARE = 1e-7
"""Complaint, as a share of the whole cost, below which a coalition is content enough."""


def least_core_of_peak(loads_wh: Floats, price_per_kw: float, *, step_s: int) -> LeastCore:
    """Share the cost of a common peak so that the worst-off coalition is as content as can be.

    Args:
        loads_wh: Load of each player [Wh], shape (players, cells); 2 to 60 players.
        price_per_kw: Price of the highest mean power [currency per kW].
        step_s: Length of a cell [s].

    Raises:
        NoFairSplit: Too many players or cells, or no solution was found.

    Source: constraint generation for the least core as in N. Hallefjord, R. Helming, K. Jornsten,
    "Computing the nucleolus when the characteristic function is given implicitly", International
    Journal of Game Theory 24, 1995.
    """
    players, cells = loads_wh.shape
    if not 2 <= players <= PLAYERS_MAX or not 1 <= cells <= CELLS_MAX:
        raise NoFairSplit(
            problem=f"{players} players in {cells} cells: give 2 to {PLAYERS_MAX} players and up to "
            f"{CELLS_MAX} cells, such as typical days",
            short_minor=0,
        )
    costs_by_cell = loads_wh * (3.6 / step_s * price_per_kw)
    whole = float(costs_by_cell.sum(axis=0).max())
    alone = np.eye(players)
    coalitions = np.unique(np.vstack([alone, 1.0 - alone]), axis=0)
    for _ in range(ROUNDS_MAX):
        shares, excess = _share(coalitions, costs_by_cell, whole)
        worst, complaint = _worst_off(shares, costs_by_cell)
        if complaint <= excess + TOLERANCE_SHARE * max(whole, 1e-12):
            return LeastCore(shares=shares, excess=excess)
        coalitions = np.vstack([coalitions, worst])
    raise NoFairSplit(
        problem=f"no least core after {ROUNDS_MAX} coalitions: group homes into archetypes first",
        short_minor=0,
    )


def _share(coalitions: Floats, costs_by_cell: Floats, whole: float) -> tuple[Floats, float]:
    """Find the best sharing as far as these coalitions are concerned, and their worst complaint."""
    players = coalitions.shape[1]
    solved = linprog(
        c=np.append(np.zeros(players), 1.0),
        A_ub=np.hstack([coalitions, -np.ones((len(coalitions), 1))]),
        b_ub=(coalitions @ costs_by_cell).max(axis=1),
        A_eq=np.append(np.ones(players), 0.0)[None, :],
        b_eq=[whole],
        bounds=[(None, None)] * (players + 1),
        method="highs",
    )
    if not solved.success:
        raise NoFairSplit(problem=f"no least core was found: {solved.message}", short_minor=0)
    return np.asarray(solved.x[:-1]), float(solved.x[-1])


def _worst_off(shares: Floats, costs_by_cell: Floats) -> tuple[Floats, float]:
    """Find the coalition that pays most beyond its own peak, and by how much.

    Its complaint is the least, over cells, of what its members pay less what that cell alone would
    cost; the integer programme lifts that least as high as it goes.
    """
    players, cells = costs_by_cell.shape
    margins = np.hstack([shares[None, :] - costs_by_cell.T, -np.ones((cells, 1))])
    members = np.append(np.ones(players), 0.0)
    found = milp(
        c=np.append(np.zeros(players), -1.0),
        constraints=[
            LinearConstraint(margins, lb=0.0),
            LinearConstraint(members[None, :], lb=1.0, ub=players - 1.0),
        ],
        integrality=np.append(np.ones(players), 0.0),
        bounds=Bounds(np.append(np.zeros(players), -np.inf), np.append(np.ones(players), np.inf)),
    )
    if found.x is None:
        raise NoFairSplit(problem=f"no worst coalition was found: {found.message}", short_minor=0)
    inside = np.rint(found.x[:-1])
    return inside, float(inside @ shares - (inside @ costs_by_cell).max())
