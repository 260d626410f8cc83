"""A negotiation as JSON and back, so that it can be put down and taken up again."""

import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from tariff_bargainer.bargaining.counter_offer import (
    BargainingRange,
    ConcessionPlan,
    Move,
    Negotiation,
    Party,
    Status,
)
from tariff_bargainer.bargaining.offer_file import load_table
from tariff_bargainer.errors import NegotiationFault, OfferFileError, TariffFileError
from tariff_bargainer.tariffs.strict_table import StrictTable

FORMAT = "commonwatt-negotiation/1"
RANGE_PRICES = ("floor_low", "floor", "floor_high", "target", "walk_away")


def negotiation_to_json(negotiation: Negotiation) -> dict[str, Any]:
    """Give a negotiation as JSON values; prices and energy are decimal strings."""
    limits = negotiation.range
    return {
        "format": FORMAT,
        "supplier": negotiation.supplier,
        "status": negotiation.status.value,
        "range": {
            "currency": limits.currency,
            "energy_kwh": str(limits.energy_kwh),
            **{key: str(getattr(limits, key)) for key in RANGE_PRICES},
        },
        "plan": asdict(negotiation.plan),
        "moves": [
            {
                "round": move.round,
                "party": move.party.value,
                "price_per_kwh": str(move.price_per_kwh),
                "reason": move.reason,
                "final": move.final,
            }
            for move in negotiation.moves
        ],
    }


def supplier_view(negotiation: Negotiation) -> dict[str, Any]:
    """Give what the supplier knows already: the prices of both sides, and nothing of our own mind."""
    return {
        "supplier": negotiation.supplier,
        "status": negotiation.status.value,
        "currency": negotiation.range.currency,
        "rounds_max": negotiation.plan.rounds_max,
        "moves": [
            {
                "round": move.round,
                "party": move.party.value,
                "price_per_kwh": str(move.price_per_kwh),
                "final": move.final,
            }
            for move in negotiation.moves
        ],
    }


def negotiation_text(negotiation: Negotiation) -> str:
    """Write a negotiation as JSON text."""
    return json.dumps(negotiation_to_json(negotiation), indent=2, ensure_ascii=False) + "\n"


def parse_negotiation(text: str) -> Negotiation:
    """Read what `negotiation_text` wrote.

    Raises:
        OfferFileError: The text breaks the form; names key and remedy.
    """
    try:
        return _negotiation(StrictTable(load_table(text, form="json"), ""))
    except TariffFileError as wrong:
        raise OfferFileError(
            where=wrong.where, problem=wrong.problem, remedy=wrong.remedy
        ) from None
    except NegotiationFault as wrong:
        raise OfferFileError(
            where="plan", problem=str(wrong), remedy="correct that number"
        ) from None


def _negotiation(table: StrictTable) -> Negotiation:
    found = table.text("format")
    if found != FORMAT:
        raise table.fault("format", f"is {found!r}", f"write {FORMAT!r}")
    limits = StrictTable(table.take("range"), "range")
    plan = StrictTable(table.take("plan"), "plan")
    statuses = [status.value for status in Status]
    negotiation = Negotiation(
        supplier=table.text("supplier"),
        status=Status(table.choice("status", statuses, Status.OPEN.value)),
        range=BargainingRange(
            currency=limits.text("currency"),
            energy_kwh=limits.decimal("energy_kwh"),
            **{key: limits.decimal(key) for key in RANGE_PRICES},
        ),
        plan=ConcessionPlan(
            rounds_max=plan.whole("rounds_max"),
            exponent=float(plan.decimal("exponent")),
            mirror=plan.flag("mirror"),
        ),
        moves=tuple(_move(entry) for entry in table.tables("moves")),
    )
    for read in (limits, plan, table):
        read.close()
    _check_order(table, negotiation)
    return negotiation


def _move(table: StrictTable) -> Move:
    parties = [party.value for party in Party]
    move = Move(
        round=table.whole("round"),
        party=Party(table.choice("party", parties, "")),
        price_per_kwh=table.decimal("price_per_kwh"),
        reason=table.text("reason", ""),
        final=table.flag("final"),
    )
    table.close()
    if move.price_per_kwh <= Decimal(0):
        raise table.fault("price_per_kwh", f"is {move.price_per_kwh}", "write a price above zero")
    return move


def _check_order(table: StrictTable, negotiation: Negotiation) -> None:
    """Refuse moves that no negotiation could have made: parties alternate, rounds count up."""
    for place, move in enumerate(negotiation.moves):
        expected = Party.SUPPLIER if place % 2 == 0 else Party.COOP
        if move.party != expected or move.round != place // 2 + 1:
            raise table.fault(
                f"moves[{place}]",
                "is out of order",
                "the supplier opens each round, the co-op answers, and rounds count from 1",
            )
