"""Commands of `coop-cloud` for old tariffs that come on paper; they run beside the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloud.cli_admin import AsJson, DataDir, writing

if TYPE_CHECKING:
    from cloud.savings.repository import HomeTariff

tariff_app = typer.Typer(no_args_is_help=True, help="Old tariffs of the homes, from paper forms.")

Household = Annotated[str, typer.Argument(help="The home's pseudonym.")]


@tariff_app.command("set")
def tariff_set(
    household: Household,
    file: Annotated[Path, typer.Argument(help="The tariff, .toml or .json.")],
    valid_from: Annotated[str, typer.Option(help="First day on which it holds, 2026-01-31.")],
    data: DataDir = Path("commonwatt-data"),
    reason: Annotated[str, typer.Option(help="Why; needed once the home has joined.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Record a home's old tariff from a paper form; its people are told by letter.

    Example: coop-cloud tariff set h-0123456789abcdef old.toml --valid-from 2025-01-01
    """
    from datetime import UTC, date, datetime

    from cloud.errors import BadInput
    from cloud.savings.old_tariffs import TARIFF_BYTES_MAX, TariffDraft, enter_from_paper

    with writing(data) as (settings, connection):
        try:
            first_day = date.fromisoformat(valid_from)
        except ValueError as fault:
            raise BadInput(f"--valid-from: {valid_from!r} is no day such as 2026-01-31") from fault
        try:
            with file.open("rb") as opened:
                text = opened.read(TARIFF_BYTES_MAX + 1).decode("utf-8")
        except UnicodeDecodeError as fault:
            raise BadInput(f"{file}: is not UTF-8 text") from fault
        try:
            frozen = enter_from_paper(
                connection,
                TariffDraft(
                    text=text,
                    form="json" if file.suffix.lower() == ".json" else "toml",
                    valid_from=first_day,
                    reason=reason,
                ),
                household=household,
                currency=settings.currency,
                zone=settings.timezone,
                now=datetime.now(UTC),
            )
        except BadInput as fault:
            places = "; ".join(f"{one.pointer}: {one.problem}" for one in fault.faults)
            raise BadInput(f"{file}: {places or fault}") from fault
    if as_json:
        print(json.dumps(_shown(frozen)))
    else:
        print(f"{household} has the old tariff {frozen.tariff_hash[:16]} from {valid_from} on")


@tariff_app.command("show")
def tariff_show(
    household: Household, data: DataDir = Path("commonwatt-data"), *, as_json: AsJson = False
) -> None:
    """Show the old tariffs on record for a home, newest first.

    Example: coop-cloud tariff show h-0123456789abcdef --json
    """
    from datetime import UTC, datetime

    from cloud.errors import NotFound
    from cloud.members.repository import household_row
    from cloud.savings.old_tariffs import old_tariffs

    with writing(data) as (_settings, connection):
        if household_row(connection, household) is None:
            raise NotFound(f"household {household}")
        found = old_tariffs(connection, household, datetime.now(UTC))
    rows = [_shown(row) for row in found.history]
    if as_json:
        joined = found.joined_at.isoformat() if found.joined_at else None
        print(json.dumps({"household": household, "joined_at": joined, "tariffs": rows}))
        return
    for row in rows:
        print(
            f"{row['valid_from'][:10]}  {row['tariff_hash'][:16]}  {row['name']}  {row['reason']}"
        )
    if not rows:
        print("no old tariff is on record")


def _shown(row: HomeTariff) -> dict[str, Any]:
    from cloud.savings.usecases import read_tariff_text

    return {
        "name": read_tariff_text(row.tariff_text, row.form).name,
        "tariff_hash": row.tariff_hash,
        "valid_from": row.valid_from.isoformat(),
        "set_by": row.set_by,
        "reason": row.reason,
    }
