"""Supplier offers, and what each one would have meant for every home on its own real use.

An offer is judged home by home against the tariff that home has today. The result holds each
home's own figures, for that home's eyes, and the group's figures, for the board's: totals,
counts and a histogram, and whether the members' mandate is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from html import escape
from statistics import median_low

from tariff_bargainer.bargaining.minor_units import minor_places, money_text, to_minor
from tariff_bargainer.billing.bill import bill
from tariff_bargainer.billing.cells import Portfolio
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.billing.sweep import sweep
from tariff_bargainer.errors import InsufficientProfile, MismatchedHomes
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import Tariff

BARS_MAX = 24
"""Most bars in a histogram of savings; outer bars take everything beyond."""
NICE_STEPS = (1, 2, 5)
RATE_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a supplier offers to all members of a pool.

    Attributes:
        offer_id: Name of the offer within its tender.
        supplier: Who offers.
        tariff: The price, with everything a bill needs.
        term_months: Length of the contract [months].
        green_share: Share of the energy from renewable sources [0..1].
        valid_until: Instant until which it can be accepted, UTC; None for no end.
        conditions: Further terms, in words.
    """

    offer_id: str
    supplier: str
    tariff: Tariff
    term_months: int
    green_share: Decimal = Decimal(0)
    valid_until: datetime | None = None
    conditions: tuple[str, ...] = ()

    def is_open(self, now: datetime) -> bool:
        """Tell whether it can still be accepted at `now` (aware)."""
        return self.valid_until is None or now < self.valid_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """What the members allow the board to accept.

    Attributes:
        saving_share_min: Least saving of the group, share of its old bill [0..1].
        losers_share_max: Largest share of homes that may pay over the limit more [0..1].
        loss_limit_minor: How much more a year a home may pay without counting [minor units].
        green_share_min: Least share of renewable energy [0..1].
        term_months_max: Longest contract [months], or None.
    """

    saving_share_min: Decimal = Decimal(0)
    losers_share_max: Decimal = Decimal(0)
    loss_limit_minor: int = 0
    green_share_min: Decimal = Decimal(0)
    term_months_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeOutcome:
    """One home's bills over the span of its profile.

    Attributes:
        home: Name of the home.
        old_minor: Bill on its own tariff [minor units].
        new_minor: Bill on the offer [minor units].
    """

    home: str
    old_minor: int
    new_minor: int

    @property
    def saving_minor(self) -> int:
        """Old bill less new bill; negative when the home would pay more [minor units]."""
        return self.old_minor - self.new_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many homes see which saving.

    Attributes:
        edges_minor: Rising edges [minor units], one more than bars; zero is one of them.
        counts: Homes per bar `[edge, next edge)`; the outer bars also hold what lies beyond.
    """

    edges_minor: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateCheck:
    """Whether an offer keeps the members' mandate.

    Attributes:
        kept: True when no clause is broken.
        loss_limit_minor: Loss that does not count over the bills' span [minor units].
        homes_over_limit: Homes that would pay over the limit more.
        homes_allowed: How many may.
        broken: Each broken clause in words.
    """

    kept: bool
    loss_limit_minor: int
    homes_over_limit: int
    homes_allowed: int
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferEvaluation:
    """An offer replayed on every home's real use.

    Attributes:
        offer: What was offered.
        currency: ISO 4217 code of all minor units.
        homes: Each home's own figures; not for the board.
        energy_kwh: Import of all homes together [kWh].
        days: Longest span of any home's profile [days].
        histogram: Savings by size.
        mandate: Whether the members' mandate is kept.
    """

    offer: Offer
    currency: str
    homes: tuple[HomeOutcome, ...]
    energy_kwh: Decimal
    days: float
    histogram: Histogram
    mandate: MandateCheck

    @property
    def old_minor(self) -> int:
        """What the group pays today [minor units]."""
        return sum(home.old_minor for home in self.homes)

    @property
    def new_minor(self) -> int:
        """What the group would pay on the offer [minor units]."""
        return sum(home.new_minor for home in self.homes)

    @property
    def saving_minor(self) -> int:
        """What the group saves [minor units]."""
        return self.old_minor - self.new_minor

    @property
    def saving_share(self) -> Decimal:
        """Saving over the old bill [1]; zero when there is no old bill."""
        return _share(self.saving_minor, self.old_minor)

    @property
    def winners(self) -> int:
        """Homes that would pay less."""
        return sum(home.saving_minor > 0 for home in self.homes)

    @property
    def losers(self) -> int:
        """Homes that would pay more."""
        return sum(home.saving_minor < 0 for home in self.homes)

    @property
    def median_saving_minor(self) -> int:
        """The middle home's saving, the lower of two [minor units]."""
        return median_low(home.saving_minor for home in self.homes)

    @property
    def price_per_kwh(self) -> Decimal:
        """All-in average price for this load [currency/kWh]."""
        return average_price(self.new_minor, self.energy_kwh, self.currency)

    @property
    def old_price_per_kwh(self) -> Decimal:
        """All-in average price the group pays today [currency/kWh]."""
        return average_price(self.old_minor, self.energy_kwh, self.currency)

    def saving_of(self, home: str) -> int:
        """Return one home's saving [minor units]; KeyError when it is not inside."""
        return {outcome.home: outcome.saving_minor for outcome in self.homes}[home]

    def _repr_html_(self) -> str:
        verdict = "within mandate" if self.mandate.kept else "; ".join(self.mandate.broken)
        return (
            f"<p><b>{escape(self.offer.supplier)}</b>, {escape(self.offer.tariff.name)}: "
            f"{self.price_per_kwh} {self.currency}/kWh, group saves "
            f"{money_text(self.saving_minor, self.currency)} ({self.saving_share:.1%}); "
            f"{self.winners} of {len(self.homes)} homes pay less, {self.losers} more; {escape(verdict)}</p>"
        )


