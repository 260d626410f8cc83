"""A count as plain values for JSON: exact figures as decimal strings, whole ones as numbers."""

from fractions import Fraction
from typing import Any

from solar_fund.voting.outcome import Outcome
from solar_fund.voting.stv import StvResult


def plain_number(amount: Fraction) -> int | float:
    """Return a whole amount as an integer, any other as the nearest float."""
    return int(amount) if amount.denominator == 1 else float(amount)


def decimal_text(amount: Fraction, digits: int = 10) -> str:
    """Write an exact number as a decimal, rounded half to even at `digits` places."""
    scaled = round(amount * 10**digits)
    sign = "-" if scaled < 0 else ""
    whole, part = divmod(abs(scaled), 10**digits)
    fraction = f"{part:0{digits}d}".rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def outcome_report(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as one JSON object.

    `cost`, `budget` and the like are in the election's currency unit; `rho`, `share` and slices
    are decimal strings, because they are rarely whole.
    """
    return {
        "rule": outcome.rule,
        "selected": list(outcome.selected),
        "cost": plain_number(outcome.cost),
        "budget": plain_number(outcome.budget),
        "leftover": plain_number(outcome.leftover),
        "voters": outcome.n_voters,
        "served_voters": outcome.served_voters,
        "per_voter_budget": decimal_text(outcome.per_voter_budget),
        "per_voter_start": decimal_text(outcome.per_voter_start),
        "reruns": outcome.reruns,
        "steps": [
            {
                "project": step.project_id,
                "kind": step.kind,
                "cost": plain_number(step.cost),
                "supporters": step.supporters,
                "rho": None if step.rho is None else decimal_text(step.rho),
                "share": None if step.share is None else decimal_text(step.share),
                "paid_full_share": step.share_voters,
                "gave_all_left": step.spent_voters,
                "gave_all_left_total": decimal_text(step.spent_total),
                "budget_left": decimal_text(step.budget_left),
            }
            for step in outcome.steps
        ],
        "not_selected": [
            {
                "project": loss.project_id,
                "reason": loss.kind,
                "cost": plain_number(loss.cost),
                "supporters": loss.supporters,
                "supporters_money_left": decimal_text(loss.money_left),
                "missing": decimal_text(loss.missing),
                "votes_missing": loss.votes_missing,
            }
            for loss in outcome.losses
        ],
    }


def stv_report(result: StvResult) -> dict[str, Any]:
    """Return an STV result as one JSON object; votes are numbers of votes, with decimals."""

    def votes(units: int) -> int | float:
        return plain_number(Fraction(units, result.units_per_vote))

    return {
        "rule": result.rule,
        "elected": list(result.elected),
        "quota": votes(result.quota),
        "valid_papers": result.valid_papers,
        "lots_used": [list(names) for names in result.lots_used],
        "rounds": [
            {
                "action": stage.action,
                "votes": {name: votes(units) for name, units in stage.votes.items()},
                "exhausted": votes(stage.exhausted),
                "elected": list(stage.elected),
                "excluded": list(stage.excluded),
            }
            for stage in result.rounds
        ],
    }
