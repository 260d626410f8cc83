"""Commands that count votes: `tally`, `elect` and `recount`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fractions import Fraction

LOT_BYTES_MAX = 1_000_000
OPTION_CHARS_MAX = 40
OPTION_MAX = 10**12
OPTION_DENOMINATOR_MAX = 10**4


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
    app.command(
        "tally",
        epilog="Example: solar-fund tally vote.pb --rule equal-shares --then utilitarian --json",
    )(tally)
    app.command("elect", epilog="Example: solar-fund elect board.blt --rule scottish --json")(elect)
    app.command("recount", epilog="Example: solar-fund recount published_vote.json --json")(recount)


class BoardRule(StrEnum):
    """Rules for electing a board."""

    SCOTTISH = "scottish"
    MEEK = "meek"


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
    must_fund: Annotated[
        str, typer.Option(help="Project ids paid before the budget is shared, with commas.")
    ] = "",
    min_support: Annotated[
        int, typer.Option(min=0, help="Votes a project needs to be counted at all.")
    ] = 0,
    carry_over: Annotated[
        str, typer.Option(help="Money of the last round, added to the budget.")
    ] = "0",
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

    if rule is not Rule.EQUAL_SHARES:
        _refuse_unheard(rule, must_fund, min_support, carry_over, increment)
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
            must_fund=tuple(name for part in must_fund.split(",") if (name := part.strip())),
            min_support=min_support,
            carry_over=read_amount("--carry-over", carry_over),
        )
        outcome = equal_shares(election, options)
    report = outcome_report(outcome)
    print(json.dumps(report, ensure_ascii=False) if as_json else "\n".join(report["selected"]))


def _refuse_unheard(
    rule: Rule, must_fund: str, min_support: int, carry_over: str, increment: str
) -> None:
    """Refuse options that only equal shares would hear.

    Raises:
        ElectionInvalid: One of them is given.
    """
    from solar_fund.errors import ElectionInvalid

    given = {
        "--must-fund": must_fund != "",
        "--min-support": min_support != 0,
        "--carry-over": carry_over != "0",
        "--increment": increment != "1",
    }
    for option, is_given in given.items():
        if is_given:
            raise ElectionInvalid(
                f"{option} is for equal shares only: drop it or --rule {rule.value}"
            )


def elect(
    file: Annotated[Path, typer.Argument(help="Ranked ballots (.blt).")],
    rule: Annotated[BoardRule, typer.Option(help="How seats are filled.")] = BoardRule.SCOTTISH,
    lot: Annotated[
        str,
        typer.Option(
            help="For ties: names in the order drawn (first drawn is favoured), separated by"
            " commas, or a file with one a line."
        ),
    ] = "",
    vacancy: Annotated[
        str, typer.Option(help="Recount to replace this elected member (Scottish rules only).")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Elect a board by single transferable vote.

    Ties go by the latest earlier stage that differs (Scottish), then by the lot; without a lot an
    open tie is an error that names the tied candidates.
    """
    from solar_fund.errors import ElectionInvalid
    from solar_fund.voting.blt import read_blt
    from solar_fund.voting.meek import meek_stv
    from solar_fund.voting.report import stv_report
    from solar_fund.voting.stv import recount_without, scottish_stv

    election = read_blt(file)
    order = read_lot(lot) or election.lot
    if rule is BoardRule.MEEK:
        if vacancy:
            raise ElectionInvalid(
                "a vacancy is filled by the Scottish rules only: drop --rule meek"
            )
        report = stv_report(meek_stv(election, order))
    else:
        result = scottish_stv(election, order)
        report = stv_report(result)
        if vacancy:
            new, again = recount_without(election, result.elected, vacancy, order)
            report = {**stv_report(again), "vacancy_of": vacancy, "filled_by": new}
    if election.papers_cut:
        report["papers_cut_at_equal_places"] = election.papers_cut
    print(json.dumps(report, ensure_ascii=False) if as_json else "\n".join(report["elected"]))


def recount(
    file: Annotated[Path, typer.Argument(help="A published vote (JSON).")],
    receipt: Annotated[
        str, typer.Option(help="Also prove that this receipt (hex) was counted.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count a published vote again from its ballots, and compare with the published result.

    Exit code 1 when root or result differ from what was published.
    """
    from solar_fund.voting.published_vote import prove_receipt, read_published_vote
    from solar_fund.voting.published_vote import recount as count_again

    content = read_published_vote(file)
    found = count_again(content)
    report: dict[str, object] = {
        "election": found.election_id,
        "ballots": found.ballots,
        "merkle_root": found.root,
        "matches": found.matches,
        "faults": list(found.faults),
        "result": found.result,
    }
    if receipt:
        proof = prove_receipt(content, receipt)
        report["inclusion"] = {
            "receipt": proof.receipt.hex(),
            "place": proof.place,
            "size": proof.size,
            "path": [step.hex() for step in proof.path],
            "holds": proof.holds(),
        }
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        print("agrees with the published result" if found.matches else "\n".join(found.faults))
    if not found.matches:
        raise typer.Exit(1)


def read_amount(option: str, written: str) -> "Fraction":
    """Read an exact decimal given on the command line.

    Raises:
        ElectionInvalid: It is no number.
    """
    from fractions import Fraction

    from solar_fund.errors import ElectionInvalid

    try:
        amount = Fraction(written) if len(written) <= OPTION_CHARS_MAX else None
    except (ValueError, ZeroDivisionError):
        amount = None
    if amount is None:
        raise ElectionInvalid(f"{option} {written[:40]!r} is no number; try 1 or 0.01")
    if abs(amount) > OPTION_MAX or amount.denominator > OPTION_DENOMINATOR_MAX:
        raise ElectionInvalid(f"{option} {written!r} is too large or too fine; try 1 or 0.01")
    return amount


def read_lot(lot: str) -> tuple[str, ...]:
    """Return the order of a lot, given as a list or as the name of a file.

    Raises:
        ElectionInvalid: The file cannot be read, or is no text.
    """
    from solar_fund.errors import ElectionInvalid

    if lot and "," not in lot and Path(lot).is_file():
        try:
            with Path(lot).open("rb") as file:
                text = file.read(LOT_BYTES_MAX).decode()
        except (OSError, UnicodeDecodeError):
            raise ElectionInvalid(
                f"--lot {lot} cannot be read as UTF-8 text: write one project id a line"
            ) from None
        lines = text.replace(",", "\n").splitlines()
        return tuple(name for line in lines if (name := line.strip()))
    return tuple(name for part in lot.split(",") if (name := part.strip()))