def price_homes(
    homes: Mapping[str, LoadProfile],
    tariffs: Mapping[str, Tariff] | Tariff,
    *,
    index: Mapping[str, IndexSeries] | None = None,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Bill each home on one tariff, or on its own; whole minor units, rounded once per bill.

    Args:
        homes: Profiles by home.
        tariffs: One tariff for all, or one per home.
        index: Price series by the name that tariffs use.
        quick: Price all homes of a tariff at once, in 64-bit floats, for choosing among offers
            for thousands of homes; a bill may then be off by one minor unit. Tariffs with a
            rounding rule of their own are still billed exactly.
        progress: Called with the homes billed and all homes.

    Raises:
        MismatchedHomes: A home has no tariff.
        InsufficientProfile: A home has gaps.
    """
    bills: dict[str, int] = {}
    together: dict[int, tuple[Tariff, list[str]]] = {}
    for home, profile in homes.items():
        tariff = tariffs if isinstance(tariffs, Tariff) else tariffs.get(home)
        if tariff is None:
            raise MismatchedHomes(home=home, problem="has no tariff of its own to compare with")
        if quick and tariff.rounding.places is None:
            # One object is one tariff, however many homes share it.
            together.setdefault(id(tariff), (tariff, []))[1].append(home)
        else:
            with naming_home(home):
                total = bill(profile, tariff, index=index).annual.total
            bills[home] = to_minor(total, tariff.currency)
            if progress:
                progress(len(bills), len(homes))
    for tariff, names in together.values():
        portfolio = Portfolio.of([homes[name] for name in names])
        totals = sweep(portfolio, [tariff], index=index).total[:, 0]
        for name, total_float in zip(names, totals, strict=True):
            # Eight places hold all that a float of this size knows, and drop its last noise.
            bills[name] = to_minor(Decimal(f"{total_float:.8f}"), tariff.currency)
        if progress:
            progress(len(bills), len(homes))
    return {home: bills[home] for home in homes}


@contextmanager
def naming_home(home: str) -> Iterator[None]:
    """Say which home's profile is insufficient."""
    try:
        yield
    except InsufficientProfile as found:
        raise InsufficientProfile(
            reasons=[f"{home}: {reason}" for reason in found.reasons]
        ) from None


def evaluate_offer(
    offer: Offer,
    homes: Mapping[str, LoadProfile],
    old_tariffs: Mapping[str, Tariff],
    mandate: Mandate,
    *,
    old_bills_minor: Mapping[str, int] | None = None,
    index: Mapping[str, IndexSeries] | None = None,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> OfferEvaluation:
    """Replay an offer on every home's real use.

    Args:
        offer: What was offered.
        homes: Each home's profile over the same span, without gaps.
        old_tariffs: Each home's own tariff.
        mandate: What the members allow.
        old_bills_minor: Result of `price_homes(homes, old_tariffs)` if it is known already;
            many offers share it.
        index: Price series by the name that tariffs use.
        quick: As for `price_homes`.
        progress: As for `price_homes`, while homes are billed under the offer.

    Raises:
        MismatchedHomes: No homes, or a home without a tariff, or in another currency.
        InsufficientProfile: A home has gaps.
    """
    if not homes:
        raise MismatchedHomes(home="", problem="the group is empty: give at least one home")
    currency = offer.tariff.currency
    for home in homes:
        if home in old_tariffs and old_tariffs[home].currency != currency:
            raise MismatchedHomes(
                home=home,
                problem=f"pays in {old_tariffs[home].currency}, the offer is in {currency}",
            )
    old = old_bills_minor or price_homes(homes, old_tariffs, index=index, quick=quick)
    missing = next((home for home in homes if home not in old), None)
    if missing is not None:
        raise MismatchedHomes(home=missing, problem="has no bill on its old tariff")
    new = price_homes(homes, offer.tariff, index=index, quick=quick, progress=progress)
    outcomes = tuple(
        HomeOutcome(home=home, old_minor=old[home], new_minor=new[home]) for home in homes
    )
    energy_wh = sum((Fraction(float(p.import_wh.sum())) for p in homes.values()), Fraction(0))
    days = max((profile.end - profile.start) / timedelta(days=1) for profile in homes.values())
    return OfferEvaluation(
        offer=offer,
        currency=currency,
        homes=outcomes,
        energy_kwh=Decimal(round(energy_wh)) / 1000,
        days=days,
        histogram=savings_histogram([outcome.saving_minor for outcome in outcomes]),
        mandate=check_mandate(mandate, offer, outcomes, days=days),
    )


def check_mandate(
    mandate: Mandate, offer: Offer, outcomes: Sequence[HomeOutcome], *, days: float = 365
) -> MandateCheck:
    """Compare an offer with what the members allow.

    Args:
        mandate: What the members allow; its money limit is per year.
        offer: What was offered.
        outcomes: Each home's bills.
        days: Span of these bills [days]; the yearly limit is scaled to it unless it is a year.
    """
    currency = offer.tariff.currency
    limit_minor = mandate.loss_limit_minor
    if not 364 <= days <= 366:
        limit_minor = int(limit_minor * days / 365)
    over = sum(-outcome.saving_minor > limit_minor for outcome in outcomes)
    allowed = int(mandate.losers_share_max * len(outcomes))
    old_minor = sum(outcome.old_minor for outcome in outcomes)
    saving_minor = sum(outcome.saving_minor for outcome in outcomes)
    broken = []
    if over > allowed:
        broken.append(
            f"{over} homes would pay over {money_text(limit_minor, currency)} more, "
            f"{allowed} of {len(outcomes)} may"
        )
    if Decimal(saving_minor) < mandate.saving_share_min * old_minor:
        broken.append(
            f"the group saves {_share(saving_minor, old_minor):.1%}, "
            f"{mandate.saving_share_min:.1%} is asked"
        )
    if offer.green_share < mandate.green_share_min:
        broken.append(f"{offer.green_share:.0%} green, {mandate.green_share_min:.0%} is asked")
    if mandate.term_months_max is not None and offer.term_months > mandate.term_months_max:
        broken.append(
            f"a term of {offer.term_months} months, at most {mandate.term_months_max} is allowed"
        )
    return MandateCheck(
        kept=not broken,
        loss_limit_minor=limit_minor,
        homes_over_limit=over,
        homes_allowed=allowed,
        broken=tuple(broken),
    )


def savings_histogram(savings_minor: Sequence[int], *, bars_max: int = BARS_MAX) -> Histogram:
    """Count homes by saving, in bars of a round width with an edge at zero.

    The middle nine tenths of the homes decide the width, so that one extreme home does not
    squeeze all others into one bar; the outer bars take what lies beyond.
    """
    ordered = sorted(savings_minor)
    low = min(0, ordered[len(ordered) // 20])
    high = max(0, ordered[-1 - len(ordered) // 20])
    width = _round_width(max(1, high - low), bars_max - 2)
    # A loser beyond the middle still needs a bar on its own side of zero.
    first = min(low // width, -1 if ordered[0] < 0 else 0)
    last = high // width + 1
    counts = [0] * (last - first)
    for saving in ordered:
        counts[min(max(saving // width, first), last - 1) - first] += 1
    edges = tuple(place * width for place in range(first, last + 1))
    return Histogram(edges_minor=edges, counts=tuple(counts))


def average_price(amount_minor: int, energy_kwh: Decimal, currency: str) -> Decimal:
    """Return money over energy [currency/kWh], six places; zero without energy."""
    if not energy_kwh:
        return Decimal(0)
    amount = Decimal(amount_minor).scaleb(-minor_places(currency))
    return (amount / energy_kwh).quantize(RATE_PLACES, rounding=ROUND_HALF_UP)


def _round_width(span: int, bars: int) -> int:
    decade = 1
    while True:
        for step in NICE_STEPS:
            if step * decade * bars >= span:
                return step * decade
        decade *= 10


def _share(part_minor: int, whole_minor: int) -> Decimal:
    if not whole_minor:
        return Decimal(0)
    return (Decimal(part_minor) / Decimal(whole_minor)).quantize(RATE_PLACES)
