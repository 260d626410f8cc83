"""Commands on groups of homes: `profile`, `compare`, `floor`, `savings`, and the negotiation's.

A group is a folder with one load file per home, named after the home. The homes' own tariffs are
one tariff file for all, or a folder with one per home.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tariff_bargainer.bargaining.offers import Mandate, OfferEvaluation
    from tariff_bargainer.billing.index_cost import IndexSeries
    from tariff_bargainer.profiles.intervals import LoadProfile
    from tariff_bargainer.tariffs.tariff import Tariff

EXIT_BAD_INPUT = 2
HOMES_MAX = 100_000
SPOT_SERIES = "day-ahead"
"""Name under which a spot file serves tariffs that are linked to an index, unless named."""

HomesOption = Annotated[Path, typer.Option(help="Folder with one load CSV per home.")]
OldOption = Annotated[
    Path, typer.Option(help="The homes' own tariff: one file, or a folder with <home>.toml.")
]
SpotOption = Annotated[
    Path | None, typer.Option(help="CSV of spot prices: interval_start, price_per_mwh.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the bargaining commands to the app."""
    from tariff_bargainer import cli_auction, cli_negotiate

    app.command("profile", epilog=PROFILE_EXAMPLE)(profile_command)
    app.command("compare", epilog=COMPARE_EXAMPLE)(compare_command)
    app.command("floor", epilog=FLOOR_EXAMPLE)(floor_command)
    app.command("savings", epilog=SAVINGS_EXAMPLE)(savings_command)
    app.add_typer(cli_negotiate.app, name="negotiate")
    app.add_typer(cli_auction.app, name="auction")


PROFILE_EXAMPLE = (
    "Example: tariff-bargainer profile --homes street/ --timezone Europe/Vienna --json"
)
COMPARE_EXAMPLE = (
    "Example: tariff-bargainer compare --homes street/ --old today.toml --offer nordwind.toml "
    "--offer tide.json --mandate mandate.toml --json"
)
FLOOR_EXAMPLE = (
    "Example: tariff-bargainer floor --homes street/ --spot day_ahead.csv --timezone Europe/Vienna "
    "--currency EUR --assumptions floor.toml --json"
)
SAVINGS_EXAMPLE = (
    "Example: tariff-bargainer savings --homes march/ --old frozen/ --new group.toml "
    "--period 2026-03 --json"
)


