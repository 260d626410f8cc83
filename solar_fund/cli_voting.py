"""Commands that count votes: `solar-fund tally`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fractions import Fraction


class Rule(StrEnum):
    """Rules for choosing projects."""

    EQUAL_SHARES = "equal-shares"
    GREEDY = "greedy"
    PHRAGMEN = "phragmen"


class UtilityName(StrEnum):
    """What a won project is worth to a supporter."""

    COST = "cost"
    CARDINALITY = "cardinality"


class CompletionName(StrEnum):
    """How slices are raised."""

    NONE = "none"
    ADD1 = "add1"
    ADD_OPT = "add-opt"


class StopName(StrEnum):
    """When raising stops."""

    EXHAUSTIVE = "exhaustive"
    OVERSPEND = "overspend"


class ThenName(StrEnum):
    """What happens to money left over."""

    UTILITARIAN = "utilitarian"
    NONE = "none"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `solar-fund`."""
    app.command("tally", epilog="Example: solar-fund tally vote.pb --rule equal-shares --json")(
        tally
    )


def tally(
    file: Annotated[Path, typer.Argument(help="A PaBuLib file (.pb).")],
    rule: Annotated[Rule, typer.Option(help="How projects are chosen.")] = Rule.EQUAL_SHARES,
    utility: Annotated[
        UtilityName,
        typer.Option(help="A won project is worth its cost, or one; times the points given."),
    ] = UtilityName.COST,
    completion: Annotated[
        CompletionName,
        typer.Option(
            help="Raise every voter's slice by one currency unit at a time (add1), the same by"
            " jumps (add-opt), or not at all."
        ),
    ] = CompletionName.ADD1,
    stop: Annotated[
        StopName,
        typer.Option(
            help="Stop raising when nothing more fits, or when the next raise overspends."
        ),
    ] = StopName.EXHAUSTIVE,
    then: Annotated[
        ThenName,
        typer.Option(help="Spend what is left by most votes, or leave it for the next round."),
    ] = ThenName.NONE,
    increment: Annotated[
        str, typer.Option(help="The raise per voter, in the file's currency unit.")
    ] = "1",
    lot: Annotated[
        str,
        typer.Option(
            help="For ties: project ids in the order drawn, separated by commas, or a file with"
            " one id a line."
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count a vote on projects.

    Defaults: equal shares, cost utility, Add1 until nothing more fits, leftover kept. Ties go to
    the lowest cost, then the most votes, then the lot; without a lot an open tie is an error.
    """
    from solar_fund.voting.equal_shares import SharesOptions, equal_shares
    from solar_fund.voting.greedy import greedy
    from solar_fund.voting.pabulib import read_pb
    from solar_fund.voting.phragmen import phragmen
    from solar_fund.voting.report import outcome_report

    election = read_pb(file)
    order = read_lot(lot)
    if rule is Rule.GREEDY:
        outcome = greedy(election, utility=utility.value, lot=order)
    elif rule is Rule.PHRAGMEN:
        outcome = phragmen(election, lot=order)
    else:
        options = SharesOptions(
            utility=utility.value,
            completion=completion.value,
            stop=stop.value,
            then=then.value,
            increment=read_amount("--increment", increment),
            lot=order,
        )
        outcome = equal_shares(election, options)
    report = outcome_report(outcome)
    print(json.dumps(report, ensure_ascii=False) if as_json else "\n".join(report["selected"]))


def read_amount(option: str, written: str) -> "Fraction":
    """Read an exact decimal given on the command line.

    Raises:
        ElectionInvalid: It is no number.
    """
    from fractions import Fraction

    from solar_fund.errors import ElectionInvalid

    try:
        return Fraction(written)
    except (ValueError, ZeroDivisionError):
        raise ElectionInvalid(f"{option} {written!r} is no number; try 1 or 0.01") from None


def read_lot(lot: str) -> tuple[str, ...]:
    """Return the order of a lot, given as a list or as the name of a file."""
    if lot and "," not in lot and Path(lot).is_file():
        lines = Path(lot).read_text(encoding="utf-8").replace(",", "\n").splitlines()
        return tuple(name for line in lines if (name := line.strip()))
    return tuple(name for part in lot.split(",") if (name := part.strip()))
