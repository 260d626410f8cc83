"""What the board's negotiation room shows, with the geometry of its charts.

The board never sees one home: figures are of the whole group, and a number of homes that is
not zero is shown as it is only in counts of winners and losers, never with a name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection

from cloud.errors import NotFound
from cloud.negotiations import repository
from cloud.negotiations.repository import LogLine, StoredOffer, Tender
from cloud.negotiations.usecases import talk_with
from cloud.web.charts import Bar, Tick, axis, curve, histogram, round_up
from cloud.web.formats import cents
from tariff_bargainer.bargaining.counter_offer import (
    Advice,
    CounterOffer,
    Negotiation,
    Party,
    Status,
    advise,
)

SPARK_WIDTH, SPARK_HEIGHT = 160.0, 34.0
ROW_HEIGHT = 26.0
# Room for the text of a price beside its mark.
LABEL_WIDTH = 52.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Sizes of the page's charts, in chart units; a phone gets a drawing of its own.

    Args:
        name: Style class that shows it on screens of its size only.
        range_width: Width of the scale of prices.
        histogram_width: Width of the bars of winners and losers.
        histogram_height: Height of the tallest bar.
        load_width: Width of the load curves.
        load_height: Height of the load curves.
        ticks: About how many marks an axis has.
    """

    name: str
    range_width: float
    histogram_width: float
    histogram_height: float
    load_width: float
    load_height: float
    ticks: int


