"""A few typical homes that stand for all, chosen by what they get wrong in money.

Indices of cluster shape disagree from data set to data set, so the number of archetypes is chosen
by its use: how far a home's bill is off when the home is billed on its archetype's shape. Only
groupings that come out the same on resampled homes count, each archetype holds at least ten homes,
which also keeps single homes hidden, and of groupings that err about equally the coarsest is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score
from threadpoolctl import threadpool_limits

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
HOMES_MIN = 10
SILHOUETTE_SAMPLE = 2000
"""Homes used for the silhouette, whose cost grows with their square."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Archetypes:
    """A grouping of homes by the shape of their load.

    Attributes:
        labels: Archetype of each home, shape (homes,).
        shapes: Share of the year's energy per cell, each row summing to 1, shape (k, cells).
        sizes: Homes per archetype, shape (k,).
        tariff_error: Mean over homes and tariffs of |bill on the archetype's shape - own bill|
            over the own bill [1].
        tariff_error_deviation: Standard deviation over homes of their mean error [1].
        stability: Mean adjusted Rand index between the grouping and groupings of resampled homes
            [-1..1]; 1 when there is one archetype.
        silhouette: Silhouette of the grouping, or NaN for one archetype.
        davies_bouldin: Davies-Bouldin index, or NaN for one archetype.
    """

    labels: Labels
    shapes: Floats
    sizes: Labels
    tariff_error: float
    tariff_error_deviation: float
    stability: float
    silhouette: float
    davies_bouldin: float

    def to_frame(self) -> pd.DataFrame:
        """Give one row per archetype: homes, and share of energy per cell."""
        frame = pd.DataFrame(self.shapes)
        frame.insert(0, "homes", self.sizes)
        frame.index.name = "archetype"
        return frame

    def _repr_html_(self) -> str:
        if self.sizes.size == 1:
            return (
                f"<p><b>1 archetype</b> of {self.sizes[0]} homes; tariff error "
                f"{self.tariff_error:.2%}</p>"
            )
        return (
            f"<p><b>{self.sizes.size} archetypes</b> of {', '.join(map(str, self.sizes))} homes; "
            f"tariff error {self.tariff_error:.2%}, stability {self.stability:.2f}, silhouette "
            f"{self.silhouette:.2f}, Davies-Bouldin {self.davies_bouldin:.2f}</p>"
        )


def find_archetypes(
    cells_wh: ArrayLike,
    rates_per_kwh: ArrayLike,
    *,
    candidates: Sequence[int] = tuple(range(1, 9)),
    homes_min: int = HOMES_MIN,
    stability_min: float = 0.8,
    resamples: int = 12,
    seed: int = 0,
) -> Archetypes:
    """Group homes by shape: few groups, stable, and with about the least tariff error.

    Of the stable groupings, the coarsest is taken whose tariff error is within one standard error
    of the least: what is finer tells homes apart by chance.

    Args:
        cells_wh: Energy of each home by month, day type and hour [Wh], shape (homes, cells).
        rates_per_kwh: Price per cell of the tariffs that matter [currency/kWh], shape
            (tariffs, cells); none may be zero everywhere.
        candidates: Numbers of groups to try; 1 is always among them.
        homes_min: Least homes per archetype; smaller groups join the nearest.
        stability_min: Least mean adjusted Rand index over resamples.
        resamples: How often homes are drawn again, with replacement.
        seed: Seed of everything random.

    Raises:
        InsufficientProfile: Fewer homes than one archetype needs.
        InvalidProfile: Shapes of the arrays do not match, or a home uses no energy.

    Source: the one-standard-error rule of L. Breiman et al., "Classification and Regression Trees",
    1984; stability as in U. von Luxburg, "Clustering stability: an overview", 2010.
    """
    cells, rates = _checked(cells_wh, rates_per_kwh, homes_min)
    shapes = cells / cells.sum(axis=1, keepdims=True)
    found = [_one_group(cells, shapes, rates)]
    # k-means is run on square roots, which keep a few loud cells from deciding alone.
    points = np.sqrt(shapes)
    distinct = len(np.unique(points.round(9), axis=0))
    with threadpool_limits(limits=1, user_api="openmp"):
        for count in sorted({count for count in candidates if count > 1}):
            if count * homes_min > cells.shape[0] or count > distinct:
                break
            labels, centres = _group(points, count, homes_min, seed)
            if centres.shape[0] > 1:
                stability = _stability(points, labels, count, homes_min, resamples, seed)
                found.append(_described(cells, rates, points, labels, stability))
    stable = [one for one in found if one.stability >= stability_min]
    best = min(stable, key=lambda one: one.tariff_error)
    enough = best.tariff_error + best.tariff_error_deviation / np.sqrt(cells.shape[0])
    return min(
        (one for one in stable if one.tariff_error <= enough), key=lambda one: one.sizes.size
    )


def tariff_error(cells_wh: Floats, shapes: Floats, rates_per_kwh: Floats) -> float:
    """Return the mean relative bill error when each home takes the given shape.

    Args:
        cells_wh: Energy of each home [Wh], shape (homes, cells).
        shapes: Share of energy per cell billed instead, shape (homes, cells).
        rates_per_kwh: Price per cell [currency/kWh], shape (tariffs, cells).
    """
    return float(_errors(cells_wh, shapes, rates_per_kwh).mean())


