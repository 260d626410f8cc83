"""The command `auction`: seal a bid, decide a tender, and count it again."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tariff_bargainer.cli_bargaining_input import HomesOption

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tariff_bargainer.bargaining.auction import AuctionResult
    from tariff_bargainer.bargaining.auction_rules import AuctionRules
    from tariff_bargainer.bargaining.release_record import Release
    from tariff_bargainer.profiles.load_profile import TypicalDayProfile

EXIT_DIFFERENT = 1
EXIT_BAD_INPUT = 2

app = typer.Typer(
    help="Sealed-bid reverse auction by published rules; any bidder can count again.",
    no_args_is_help=True,
)

RulesOption = Annotated[Path, typer.Option(help="Tender rules, TOML or JSON.")]
BidsOption = Annotated[Path, typer.Option(help="Seals and opened bids, JSON or TOML.")]
SpotOption = Annotated[
    Path | None, typer.Option(help="CSV of spot prices: interval_start, price_per_mwh.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command(
    "seal",
    epilog="Example: tariff-bargainer auction seal --tender 2027-A --bidder Nordwind "
    "--lot fixed-24 --offer nordwind.toml",
)
def seal_command(
    tender: Annotated[str, typer.Option(help="Name of the tender.")],
    bidder: Annotated[str, typer.Option(help="Name of the bidder, as in the offer.")],
    lot: Annotated[str, typer.Option(help="Name of the lot.")],
    offer: Annotated[Path, typer.Option(help="The offer's file, TOML or JSON.")],
    nonce: Annotated[
        str | None, typer.Option(help="Secret to seal with; drawn when left out. Keep it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Seal a bid: send the seal before the close, the offer and the nonce after it."""
    from tariff_bargainer.bargaining.auction_rules import opened_bid, seal_bid
    from tariff_bargainer.bargaining.offer_file import read_form, read_text
    from tariff_bargainer.cli_bargaining_input import one_line_errors
    from tariff_bargainer.errors import NegotiationFault

    secret = nonce or secrets.token_hex(16)
    with one_line_errors(offer):
        text = read_text(offer)
        bid = opened_bid(bidder=bidder, lot_id=lot, text=text, nonce=secret, form=read_form(offer))
        if bid.fault:
            raise NegotiationFault(f"the offer {bid.fault}")
        seal = seal_bid(tender=tender, bidder=bidder, lot_id=lot, text=text, nonce=secret)
    if as_json:
        print(json.dumps({"seal": seal, "nonce": secret}))
    else:
        print(f"seal  {seal}\nnonce {secret}")