WIDE = Drawing(
    name="only-wide",
    range_width=732.0,
    histogram_width=690.0,
    histogram_height=212.0,
    load_width=586.0,
    load_height=260.0,
    ticks=6,
)
NARROW = Drawing(
    name="only-narrow",
    range_width=300.0,
    histogram_width=300.0,
    histogram_height=150.0,
    load_width=282.0,
    load_height=170.0,
    ticks=3,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A move on the range chart; its price stands on the side where there is room."""

    x: float
    y: float
    label: str
    ours: bool
    label_left: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeChart:
    """The bargaining range with one supplier, in chart units.

    Args:
        drawing: The sizes it is drawn in.
        floor_from: Left end of the likely floor.
        floor_to: Right end.
        target: Our target.
        target_text: Middle of the words at the target.
        walk_away: Our walk-away.
        ticks: Marks in hundredths of the currency per kWh.
        points: Moves of both sides, a row per round.
        trails: Lines through the moves of each side, theirs first.
        gap: From our newest ask to their newest offer, if we asked.
        gap_label: How far it is, in words.
        height: Height of the rows of moves.
        summary: The chart in a sentence.
    """

    drawing: Drawing
    floor_from: float
    floor_to: float
    target: float
    target_text: float
    walk_away: float
    ticks: Sequence[Tick]
    points: Sequence[Point]
    trails: tuple[str, str]
    gap: tuple[float, float] | None
    gap_label: str
    height: float
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRow:
    """The newest offer of a supplier.

    Args:
        offer: As stored.
        name: Name of its tariff.
        term_months: Length of the contract.
        green_share: Share of renewable energy [0..1].
        spark: Small histogram.
        is_selected: Whether the page looks at this supplier.
        summary: The histogram in a sentence.
    """

    offer: StoredOffer
    name: str
    term_months: int
    green_share: float
    spark: Sequence[Bar]
    is_selected: bool
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WinsChart:
    """Winners and losers of an offer: bars of homes by the change of their yearly bill."""

    drawing: Drawing
    bars: Sequence[Bar]
    ticks: Sequence[Tick]
    zero_x: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadChart:
    """The released typical working day, winter and summer."""

    drawing: Drawing
    winter: str
    summer: str
    ticks: Sequence[Tick]
    top_kw: float
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """Everything on the page."""

    tender: Tender
    offers: Sequence[OfferRow]
    selected: OfferRow | None
    talk: Negotiation | None
    advice: CounterOffer | None
    ranges: Sequence[RangeChart]
    wins: Sequence[WinsChart]
    loads: Sequence[LoadChart]
    floor_lines: Sequence[dict[str, str]]
    log: Sequence[LogLine]
    signed: int
    may_accept: bool


def gather_board(connection: Connection, tender_id: str, supplier: str | None) -> BoardView:
    """Gather the page of one tender.

    Raises:
        NotFound: No such tender.
    """
    tender = repository.tender_row(connection, tender_id)
    if tender is None:
        raise NotFound(f"tender {tender_id}")
    newest = {one.supplier: one for one in repository.offers_of(connection, tender_id)}
    ordered = sorted(newest.values(), key=lambda one: Decimal(one.price_per_kwh))
    chosen = supplier if supplier in newest else _usual_choice(tender, ordered)
    rows = [_offer_row(tender, one, is_selected=one.supplier == chosen) for one in ordered]
    selected = next((row for row in rows if row.is_selected), None)
    talk = talk_with(connection, tender, chosen) if chosen else None
    can_answer = talk is not None and talk.status is Status.OPEN and _their_turn_over(talk)
    return BoardView(
        tender=tender,
        offers=rows,
        selected=selected,
        talk=talk,
        advice=advise(talk) if talk is not None and can_answer else None,
        ranges=[range_chart(talk, one) for one in (WIDE, NARROW)] if talk and talk.moves else [],
        wins=[_wins_chart(tender, selected, one) for one in (WIDE, NARROW)] if selected else [],
        loads=[_load_chart(tender, one) for one in (WIDE, NARROW)] if _has_load(tender) else [],
        floor_lines=[
            {"text": line["text"], "amount": line["amount"]} for line in tender.floor["lines"]
        ],
        log=repository.log_of(connection, tender_id),
        signed=len(repository.signers_of(connection, selected.offer.offer_number))
        if selected
        else 0,
        may_accept=bool(
            selected and selected.offer.mandate_kept and can_answer and tender.state == "open"
        ),
    )


def range_chart(talk: Negotiation, drawing: Drawing) -> RangeChart:
    """Place a negotiation on a scale of prices."""
    limits, width = talk.range, drawing.range_width
    prices = [move.price_per_kwh for move in talk.moves]
    values = [*prices, limits.floor_low, limits.floor_high, limits.target, limits.walk_away]
    low, high = float(min(values)) * 100, float(max(values)) * 100
    pad = max((high - low) * 0.08, 0.2)
    low, high = low - pad, high + pad

    def at(price: Decimal) -> float:
        return round((float(price) * 100 - low) / (high - low) * width, 1)

    points = [
        Point(
            x=at(move.price_per_kwh),
            y=ROW_HEIGHT * move.round,
            label=cents(move.price_per_kwh),
            ours=move.party == Party.COOP,
            label_left=_label_left(at(move.price_per_kwh), width, ours=move.party == Party.COOP),
        )
        for move in talk.moves
    ]
    gap = None
    if talk.our_prices and talk.their_prices:
        gap = (at(talk.our_prices[-1]), at(talk.their_prices[-1]))
    apart = talk.their_prices[-1] - talk.our_prices[-1] if gap else Decimal(0)
    summary = (
        f"Bargaining range with {talk.supplier} in cent per kWh. Supplier floor guessed at "
        f"{cents(limits.floor_low, 1)} to {cents(limits.floor_high, 1)}; our target "
        f"{cents(limits.target, 1)}; walk-away {cents(limits.walk_away, 1)}. "
        f"They offered {_listed(talk.their_prices)}; we asked {_listed(talk.our_prices)}."
    )
    target = at(limits.target)
    return RangeChart(
        drawing=drawing,
        floor_from=at(limits.floor_low),
        floor_to=at(limits.floor_high),
        target=target,
        target_text=min(max(target, LABEL_WIDTH), width - LABEL_WIDTH),
        walk_away=at(limits.walk_away),
        ticks=axis(
            low,
            high,
            length=width,
            steps=min(drawing.ticks + 1, 5),
            decimals=1 if high - low < 4 else 0,
        ),
        points=points,
        trails=(_trail(points, ours=False), _trail(points, ours=True)),
        gap=gap,
        gap_label=f"gap now {cents(apart)} ct" if apart > 0 else "",
        height=ROW_HEIGHT * (talk.round + 1),
        summary=summary,
    )


def _label_left(x: float, width: float, *, ours: bool) -> bool:
    """Asks have their price on the left and offers on the right, unless the edge is near."""
    return x > LABEL_WIDTH if ours else x > width - LABEL_WIDTH


def _trail(points: Sequence[Point], *, ours: bool) -> str:
    return " ".join(f"{point.x},{point.y}" for point in points if point.ours == ours)


def load_summary(
    cells_w: dict[str, list[float]], *, peak_w: float, evening_share: float
) -> dict[str, object]:
    """The part of a released typical day that pages draw.

    Args:
        cells_w: Mean power of the group by hour on working days, for `winter` and `summer` [W].
        peak_w: Largest mean of any released cell [W].
        evening_share: Share of energy used from 17 to 21 h [0..1].
    """
    return {"cells_w": cells_w, "peak_w": peak_w, "evening_share": evening_share}


def _usual_choice(tender: Tender, ordered: list[StoredOffer]) -> str | None:
    if tender.agreed_offer is not None:
        return next(
            (one.supplier for one in ordered if one.offer_number == tender.agreed_offer), None
        )
    return ordered[0].supplier if ordered else None


def _their_turn_over(talk: Negotiation) -> bool:
    return bool(talk.moves) and talk.moves[-1].party == Party.SUPPLIER


def _offer_row(tender: Tender, offer: StoredOffer, *, is_selected: bool) -> OfferRow:
    table = json.loads(offer.offer_text)
    # A saving of the home is a change below zero of its bill.
    edges = [-edge for edge in reversed(offer.edges_minor)]
    counts = list(reversed(offer.counts))
    return OfferRow(
        offer=offer,
        name=str(table["tariff"].get("name", "")),
        term_months=int(table["term_months"]),
        green_share=float(table.get("green_share", 0)),
        spark=histogram(
            edges,
            counts,
            width=SPARK_WIDTH,
            height=SPARK_HEIGHT,
            beyond=float(tender.mandate["loss_limit_minor"]),
        ),
        is_selected=is_selected,
        summary=(
            f"Yearly bill change under {offer.supplier}: {offer.winners} of {tender.homes} homes "
            f"pay less, {offer.losers} pay more."
        ),
    )


def _wins_chart(tender: Tender, row: OfferRow, drawing: Drawing) -> WinsChart:
    edges = [-edge for edge in reversed(row.offer.edges_minor)]
    width = drawing.histogram_width
    return WinsChart(
        drawing=drawing,
        bars=histogram(
            edges,
            list(reversed(row.offer.counts)),
            width=width,
            height=drawing.histogram_height,
            beyond=float(tender.mandate["loss_limit_minor"]),
        ),
        ticks=axis(edges[0] / 100, edges[-1] / 100, length=width, steps=drawing.ticks),
        zero_x=round(-edges[0] / (edges[-1] - edges[0]) * width, 1),
    )


def _has_load(tender: Tender) -> bool:
    return {"winter", "summer"} <= set(tender.load.get("cells_w") or ())


def _load_chart(tender: Tender, drawing: Drawing) -> LoadChart:
    cells = tender.load["cells_w"]
    winter = [watts / 1000 for watts in cells["winter"]]
    summer = [watts / 1000 for watts in cells["summer"]]
    top_kw = round_up(max(*winter, *summer))
    width, height = drawing.load_width, drawing.load_height
    return LoadChart(
        drawing=drawing,
        winter=curve(winter, width=width, height=height, top=top_kw),
        summer=curve(summer, width=width, height=height, top=top_kw),
        ticks=axis(0, top_kw, length=height, steps=4, decimals=0 if top_kw >= 8 else 1),
        top_kw=top_kw,
        summary=(
            f"Average working-day power of {tender.homes} homes. Winter reaches {max(winter):.1f} kW, "
            f"summer {max(summer):.1f} kW."
        ),
    )


def _listed(prices: Sequence[Decimal]) -> str:
    return ", ".join(cents(price) for price in prices) or "nothing yet"


def advice_in_words(advice: CounterOffer) -> str:
    """What the plan advises, as a sentence for the page."""
    verb = {
        Advice.COUNTER: "The plan asks",
        Advice.ACCEPT: "The plan accepts",
        Advice.WALK_AWAY: "The plan walks away at",
    }[advice.advice]
    return f"{verb} {cents(advice.price_per_kwh)} ct/kWh. {advice.reason}."
