"""Commands on groups of homes: `compare`, `floor` and `savings`, and where all others join."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tariff_bargainer.bargaining.alternatives import Alternative
    from tariff_bargainer.bargaining.offers import Mandate, OfferEvaluation
    from tariff_bargainer.billing.index_cost import IndexSeries
    from tariff_bargainer.profiles.intervals import LoadProfile
    from tariff_bargainer.savings import SavingsStatement
    from tariff_bargainer.tariffs.tariff import Tariff

from tariff_bargainer.cli_bargaining_input import (
    SPOT_SERIES,
    HomesOption,
    JsonOption,
    OldOption,
    SpotOption,
    one_line_errors,
    read_homes,
    read_index,
    read_own_tariffs,
)


def register(app: typer.Typer) -> None:
    """Add the bargaining commands to the app."""
    from tariff_bargainer import (
        cli_auction,
        cli_clean,
        cli_negotiate,
        cli_profiles,
        cli_sharing,
        cli_weather,
    )

    cli_clean.register(app)
    cli_profiles.register(app)
    app.command("compare", epilog=COMPARE_EXAMPLE)(compare_command)
    app.command("floor", epilog=FLOOR_EXAMPLE)(floor_command)
    app.command("savings", epilog=SAVINGS_EXAMPLE)(savings_command)
    cli_sharing.register(app)
    cli_weather.register(app)
    app.add_typer(cli_negotiate.app, name="negotiate")
    app.add_typer(cli_auction.app, name="auction")


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


def compare_command(
    homes: HomesOption,
    old: OldOption,
    offer: Annotated[list[Path], typer.Option(help="Offer file, TOML or JSON; may be repeated.")],
    mandate: Annotated[Path | None, typer.Option(help="Mandate file, TOML or JSON.")] = None,
    alone: Annotated[
        list[Path] | None,
        typer.Option(
            help="Tariff any home could sign alone; counts who does better so. May be repeated."
        ),
    ] = None,
    spot: SpotOption = None,
    per_home: Annotated[
        bool, typer.Option(help="Include each home's own figures, which a board must not see.")
    ] = False,
    samples: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Years to draw per home for how sure each saving is."),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Replay offers on every home's real use: who pays less, who pays more."""
    from tariff_bargainer.bargaining.alternatives import best_alternatives
    from tariff_bargainer.bargaining.offer_file import read_mandate, read_offer
    from tariff_bargainer.bargaining.offers import Mandate, evaluate_offer, price_homes
    from tariff_bargainer.cli_progress import progress_bar
    from tariff_bargainer.tariffs.tariff_file import read_tariff

    group = read_homes(homes)
    own = read_own_tariffs(old, group)
    allowed = Mandate()
    if mandate:
        with one_line_errors(mandate):
            allowed = read_mandate(mandate)
    index = read_index(spot)
    with one_line_errors(homes), progress_bar("bills today") as shown:
        old_bills = price_homes(group, own, index=index, progress=shown)
    results = []
    for path in offer:
        with one_line_errors(path), progress_bar(path.stem) as shown:
            made = evaluate_offer(
                read_offer(path),
                group,
                own,
                allowed,
                old_bills_minor=old_bills,
                index=index,
                progress=shown,
            )
        results.append(made)
    rows = [evaluation_json(one, per_home=per_home) for one in results]
    open_tariffs = []
    for path in alone or []:
        with one_line_errors(path):
            open_tariffs.append(read_tariff(path))
    with one_line_errors(homes):
        best = best_alternatives(group, own, open_tariffs, index=index)
        for row, made in zip(rows, results, strict=True):
            row["walk_away"] = walk_away_json(row, made, best)
            if samples:
                row["sure"] = sure_json(row, group, own, made.offer.tariff, samples, index)
    if as_json:
        print(json.dumps({"offers": rows}))
        return
    print_evaluations(results, allowed)
    for row in rows:
        for line in after_words(row):
            print(f"{row['supplier']}: {line}")


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
    """Estimate what serving the group costs a supplier, line by line.

    Every assumption is listed with its unit and its source, as the file names it.
    """
    from tariff_bargainer.bargaining.floor_sources import assumption_notes, notes_json
    from tariff_bargainer.bargaining.offer_file import read_floor_assumptions
    from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions, estimate_floor
    from tariff_bargainer.profiles.load_profile import pool_profile

    group = read_homes(homes)
    given, sources = FloorAssumptions(), dict[str, str]()
    if assumptions:
        with one_line_errors(assumptions):
            given, sources = read_floor_assumptions(assumptions)
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
    notes = assumption_notes(given, sources, currency=currency)
    if as_json:
        print(json.dumps(estimate.as_json() | {"assumption_notes": notes_json(notes)}))
        return
    print(
        f"{estimate.meters} homes, {estimate.energy_kwh:,.0f} kWh from {pool.start:%Y-%m-%d %H:%M} "
        f"to {pool.end:%Y-%m-%d %H:%M} UTC"
    )
    print(f"{'':16} {currency:>16} {currency + '/MWh':>12}")
    for line in (*estimate.lines, None):
        amount, text = (line.amount, line.text) if line else (estimate.total, "")
        per_mwh = amount * 1000 / estimate.energy_kwh
        print(
            f"{line.key if line else 'total':16} {amount:>16,.2f} {per_mwh:>12,.2f}  {text}".rstrip()
        )
    print(
        f"floor {estimate.rate_per_kwh} {currency}/kWh "
        f"({estimate.rate_low_per_kwh} to {estimate.rate_high_per_kwh})"
    )
    print("assumptions; state others with --assumptions FILE (docs/formats/offer.md)")
    for note in notes:
        print(f"  {note.key:28} {note.value:>10,g}  {note.unit:24} {note.source}")


