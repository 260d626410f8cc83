"""Commands of `coop-cloud` about data: backup, restore, erase, verify."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cloud.cli_faults import one_line_errors
from cloud.errors import BadInput

data_app = typer.Typer()

DataDir = Annotated[Path, typer.Option("--data", help="Folder that holds everything.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@data_app.command()
def backup(
    to: Annotated[Path, typer.Option("--to", help="New file to write.")],
    data: DataDir = Path("commonwatt-data"),
    *,
    as_json: AsJson = False,
) -> None:
    """Write everything into one file, keys included; the server may run meanwhile.

    Example: coop-cloud backup --data ./commonwatt-data --to coop.tar
    """
    with one_line_errors():
        from datetime import UTC, datetime

        from cloud.backup import make_backup
        from cloud.settings import load_settings

        made = make_backup(load_settings(data), to, now=datetime.now(UTC))
    if as_json:
        print(json.dumps(asdict(made)))
    else:
        print(f"{made.files} files, {made.bytes_in_all} bytes; keep it safe: it holds the keys")


@data_app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    data: DataDir = Path("commonwatt-data"),
    erased: Annotated[
        Path | None,
        typer.Option(help="erased_homes.txt of the lost folder: homes to erase again."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Unpack a backup into a new folder; gateways notice if the log is shorter than they saw it.

    Example: coop-cloud restore coop.tar --data ./commonwatt-data --erased old/erased_homes.txt
    """
    with one_line_errors():
        from cloud.backup import restore_backup
        from cloud.erasure import erased_homes

        if erased is not None and not erased.is_file():
            raise BadInput(f"{erased}: there is no such file")
        restored = restore_backup(file, data)
        again = [
            household
            for household in (erased_homes(erased) if erased else [])
            if _erase_again(data, household)
        ]
    if as_json:
        print(json.dumps(asdict(restored) | {"erased_again": again}))
    else:
        print(f"{restored.files} files of {restored.made_at}; erased again: {len(again)} homes")


@data_app.command()
def erase(
    household: Annotated[str, typer.Argument(help="The home's pseudonym.")],
    data: DataDir = Path("commonwatt-data"),
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Erase; there is no way back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a home: people, gateways, salts and all readings. The server may run.

    Example: coop-cloud erase h-0123456789abcdef --yes
    """
    with one_line_errors():
        if not yes:
            raise BadInput("this cannot be undone; say --yes if you mean it")
        found = _erase(data, household)
    if as_json:
        print(json.dumps(found))
    elif found["readings_erased"] is None:
        print(f"{household} is erased; the running server erases its readings within a minute")
    else:
        print(f"{household} is erased, with {found['readings_erased']} readings")


@data_app.command()
def verify(data: DataDir = Path("commonwatt-data"), *, as_json: AsJson = False) -> None:
    """Recompute the transparency log and check all consents; exit code 1 if anything does not fit.

    Example: coop-cloud verify --data ./commonwatt-data --json
    """
    with one_line_errors():
        from cloud.app import open_database
        from cloud.settings import load_settings
        from cloud.transparency.audit import audit

        if not data.is_dir():
            raise BadInput(f"{data}: there is no co-op here; check --data")
        with (
            closing(open_database(load_settings(data))) as database,
            database.reading() as connection,
        ):
            found = audit(connection)
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        print(f"log of {found.entries} entries, root {found.root}")
        print(f"{found.consent_events} consent events")
        for fault in found.faults:
            print(f"FAULT: {fault}")
    raise typer.Exit(1 if found.faults else 0)


def _erase(data: Path, household: str) -> dict[str, object]:
    from datetime import UTC, datetime

    from cloud.app import open_database
    from cloud.erasure import erase_home, note_erased
    from cloud.errors import StoreLocked
    from cloud.readings.embedded import EmbeddedStore
    from cloud.settings import load_settings

    settings = load_settings(data)
    with closing(open_database(settings)) as database:
        with database.transaction() as connection:
            erased = erase_home(connection, household, now=datetime.now(UTC))
        database.scrub()
    note_erased(settings.data_dir, household)
    try:
        store = EmbeddedStore(settings.data_dir / "readings")
    except StoreLocked:
        return asdict(erased) | {"readings_erased": None}
    readings = store.erase(household).intervals
    store.close()
    return asdict(erased) | {"readings_erased": readings}


def _erase_again(data: Path, household: str) -> bool:
    from cloud.errors import NotFound

    try:
        _erase(data, household)
    except NotFound:
        return False
    return True
