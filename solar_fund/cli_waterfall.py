"""The command that splits savings: `solar-fund waterfall`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from solar_fund.waterfall import SavingsSplit, Settlement, WaterfallParameters

ACCOUNTS_PER_BATCH = 5_000

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `solar-fund`."""
    app.command(
        "waterfall",
        epilog="Example: solar-fund waterfall savings.csv --currency EUR --costs 12.50 --json",
    )(waterfall)


def waterfall(
    savings: Annotated[
        Path,
        typer.Argument(help="CSV with member_id and saving (or saving_minor), maybe evidence."),
    ],
    currency: Annotated[str, typer.Option(help="Code of ISO 4217.")] = "EUR",
    period: Annotated[str, typer.Option(help="Name of the period.")] = "period",
    costs: Annotated[str, typer.Option(help="Direct costs of the period.")] = "0",
    sigma: Annotated[str, typer.Option(help="Standard error of the total saving.")] = "0",
    carried_loss: Annotated[str, typer.Option(help="Deficit of earlier periods.")] = "0",
    reserve: Annotated[str, typer.Option(help="What the reserve holds now.")] = "0",
    monthly_costs: Annotated[
        str | None,
        typer.Option(help="Usual costs of a month; they set the reserve's target."),
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="TOML file with the voted shares.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(help="Post the split into this ledger, whose reserve and deficit count."),
    ] = None,
    authorised_by: Annotated[
        str | None, typer.Option(help="Id of the vote behind the parameters, with --into.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Split a period's savings to losers, costs, reserve, fund and pockets, to the cent."""
    from solar_fund.money import Money
    from solar_fund.savings_file import read_parameters, read_savings
    from solar_fund.waterfall import Settlement, split_savings

    rows, evidence = read_savings(savings, currency)
    costs_minor = Money.parse(costs, currency).amount_minor
    settlement = Settlement(
        period=period,
        currency=currency,
        savings=rows,
        evidence=evidence,
        costs_minor=costs_minor,
        sigma_minor=Money.parse(sigma, currency).amount_minor,
        carried_loss_minor=Money.parse(carried_loss, currency).amount_minor,
        reserve_minor=Money.parse(reserve, currency).amount_minor,
        monthly_costs_minor=(
            costs_minor
            if monthly_costs is None
            else Money.parse(monthly_costs, currency).amount_minor
        ),
    )
    voted = None if parameters is None else read_parameters(parameters)
    if into is None:
        split = split_savings(settlement, voted)
    else:
        split = _settle_into(into, settlement, voted, authorised_by)
    if as_json:
        print(json.dumps(_split_json(split)))
        return
    for name, amount_minor in _split_amounts(split).items():
        print(f"{Money(amount_minor, currency)!s:>22}  {name.removesuffix('_minor')}")


def _settle_into(
    database: str,
    settlement: "Settlement",
    voted: "WaterfallParameters | None",
    authorised_by: str | None,
) -> "SavingsSplit":
    """Split with the reserve and deficit that the ledger shows, and post it."""
    from solar_fund.errors import DistributionRefused
    from solar_fund.ledger.accounts import EQUALISATION, RESERVE
    from solar_fund.ledger.database import open_for_writing
    from solar_fund.ledger.sql import SqlLedger
    from solar_fund.settlement_entries import accounts_of_split, settlement_drafts
    from solar_fund.waterfall import split_savings

    with open_for_writing(database) as connection:
        ledger = SqlLedger(connection)
        earlier = ledger.record_of_key(f"settlement:{settlement.period}:1")
        if earlier is not None:
            raise DistributionRefused(
                f"period {settlement.period!r} was settled by record {earlier.seq}; post later"
                " corrections as a true-up"
            )
        currency = settlement.currency
        carried = ledger.balance(EQUALISATION, currency).posted_minor
        held = -ledger.balance(RESERVE, currency).posted_minor
        now = replace(settlement, carried_loss_minor=carried, reserve_minor=held)
        split = split_savings(now, voted)
        known = {account.name for account in ledger.accounts()}
        accounts = [account for account in accounts_of_split(split) if account.name not in known]
        for start in range(0, len(accounts), ACCOUNTS_PER_BATCH):
            ledger.open_accounts(accounts[start : start + ACCOUNTS_PER_BATCH])
        ledger.post_entries(settlement_drafts(split, authorised_by=authorised_by))
    return split


def _split_amounts(split: "SavingsSplit") -> dict[str, int]:
    return {
        "gains_minor": split.gains_minor,
        "net_saving_minor": split.net_saving_minor,
        "deficit_minor": split.deficit_minor,
        "made_whole_minor": split.made_whole_minor,
        "repaid_loss_minor": split.repaid_loss_minor,
        "held_back_minor": split.held_back_minor,
        "costs_minor": split.costs_minor,
        "uncovered_costs_minor": split.uncovered_costs_minor,
        "reserve_minor": split.reserve_minor,
        "fund_minor": split.fund_minor,
        "pocket_minor": split.pocket_minor,
        "total_in_minor": split.total_in_minor,
        "total_out_minor": split.total_out_minor,
    }


def _split_json(split: "SavingsSplit") -> dict[str, Any]:
    from solar_fund.settlement_entries import settlement_drafts

    return {
        "period": split.settlement.period,
        "currency": split.settlement.currency,
        "evidence": split.settlement.evidence,
        **_split_amounts(split),
        "members": [
            {
                "member_id": share.member_id,
                "saving_minor": share.saving_minor,
                "made_whole_minor": share.made_whole_minor,
                "capital_minor": share.capital_minor,
                "pocket_minor": share.pocket_minor,
            }
            for share in split.members
        ],
        "entries": [draft.request("entry") for draft in settlement_drafts(split)],
    }