def savings_command(
    homes: HomesOption,
    old: Annotated[
        list[Path],
        typer.Option(
            help="The homes' own tariff as frozen when joining: one file, or a folder with "
            "<home>.toml; again for each version by effective_from and effective_to."
        ),
    ],
    new: Annotated[
        list[Path],
        typer.Option(
            help="The billed tariff: one file, or <home>.toml each; again for each version."
        ),
    ],
    period: Annotated[str, typer.Option(help="Name of the period, such as 2026-03.")],
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the homes' use a year before, to explain the change of bill by price, "
            "use and both together; never what is paid."
        ),
    ] = None,
    spot: SpotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute savings: the old tariff on the actual use, less the actual bill."""
    from tariff_bargainer.savings import monthly_savings, statement_json

    group = read_homes(homes)
    frozen, billed = read_versions(old, group), read_versions(new, group)
    before = read_homes(reference) if reference else None
    with one_line_errors(homes):
        statement = monthly_savings(
            period,
            group,
            frozen,
            billed,
            currency=next(iter(billed.values()))[0].currency,
            reference=before,
            index=read_index(spot),
        )
    if as_json:
        print(json.dumps(statement_json(statement)))
        return
    print_savings(statement)


def read_versions(
    places: list[Path], homes: "Mapping[str, LoadProfile]"
) -> dict[str, list["Tariff"]]:
    """Read each home's tariff, or its versions by effective dates."""
    read = [read_own_tariffs(place, homes) for place in places]
    return {home: [versions[home] for versions in read] for home in homes}


def print_savings(statement: "SavingsStatement") -> None:
    """Print a statement for people, money in the currency unit."""
    from tariff_bargainer.bargaining.minor_units import from_minor

    def row(name: str, *amounts_minor: int) -> str:
        sums = (f"{from_minor(one, statement.currency):>14,f}" for one in amounts_minor)
        return f"{name:24} {' '.join(sums)}"

    print(f"savings of {statement.period}, {statement.currency}")
    print(f"{'':24} {'old tariff':>14} {'actual bill':>14} {'saved':>14}")
    for one in statement.members:
        print(row(one.member, one.counterfactual_minor, one.actual_minor, one.saving_minor))
    together = statement.members
    print(
        row(
            "together",
            sum(one.counterfactual_minor for one in together),
            sum(one.actual_minor for one in together),
            statement.saving_minor,
        )
    )
    for one in together:
        if one.terms:
            terms = (one.terms.price_minor, one.terms.usage_minor, one.terms.interaction_minor)
            words = zip(("by price", "by use", "by both together"), terms, strict=True)
            told = ", ".join(f"{from_minor(sum_, one.currency):,f} {why}" for why, sum_ in words)
            print(f"{one.member}: less than in the reference use: {told}")
    print(f"root {statement.root}")


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
    result["remedy"] = remedy_json(evaluation)
    return result