def shape_distance(shape: ArrayLike, standard: ArrayLike) -> float:
    """Return the share of energy that would have to move to turn one shape into another [0..1].

    Args:
        shape: Energy or share per cell, shape (cells,).
        standard: The same of a standard profile.
    """
    first, second = np.asarray(shape, dtype=np.float64), np.asarray(standard, dtype=np.float64)
    return float(np.abs(first / first.sum() - second / second.sum()).sum() / 2)


def price_distance(shape: ArrayLike, standard: ArrayLike, price_per_kwh: ArrayLike) -> float:
    """Return what a kWh of a shape costs more than one of a standard profile [currency/kWh].

    Args:
        shape: Energy or share per cell, shape (cells,).
        standard: The same of a standard profile.
        price_per_kwh: Price per cell [currency/kWh].
    """
    first, second = np.asarray(shape, dtype=np.float64), np.asarray(standard, dtype=np.float64)
    return float((first / first.sum() - second / second.sum()) @ np.asarray(price_per_kwh))


def _errors(cells_wh: Floats, shapes: Floats, rates_per_kwh: Floats) -> Floats:
    """Return each home's relative bill error, the mean over tariffs, shape (homes,)."""
    own = cells_wh @ rates_per_kwh.T
    taken = (cells_wh.sum(axis=1, keepdims=True) * shapes) @ rates_per_kwh.T
    errors: Floats = (np.abs(taken - own) / np.abs(own)).mean(axis=1)
    return errors


def _one_group(cells: Floats, shapes: Floats, rates: Floats) -> Archetypes:
    labels = np.zeros(cells.shape[0], dtype=np.int64)
    return _described(cells, rates, shapes, labels, 1.0)


def _described(
    cells: Floats, rates: Floats, points: Floats, labels: Labels, stability: float
) -> Archetypes:
    count = int(labels.max()) + 1
    typical = np.vstack([cells[labels == label].sum(axis=0) for label in range(count)])
    typical /= typical.sum(axis=1, keepdims=True)
    many = count > 1
    errors = _errors(cells, typical[labels], rates)
    return Archetypes(
        labels=labels,
        shapes=typical,
        sizes=np.bincount(labels, minlength=count).astype(np.int64),
        tariff_error=float(errors.mean()),
        tariff_error_deviation=float(errors.std()),
        stability=stability,
        silhouette=(
            float(
                silhouette_score(
                    points,
                    labels,
                    sample_size=min(SILHOUETTE_SAMPLE, labels.size),
                    random_state=0,
                )
            )
            if many
            else float("nan")
        ),
        davies_bouldin=float(davies_bouldin_score(points, labels)) if many else float("nan"),
    )


def _group(
    points: Floats, count: int, homes_min: int, seed: int, starts: int = 8
) -> tuple[Labels, Floats]:
    """Run k-means, then let the smallest group below the minimum join the nearest, again."""
    model = KMeans(n_clusters=count, n_init=starts, random_state=seed).fit(points)
    labels = model.labels_.astype(np.int64)
    while True:
        sizes = np.bincount(labels)
        if sizes.size == 1 or sizes.min() >= homes_min:
            centres = np.vstack([points[labels == one].mean(axis=0) for one in range(sizes.size)])
            return labels, centres
        smallest = int(sizes.argmin())
        others = [one for one in range(sizes.size) if one != smallest]
        centres = np.vstack([points[labels == one].mean(axis=0) for one in others])
        homes = labels == smallest
        labels[homes] = np.array(others)[_nearest(points[homes], centres)]
        labels[labels > smallest] -= 1


def _nearest(points: Floats, centres: Floats) -> Labels:
    squared = (centres**2).sum(axis=1)[None, :] - 2 * points @ centres.T
    nearest: Labels = squared.argmin(axis=1).astype(np.int64)
    return nearest


def _stability(
    points: Floats, labels: Labels, count: int, homes_min: int, resamples: int, seed: int
) -> float:
    rng = np.random.default_rng(seed)
    scores = []
    for number in range(resamples):
        drawn = rng.integers(0, points.shape[0], size=points.shape[0])
        if len(np.unique(points[drawn].round(9), axis=0)) < count:
            scores.append(0.0)
            continue
        # A draw holds fewer homes of some kinds and more of others; half the minimum will do there.
        _, centres = _group(points[drawn], count, homes_min // 2, seed + 1 + number, starts=4)
        scores.append(adjusted_rand_score(labels, _nearest(points, centres)))
    return float(np.mean(scores))


def _checked(
    cells_wh: ArrayLike, rates_per_kwh: ArrayLike, homes_min: int
) -> tuple[Floats, Floats]:
    cells = np.asarray(cells_wh, dtype=np.float64)
    rates = np.atleast_2d(np.asarray(rates_per_kwh, dtype=np.float64))
    if cells.ndim != 2 or rates.shape[1] != cells.shape[1]:
        raise InvalidProfile(
            f"cells {cells.shape} and rates {rates.shape} do not match: give (homes, cells) and "
            "(tariffs, cells)"
        )
    if cells.shape[0] < homes_min:
        raise InsufficientProfile(
            reasons=[f"{cells.shape[0]} homes; one archetype needs {homes_min}"]
        )
    if not np.isfinite(cells).all() or (cells < 0).any() or (cells.sum(axis=1) <= 0).any():
        raise InvalidProfile("every home needs energy above zero and no missing cell: leave it out")
    if not (np.abs(cells @ rates.T) > 0).all():
        raise InvalidProfile("a tariff costs a home nothing: errors relative to it are undefined")
    return cells, rates