@contextmanager
def one_line_errors(place: Path | str) -> Iterator[None]:
    """Turn an error of this package into one line on stderr that names the place, and exit 2."""
    from tariff_bargainer.errors import BargainerError

    try:
        yield
    except BargainerError as error:
        typer.echo(f"error: {place}: {error}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None


def profile_command(
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    as_json: JsonOption = False,
) -> None:
    """Add homes together: metrics, typical days, and reasons not to use a home."""
    from tariff_bargainer.profiles.load_profile import (
        group_profile,
        load_metrics,
        stack_profiles,
        typical_day_profile,
    )
    from tariff_bargainer.profiles.sufficiency import group_insufficiencies

    group = read_homes(homes)
    with one_line_errors(homes):
        stacked, start, step_s = stack_profiles(group.values())
        total = group_profile(stacked, start=start, step_s=step_s)
        typical = typical_day_profile(stacked, start=start, step_s=step_s, timezone=timezone)
    metrics = load_metrics(total)
    reasons = group_insufficiencies(group)
    cells = typical.to_frame().reset_index()
    if as_json:
        result = {
            "homes": len(group),
            "start": start.isoformat(),
            "step_s": step_s,
            "intervals": stacked.shape[1],
            "energy_wh": metrics.energy_wh,
            "peak_w": metrics.peak_w,
            "peak_start": metrics.peak_start.isoformat(),
            "load_factor": metrics.load_factor,
            "coincidence": metrics.coincidence,
            "insufficient": [
                {"home": reason.home, "fault": reason.fault.value, "text": reason.text}
                for reason in reasons
            ],
            "timezone": timezone,
            "typical_day": json.loads(cells.to_json(orient="records")),
        }
        print(json.dumps(result))
        return
    print(
        f"{len(group)} homes, {metrics.energy_wh / 1e6:,.2f} MWh, "
        f"peak {metrics.peak_w / 1e3:,.1f} kW at {metrics.peak_start.isoformat()}, "
        f"load factor {metrics.load_factor:.2f}, coincidence {metrics.coincidence:.2f}"
    )
    for reason in reasons:
        print(f"cannot be used: {reason.text}")


def compare_command(
    homes: HomesOption,
    old: OldOption,
    offer: Annotated[list[Path], typer.Option(help="Offer file, TOML or JSON; may be repeated.")],
    mandate: Annotated[Path | None, typer.Option(help="Mandate file, TOML or JSON.")] = None,
    spot: SpotOption = None,
    per_home: Annotated[
        bool, typer.Option(help="Include each home's own figures, which a board must not see.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replay offers on every home's real use: who pays less, who pays more."""
    from tariff_bargainer.bargaining.offer_file import read_mandate, read_offer
    from tariff_bargainer.bargaining.offers import Mandate, evaluate_offer, price_homes

    group = read_homes(homes)
    own = read_own_tariffs(old, group)
    allowed = Mandate()
    if mandate:
        with one_line_errors(mandate):
            allowed = read_mandate(mandate)
    index = read_index(spot)
    with one_line_errors(old):
        old_bills = price_homes(group, own, index=index)
    results = []
    for path in offer:
        with one_line_errors(path):
            made = evaluate_offer(
                read_offer(path), group, own, allowed, old_bills_minor=old_bills, index=index
            )
        results.append(made)
    if as_json:
        print(json.dumps({"offers": [evaluation_json(one, per_home=per_home) for one in results]}))
        return
    print_evaluations(results, allowed)


def floor_command(
    homes: HomesOption,
    spot: Annotated[Path, typer.Option(help="CSV: interval_start, price_per_mwh or _per_kwh.")],
    timezone: Annotated[str, typer.Option(help="IANA zone of the market's clock.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code of the prices.")],
    assumptions: Annotated[
        Path | None, typer.Option(help="What the data cannot tell; all zero without a file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Estimate what serving the group costs a supplier, line by line."""
    from tariff_bargainer.bargaining.offer_file import read_floor_assumptions
    from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions, estimate_floor
    from tariff_bargainer.profiles.load_profile import pool_profile

    group = read_homes(homes)
    given = FloorAssumptions()
    if assumptions:
        with one_line_errors(assumptions):
            given = read_floor_assumptions(assumptions)
    prices = read_index(spot)
    with one_line_errors(homes):
        pool = pool_profile(group.values())
    with one_line_errors(spot):
        nano = prices[SPOT_SERIES].over(pool.start, pool.step_s, len(pool))
        estimate = estimate_floor(
            pool,
            nano * 1e-6,
            currency=currency,
            timezone=timezone,
            meters=len(group),
            assumptions=given,
            seed=seed,
        )
    if as_json:
        print(json.dumps(estimate.as_json()))
        return
    for line in estimate.lines:
        print(f"{line.key:16} {line.amount:>16,.2f}  {line.text}")
    print(f"{'total':16} {estimate.total:>16,.2f}  {currency}")
    print(
        f"floor {estimate.rate_per_kwh} {currency}/kWh "
        f"({estimate.rate_low_per_kwh} to {estimate.rate_high_per_kwh})"
    )


def savings_command(
    homes: HomesOption,
    old: OldOption,
    new: Annotated[Path, typer.Option(help="The billed tariff: one file, or <home>.toml each.")],
    period: Annotated[str, typer.Option(help="Name of the period, such as 2026-03.")],
    spot: SpotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute savings: the old tariff on the actual use, less the actual bill."""
    from tariff_bargainer.savings import monthly_savings, statement_json

    group = read_homes(homes)
    frozen, billed = read_own_tariffs(old, group), read_own_tariffs(new, group)
    with one_line_errors(homes):
        statement = monthly_savings(
            period,
            group,
            frozen,
            billed,
            currency=next(iter(billed.values())).currency,
            index=read_index(spot),
        )
    if as_json:
        print(json.dumps(statement_json(statement)))
        return
    for member in statement.members:
        print(
            f"{member.member:24} old {member.counterfactual_minor:>10} "
            f"actual {member.actual_minor:>10} saved {member.saving_minor:>10}"
        )
    print(f"together {statement.saving_minor} minor units of {statement.currency}")


def read_homes(folder: Path) -> dict[str, "LoadProfile"]:
    """Read a folder of load files, sorted by home; exits 2 with one line when it cannot."""
    from tariff_bargainer.profiles.load_csv import read_load_csv

    files = sorted(folder.glob("*.csv")) if folder.is_dir() else []
    if not files or len(files) > HOMES_MAX:
        typer.echo(
            f"error: {folder}: has {len(files)} load files; give a folder with 1 to {HOMES_MAX} "
            "files named <home>.csv",
            err=True,
        )
        raise typer.Exit(EXIT_BAD_INPUT)
    group = {}
    for path in files:
        with one_line_errors(path):
            group[path.stem] = read_load_csv(path)
    return group


def read_own_tariffs(place: Path, homes: Mapping[str, Any]) -> dict[str, "Tariff"]:
    """Read one tariff for all homes, or one each from a folder; exits 2 when it cannot."""
    from tariff_bargainer.tariffs.tariff_file import read_tariff

    if not place.is_dir():
        with one_line_errors(place):
            return dict.fromkeys(homes, read_tariff(place))
    tariffs = {}
    for home in homes:
        path = place / f"{home}.toml"
        with one_line_errors(path):
            tariffs[home] = read_tariff(path)
    return tariffs


def read_index(spot: Path | None) -> dict[str, "IndexSeries"]:
    """Read a spot file under the usual name of its series; empty without a file."""
    from tariff_bargainer.bargaining.price_csv import read_price_csv

    if spot is None:
        return {}
    with one_line_errors(spot):
        return {SPOT_SERIES: read_price_csv(spot)}


def evaluation_json(evaluation: "OfferEvaluation", *, per_home: bool) -> dict[str, Any]:
    """Give an evaluation as JSON values; single homes only on request."""
    mandate = evaluation.mandate
    result: dict[str, Any] = {
        "offer_id": evaluation.offer.offer_id,
        "supplier": evaluation.offer.supplier,
        "tariff": evaluation.offer.tariff.name,
        "term_months": evaluation.offer.term_months,
        "green_share": str(evaluation.offer.green_share),
        "currency": evaluation.currency,
        "homes": len(evaluation.homes),
        "energy_kwh": str(evaluation.energy_kwh),
        "old_minor": evaluation.old_minor,
        "new_minor": evaluation.new_minor,
        "saving_minor": evaluation.saving_minor,
        "saving_share": str(evaluation.saving_share),
        "price_per_kwh": str(evaluation.price_per_kwh),
        "winners": evaluation.winners,
        "losers": evaluation.losers,
        "median_saving_minor": evaluation.median_saving_minor,
        "histogram": {
            "edges_minor": list(evaluation.histogram.edges_minor),
            "counts": list(evaluation.histogram.counts),
        },
        "mandate": {
            "kept": mandate.kept,
            "homes_over_limit": mandate.homes_over_limit,
            "homes_allowed": mandate.homes_allowed,
            "broken": list(mandate.broken),
        },
    }
    if per_home:
        result["per_home"] = {
            home.home: {
                "old_minor": home.old_minor,
                "new_minor": home.new_minor,
                "saving_minor": home.saving_minor,
            }
            for home in evaluation.homes
        }
    return result


def print_evaluations(evaluations: list["OfferEvaluation"], mandate: "Mandate") -> None:
    """Print offers side by side for people."""
    from rich.console import Console
    from rich.table import Table

    from tariff_bargainer.bargaining.minor_units import money_text

    table = Table(title="Offers on the homes' real use")
    for name in ("supplier", "per kWh", "group saves", "pay less", "over limit", "mandate"):
        table.add_column(name, justify="left" if name in {"supplier", "mandate"} else "right")
    for one in evaluations:
        table.add_row(
            one.offer.supplier,
            f"{one.price_per_kwh:.4f}",
            money_text(one.saving_minor, one.currency),
            f"{one.winners} of {len(one.homes)}",
            f"{one.mandate.homes_over_limit} of {one.mandate.homes_allowed} allowed",
            "kept" if one.mandate.kept else "; ".join(one.mandate.broken),
        )
    limit = mandate.loss_limit_minor
    Console().print(table)
    print(f"limit: {limit} minor units a year more, for {mandate.losers_share_max:.1%} of homes")
