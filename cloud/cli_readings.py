"""Commands of `coop-cloud` for readings: counts, compaction, import and export."""

from __future__ import annotations

import enum
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli_faults import one_line_errors
from cloud.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloud.readings.ports import StoreCounts
    from gateway.wire.reading import Purpose, Reading

store_app = typer.Typer(no_args_is_help=True, help="The store of readings.")

DataDir = Annotated[Path, typer.Option("--data", help="Folder that holds everything.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Household = Annotated[str, typer.Option(help="Pseudonym of the home.")]
_DEFAULT_DATA = Path("commonwatt-data")


class FileForm(enum.StrEnum):
    """Forms of files that readings come and go in."""

    CSV = "csv"
    PARQUET = "parquet"
    GREEN_BUTTON = "green-button"


Form = Annotated[
    FileForm | None, typer.Option("--form", help="Form of the file; by its ending if not given.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `coop-cloud`."""
    app.add_typer(store_app, name="store")
    app.command("import")(import_file)
    app.command("export")(export_file)


@store_app.command("counts")
def store_counts(data: DataDir = _DEFAULT_DATA, *, as_json: AsJson = False) -> None:
    """Count batches, readings and energy in the store; works beside a running server.

    Example: coop-cloud store counts --data ./commonwatt-data --json
    """
    with one_line_errors():
        from cloud.readings.reader import StoreReader

        with StoreReader(_store_folder(data)) as store:
            counts = store.counts()
    if as_json:
        print(json.dumps(_counts_document(counts)))
        return
    print(f"{counts.batches} batches, {counts.intervals_distinct} readings, {counts.gaps} gaps")
    print(f"{counts.intervals_waiting} wait in the inbox, the rest is in {counts.files} files")
    print(f"{counts.bytes_on_disk / 1e6:.1f} MB on disk")
    for (quantity, purpose), energy_wh in sorted(counts.energy_wh.items()):
        print(f"{quantity} for {purpose}: {energy_wh} Wh")


@store_app.command("chains")
def store_chains(data: DataDir = _DEFAULT_DATA, *, as_json: AsJson = False) -> None:
    """List gateways whose messages do not follow one another; works beside a running server.

    Missing messages may still come. Forked or reused numbers mean that two devices use one key, or
    that a gateway was set up again from an old copy: ask the home, and revoke the key if in doubt.

    Example: coop-cloud store chains --data ./commonwatt-data --json
    """
    with one_line_errors():
        from cloud.readings.reader import StoreReader

        with StoreReader(_store_folder(data)) as store:
            found = store.broken_chains()
    lines = [
        {
            "gateway": one.gateway,
            "stream": str(one.stream),
            "parts_missing": one.chain.parts_missing,
            "forked": one.chain.forked,
            "reused": one.chain.reused,
            "noticed_at": one.noticed_at.isoformat(),
        }
        for one in found
    ]
    if as_json:
        print(json.dumps({"broken_chains": lines}))
        return
    for line in lines:
        print(
            f"{line['gateway']}  {line['stream']}  missing {line['parts_missing']},"
            f" forked {line['forked']}, reused {line['reused']}, noticed {line['noticed_at']}"
        )
    if not lines:
        print("every chain is whole")


@store_app.command("compact")
def store_compact(data: DataDir = _DEFAULT_DATA, *, as_json: AsJson = False) -> None:
    """Move the inbox into Parquet files; the server must not run, it does this by itself.

    Example: coop-cloud store compact --data ./commonwatt-data
    """
    with one_line_errors():
        from cloud.readings.embedded import EmbeddedStore

        with EmbeddedStore(_existing(_store_folder(data))) as store:
            done = store.compact()
    if as_json:
        document = {
            "intervals": done.intervals,
            "files_written": done.files_written,
            "files_removed": done.files_removed,
        }
        print(json.dumps(document))
    else:
        print(f"{done.intervals} readings moved into {done.files_written} files")


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or Green Button (XML) file.")],
    household: Household,
    purpose: Annotated[str, typer.Option(help="What the home agreed to, such as own_insight.")],
    data: DataDir = _DEFAULT_DATA,
    form: Form = None,
    meter: Annotated[str, typer.Option(help="Name of the meter, for Green Button files.")] = "main",
    *,
    as_json: AsJson = False,
) -> None:
    """Take a home's readings from a file, as far as its consent goes; the server must not run.

    Example: coop-cloud import year.xml --household h-1 --purpose own_insight --meter main
    """
    with one_line_errors():
        from cloud.app import open_database
        from cloud.consents.usecases import grants_of
        from cloud.errors import NotFound
        from cloud.members.repository import household_row
        from cloud.readings.embedded import EmbeddedStore
        from cloud.readings.imports import import_readings
        from cloud.settings import load_settings

        wanted = _purpose(purpose)
        readings, notices = _read(file, form, meter)
        settings = load_settings(data)
        database = open_database(settings)
        try:
            with database.reading() as connection:
                if household_row(connection, household) is None:
                    raise NotFound(f"household {household}")
                grants = grants_of(connection, household).values()
            with EmbeddedStore(settings.data_dir / "readings") as store:
                done = import_readings(
                    store,
                    readings,
                    household=household,
                    purpose=wanted,
                    grants=grants,
                    now=datetime.now(UTC),
                )
        finally:
            database.close()
    if as_json:
        document = {
            "intervals": done.intervals,
            "accepted": done.accepted,
            "duplicates": done.duplicates,
            "refused": done.refused,
            "energy_wh": done.energy_wh,
            "notices": notices,
        }
        print(json.dumps(document))
    else:
        for notice in notices:
            print(f"left out: {notice}")
        print(f"{done.accepted} of {done.intervals} readings stored, {done.duplicates} known")
        for reason, count in done.refused.items():
            print(f"{count} refused: {reason}")
    if done.refused and not done.accepted and not done.duplicates:
        reasons = ", ".join(done.refused)
        sys.stderr.write(f"error: {file}: nothing was stored, the home did not agree: {reasons}\n")
        raise typer.Exit(2)


def export_file(
    file: Annotated[Path, typer.Argument(help="File to write; an existing one is replaced.")],
    household: Household,
    purpose: Annotated[
        str | None, typer.Option(help="One purpose only; needed for Green Button.")
    ] = None,
    data: DataDir = _DEFAULT_DATA,
    form: Form = None,
    start: Annotated[str, typer.Option(help="First moment, ISO 8601.")] = "1970-01-01T00:00:00Z",
    end: Annotated[str, typer.Option(help="First moment after.")] = "2200-01-01T00:00:00Z",
    *,
    as_json: AsJson = False,
) -> None:
    """Write a home's readings to a file; works beside a running server.

    Example: coop-cloud export home.csv --household h-1
    """
    with one_line_errors():
        from cloud.readings.green_button_writer import write_green_button
        from cloud.readings.interchange import write_csv, write_parquet
        from cloud.readings.reader import StoreReader
        from cloud.settings import load_settings

        settings = load_settings(data)
        chosen = form or _form_of(file)
        wanted = _purpose(purpose) if purpose else None
        begin, finish = _moment(start), _moment(end)
        if chosen is FileForm.GREEN_BUTTON and wanted is None:
            raise BadInput("a Green Button file holds one purpose; give --purpose")
        with StoreReader(_store_folder(data)) as store:
            frame = store.home_readings(household, start=begin, end=finish, purpose=wanted)
        if frame.empty:
            raise BadInput(f"there are no readings of {household} in this time; nothing written")
        partial = file.with_name(file.name + ".partial")
        if chosen is FileForm.CSV:
            written = write_csv(frame, partial)
        elif chosen is FileForm.PARQUET:
            written = write_parquet(frame, partial)
        else:
            written = write_green_button(
                frame,
                partial,
                household=household,
                timezone=settings.timezone,
                now=datetime.now(UTC),
            )
        partial.replace(file)
    if as_json:
        print(json.dumps({"file": str(file), "form": chosen.value, "readings": written}))
    else:
        print(f"{written} readings written to {file}")


def _read(file: Path, form: FileForm | None, meter: str) -> tuple[Sequence[Reading], list[str]]:
    from cloud.readings.green_button_reader import read_green_button
    from cloud.readings.interchange import read_csv, read_parquet

    chosen = form or _form_of(file)
    if chosen is FileForm.CSV:
        return read_csv(file), []
    if chosen is FileForm.PARQUET:
        return read_parquet(file), []
    found = read_green_button(file, meter=meter)
    return found.readings, list(found.notices)


def _form_of(file: Path) -> FileForm:
    endings = {".csv": FileForm.CSV, ".parquet": FileForm.PARQUET, ".xml": FileForm.GREEN_BUTTON}
    form = endings.get(file.suffix.lower())
    if form is None:
        raise BadInput(f"{file}: give --form csv, parquet or green-button")
    return form


def _purpose(name: str) -> Purpose:
    from gateway.wire.reading import Purpose as Known

    try:
        return Known(name)
    except ValueError:
        raise BadInput(f"--purpose {name!r}: use one of {', '.join(Known)}") from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text!r} is no time such as 2026-03-02T00:00:00Z") from None
    if moment.tzinfo is None:
        raise BadInput(f"{text!r} has no offset; add Z for UTC")
    return moment.astimezone(UTC)


def _store_folder(data: Path) -> Path:
    from cloud.settings import load_settings

    return load_settings(data).data_dir / "readings"


def _existing(folder: Path) -> Path:
    from cloud.errors import NotFound

    if not folder.exists():
        raise NotFound(f"store of readings as {folder}; check --data")
    return folder


def _counts_document(counts: StoreCounts) -> dict[str, object]:
    return {
        "batches": counts.batches,
        "intervals_accepted": counts.intervals_accepted,
        "intervals_distinct": counts.intervals_distinct,
        "intervals_waiting": counts.intervals_waiting,
        "gaps": counts.gaps,
        "files": counts.files,
        "bytes_on_disk": counts.bytes_on_disk,
        "energy_wh": [
            {"quantity": quantity.value, "purpose": purpose.value, "energy_wh": energy_wh}
            for (quantity, purpose), energy_wh in sorted(counts.energy_wh.items())
        ],
    }
