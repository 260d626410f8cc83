"""Commands about what the co-op refused: look, send again, or drop."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli_options import ConfigOption, JsonOption, named_faults, write_json

refused_app = typer.Typer(
    no_args_is_help=True, help="Look at what the co-op refused, send it again, or drop it."
)

ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Only what was refused for this reason.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the gateway's application."""
    app.add_typer(refused_app, name="refused")
    refused_app.command(
        "list", epilog="Example: coop-gateway refused list --config gateway.toml --json"
    )(named_faults(list_refused))
    refused_app.command(
        "retry",
        epilog="Example: coop-gateway refused retry --reason in_the_future --config gateway.toml",
    )(named_faults(retry))
    refused_app.command(
        "drop", epilog="Example: coop-gateway refused drop --yes --config gateway.toml"
    )(named_faults(drop))


def list_refused(config: ConfigOption, json_output: JsonOption = False) -> None:
    """List refused intervals by stream and reason. They block nothing that came after them."""
    from gateway.outbox.refused import groups
    from gateway.outbox.sqlite import SqliteOutbox
    from gateway.settings import read_settings

    _, state_dir = read_settings(config)
    store = SqliteOutbox.open(state_dir, read_only=True)
    with store.reading() as connection:
        found = groups(connection)
    store.close()
    if json_output:
        write_json(
            {
                "refused": [
                    {
                        name: held.isoformat() if isinstance(held, datetime) else held
                        for name, held in asdict(group).items()
                    }
                    for group in found
                ]
            }
        )
        return
    for group in found:
        sys.stdout.write(
            f"{group.intervals:>7,} intervals  {group.reason}  "
            f"{group.meter} {group.quantity} for {group.purpose}  "
            f"{group.first_start:%Y-%m-%d %H:%M} to {group.last_end:%Y-%m-%d %H:%M} UTC\n"
        )
    if not found:
        sys.stdout.write("nothing was refused\n")


def retry(
    config: ConfigOption, reason: ReasonOption = None, json_output: JsonOption = False
) -> None:
    """Let refused intervals be sent once more, as far as your consents still cover them."""
    from gateway.household import current_book
    from gateway.outbox.refused import put_back
    from gateway.parts import open_parts

    with open_parts(config) as parts:
        book = current_book(parts.store, parts.identity)
        with parts.store.transaction() as connection:
            back, stay = put_back(connection, book, reason=reason)
    if json_output:
        write_json({"waiting_again": back, "not_covered": stay})
        return
    sys.stdout.write(f"{back} intervals wait to be sent again\n")
    if stay:
        sys.stdout.write(f"{stay} stay aside: no consent covers them any more\n")


def drop(
    config: ConfigOption,
    reason: ReasonOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Erase refused intervals for good."""
    from gateway.outbox import ledger
    from gateway.outbox.refused import drop as erase
    from gateway.parts import open_parts

    if not yes:
        typer.confirm("Erase what the co-op refused?", abort=True)
    with open_parts(config) as parts:
        with parts.store.transaction() as connection:
            gone = erase(connection, reason=reason)
            said = f"{gone} refused intervals were erased"
            ledger.note(connection, datetime.now(tz=UTC), "refused", said)
        parts.store.truncate_log()
    if json_output:
        write_json({"erased": gone})
    else:
        sys.stdout.write(f"{said}\n")