def walk_away_json(
    row: "Mapping[str, Any]", evaluation: "OfferEvaluation", best: "Mapping[str, Alternative]"
) -> dict[str, int]:
    """Compare an offer with the best each home could get alone; exit fees count on both sides."""
    worse = 0
    for home in evaluation.homes:
        alone = best[home.home]
        worse += home.new_minor > alone.joining_limit_minor
        if "per_home" in row:
            row["per_home"][home.home] |= {
                "exit_fee_minor": alone.exit_fee_minor,
                "walk_away_minor": alone.cost_minor,
                "walk_away_tariff": alone.tariff.name,
            }
    return {
        "cost_minor": sum(one.cost_minor for one in best.values()),
        "exit_fees_minor": sum(one.exit_fee_minor for one in best.values()),
        "homes_with_exit_fee": sum(one.exit_fee_minor > 0 for one in best.values()),
        "homes_better_off_alone": worse,
    }


def after_words(row: "Mapping[str, Any]") -> list[str]:
    """Say what stands beside an offer's figures: exit fees, walk-aways, and how sure it is."""
    from tariff_bargainer.bargaining.minor_units import money_text

    alone, homes = row["walk_away"], row["homes"]
    lines = []
    if alone["exit_fees_minor"]:
        lines.append(
            f"{alone['homes_with_exit_fee']} of {homes} homes pay exit fees to join, "
            f"{money_text(alone['exit_fees_minor'], row['currency'])} together, once; these are "
            "not in the saving above"
        )
    if alone["homes_better_off_alone"]:
        lines.append(
            f"{alone['homes_better_off_alone']} of {homes} homes do better alone than by joining, "
            "exit fees included"
        )
    remedy = row["remedy"]
    if remedy["cost_minor"]:
        lines.append(
            f"credits of {money_text(remedy['cost_minor'], row['currency'])} to "
            f"{remedy['homes_lifted']} homes would bring those over the limit down to "
            f"{remedy['homes_over_after']}"
        )
    if "sure" in row:
        lines.append(
            f"{row['sure']['homes_likely_to_save']} of {homes} homes save in 9 of 10 years"
        )
    return lines


def sure_json(
    row: "Mapping[str, Any]",
    homes: "Mapping[str, LoadProfile]",
    own: "Mapping[str, Tariff]",
    new: "Tariff",
    samples: int,
    index: "Mapping[str, IndexSeries]",
) -> dict[str, int]:
    """Count homes by how often they save over years drawn again from their own weeks."""
    from tariff_bargainer.bargaining.alternatives import chance_of_saving

    chances = {
        home: chance_of_saving(profile, own[home], new, samples=samples, index=index)
        for home, profile in homes.items()
    }
    for home, chance in chances.items() if "per_home" in row else ():
        row["per_home"][home]["chance_of_saving"] = chance
    return {
        "samples": samples,
        "homes_likely_to_save": sum(chance >= 0.9 for chance in chances.values()),
        "homes_uncertain": sum(0.1 < chance < 0.9 for chance in chances.values()),
        "homes_unlikely_to_save": sum(chance <= 0.1 for chance in chances.values()),
    }


def remedy_json(evaluation: "OfferEvaluation") -> dict[str, Any]:
    """Say what it would cost to keep the mandate, and whether nobody need be worse off."""
    from tariff_bargainer.bargaining.fairness import cheapest_remedy, guarantee_transfers
    from tariff_bargainer.errors import NoFairSplit

    savings = {home.home: home.saving_minor for home in evaluation.homes}
    remedy = cheapest_remedy(
        savings,
        loss_limit_minor=evaluation.mandate.loss_limit_minor,
        homes_allowed=evaluation.mandate.homes_allowed,
    )
    try:
        guarantee = guarantee_transfers(savings)
        nobody: dict[str, Any] = {"possible": True, "moved_minor": guarantee.moved_minor}
    except NoFairSplit as short:
        nobody = {"possible": False, "short_minor": short.short_minor}
    return {
        "cost_minor": remedy.cost_minor,
        "homes_lifted": len(remedy.credit_minor),
        "homes_over_after": remedy.homes_over_after,
        "nobody_worse_off": nobody,
    }


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
    Console().print(table)
    limit = money_text(mandate.loss_limit_minor, evaluations[0].currency)
    print(
        f"limit: at most {mandate.losers_share_max:.1%} of homes may pay over {limit} a year more"
    )