@app.command(
    "run",
    epilog="Example: tariff-bargainer auction run --rules tender.toml --bids bids.json --json",
)
def run_command(
    rules: RulesOption,
    bids: BidsOption,
    spot: SpotOption = None,
    rehearsal: Annotated[
        bool, typer.Option(help="Decide although bids may still come in; for trials.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Decide every lot; refuses before the close."""
    fixed, result = _decide(rules, bids, spot)
    if datetime.now(UTC) < fixed.closes_at and not rehearsal:
        typer.echo(
            f"error: {rules}: bids are taken until {fixed.closes_at.isoformat()}; wait, or use "
            "--rehearsal",
            err=True,
        )
        raise typer.Exit(EXIT_BAD_INPUT)
    if as_json:
        print(json.dumps(_json(fixed, result)))
        return
    _print(fixed, result)


@app.command(
    "check",
    epilog="Example: tariff-bargainer auction check --rules tender.toml --bids bids.json "
    "--result result.json",
)
def check_command(
    rules: RulesOption,
    bids: BidsOption,
    result: Annotated[Path, typer.Option(help="What `auction run --json` printed.")],
    spot: SpotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count again from the published files; exit code 1 when the result differs."""
    from tariff_bargainer.bargaining.offer_file import load_table, read_text
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(result):
        claimed = load_table(read_text(result), form="json")
    fixed, counted = _decide(rules, bids, spot)
    ours = _json(fixed, counted)
    if not isinstance(claimed, dict):
        claimed = {}
    differing = sorted(
        key for key in {*ours, *claimed} if json.dumps(ours.get(key)) != _plain(claimed.get(key))
    )
    if as_json:
        print(json.dumps({"same": not differing, "differs_in": differing}))
    elif differing:
        typer.echo(f"the result differs in: {', '.join(differing)}", err=True)
    else:
        print("the same result, to the minor unit")
    if differing:
        raise typer.Exit(EXIT_DIFFERENT)


ReleasedOption = Annotated[
    Path | None,
    typer.Option(
        help="File that keeps which homes' loads were released, for the cooperative's eyes; "
        "released.json beside the rules or the load when left out."
    ),
]


@app.command(
    "book",
    epilog="Example: tariff-bargainer auction book --homes street/ --timezone Europe/Vienna "
    "--out tender/load.csv",
)
def book_command(
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    out: Annotated[Path, typer.Option(help="Load file to write, for [[book]] of the rules.")],
    released: ReleasedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the load that bids are scored on: the mean home, as fine as the privacy floor allows."""
    from tariff_bargainer.bargaining.release_record import add_release
    from tariff_bargainer.bargaining.tender_load import finest_load
    from tariff_bargainer.bargaining.tender_pack import HOMES_MIN, TOP_SHARE_MAX
    from tariff_bargainer.cli_bargaining_input import one_line_errors
    from tariff_bargainer.profiles.load_profile import typical_day_cells

    record = released or out.parent / "released.json"
    group = _Released.read(homes, timezone, record)
    with one_line_errors(homes):
        found = finest_load(
            group.load, group.cells_wh, homes_min=HOMES_MIN, top_share_max=TOP_SHARE_MAX
        )
        cells = typical_day_cells(
            start=group.release.start, step_s=group.step_s, count=group.count, timezone=timezone
        )
        mean_wh = found.mean_home_wh(cells, step_s=group.step_s, homes=len(group.release.homes))
    step = timedelta(seconds=group.step_s)
    rows = [
        f"{(group.release.start + step * at).isoformat()},{wh}"
        for at, wh in enumerate(mean_wh.tolist())
    ]
    with _written(out):
        add_release(record, group.release)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(["interval_start,import_wh", *rows, ""]), encoding="utf-8")
    count = len(group.release.homes)
    if as_json:
        print(json.dumps({"file": str(out), "homes": count, "load_step": found.step}))
    else:
        print(f'{out}: by {found.step}\n\n[[book]]\nload = "{out.name}"\nhomes = {count}')


@app.command(
    "pack",
    epilog="Example: tariff-bargainer auction pack --rules tender.toml --homes street/ "
    '--timezone Europe/Vienna --issuer "Harbour Lane Energy" --out pack/',
)
def pack_command(
    rules: RulesOption,
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    issuer: Annotated[str, typer.Option(help="Name of the cooperative.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; made when absent.")],
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print the page as PDF too; needs the extra pdf.")
    ] = False,
    released: ReleasedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what suppliers are sent, the load as fine as the privacy floor allows.

    The rules and the load they are scored on go with it, so that a bidder can count again.
    """
    from tariff_bargainer.bargaining.auction import rules_hash
    from tariff_bargainer.bargaining.auction_file import book_files, read_tender
    from tariff_bargainer.bargaining.pack_pdf import html_to_pdf
    from tariff_bargainer.bargaining.release_record import add_release
    from tariff_bargainer.bargaining.tender_pack import make_tender_pack, require_no_home_alone
    from tariff_bargainer.cli_bargaining_input import one_line_errors
    from tariff_bargainer.profiles.load_csv import read_load_csv

    with one_line_errors(rules):
        fixed, book = read_tender(rules, read_load=read_load_csv)
    record = released or rules.parent / "released.json"
    group = _Released.read(homes, timezone, record)
    with one_line_errors(homes):
        pack = make_tender_pack(
            fixed,
            group.load,
            issuer=issuer,
            home_cells_wh=group.cells_wh,
            fixed_hash=rules_hash(fixed, book),
            period=(group.release.start, group.release.end),
        )
    with one_line_errors(rules):
        require_no_home_alone(book, group.loads_wh)
    files = {
        "tender.json": pack.json_text.encode(),
        "load.csv": pack.csv_text.encode(),
        "tender.html": pack.html_text.encode(),
    }
    if pdf:
        with one_line_errors(out):
            files["tender.pdf"] = html_to_pdf(pack.html_text)
    with _written(out):
        # Under `rules/` names of load files cannot meet those of the pack.
        for name in (rules.name, *book_files(rules)):
            files[f"rules/{name}"] = (rules.parent / name).read_bytes()
        add_release(record, group.release)
        for name, content in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)
    written = [str(out / name) for name in files]
    print(json.dumps({"files": written}) if as_json else "\n".join(written))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Released:
    """A group whose load may be released: no earlier release tells of few homes beside it."""

    loads_wh: "NDArray[np.float64]"
    cells_wh: "NDArray[np.float64]"
    load: "TypicalDayProfile"
    release: "Release"
    step_s: int
    count: int

    @classmethod
    def read(cls, homes: Path, timezone: str, record: Path) -> "_Released":
        from tariff_bargainer.bargaining.release_record import Release, read_releases, require_apart
        from tariff_bargainer.bargaining.tender_pack import HOMES_MIN
        from tariff_bargainer.cli_bargaining_input import one_line_errors, read_homes
        from tariff_bargainer.profiles.load_profile import (
            home_cells,
            stack_profiles,
            typical_day_profile,
        )

        group = read_homes(homes)
        with one_line_errors(homes):
            loads, start, step_s = stack_profiles(group.values())
            end = start + timedelta(seconds=step_s) * loads.shape[1]
            release = Release(homes=frozenset(group), start=start, end=end)
            load = typical_day_profile(loads, start=start, step_s=step_s, timezone=timezone)
            cells = home_cells(loads, start=start, step_s=step_s, timezone=timezone)
        with one_line_errors(record):
            require_apart(read_releases(record), release, homes_min=HOMES_MIN)
        return cls(
            loads_wh=loads,
            cells_wh=cells,
            load=load,
            release=release,
            step_s=step_s,
            count=loads.shape[1],
        )


@contextmanager
def _written(place: Path) -> Iterator[None]:
    """Turn a failure to write into one line, and exit 2."""
    try:
        yield
    except OSError as failed:
        where = failed.filename or place
        typer.echo(
            f"error: {where}: cannot be written ({failed.strerror}); choose another place", err=True
        )
        raise typer.Exit(EXIT_BAD_INPUT) from None


def _plain(claimed: Any) -> str:
    return json.dumps(claimed, default=str)


def _decide(rules: Path, bids: Path, spot: Path | None) -> tuple["AuctionRules", "AuctionResult"]:
    from tariff_bargainer.bargaining.auction import run_auction
    from tariff_bargainer.bargaining.auction_file import read_bids, read_tender
    from tariff_bargainer.cli_bargaining_input import one_line_errors, read_index
    from tariff_bargainer.profiles.load_csv import read_load_csv

    index = read_index(spot)
    with one_line_errors(rules):
        fixed, book = read_tender(rules, read_load=read_load_csv)
    with one_line_errors(bids):
        sealed, opened = read_bids(bids)
        return fixed, run_auction(fixed, book, sealed, opened, index=index)


def _json(rules: "AuctionRules", result: "AuctionResult") -> dict[str, Any]:
    from tariff_bargainer.bargaining.auction_file import result_to_json

    return result_to_json(rules, result)


def _print(rules: "AuctionRules", result: "AuctionResult") -> None:
    from tariff_bargainer.bargaining.minor_units import money_text

    for lot in result.lots:
        print(f"{lot.lot_id}: {lot.winner or 'no bid reaches the reserve'}")
        for bid in lot.ranking:
            print(
                f"  {bid.bidder:20} score {money_text(bid.score_minor, rules.currency):>16}  "
                f"cost {money_text(bid.cost_minor, rules.currency):>16}"
            )
        if lot.uplift_minor:
            print(
                f"  paid {money_text(lot.uplift_minor, rules.currency)} above its bid on the load"
            )
    for gone in result.excluded:
        print(f"left out: {gone.bidder}, {gone.lot_id}: {gone.reason}")
    print(f"rules  {result.rules_hash}")
    print(f"record {result.record_hash}")
