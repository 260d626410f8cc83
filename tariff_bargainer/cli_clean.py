"""The command `clean`: from files of meters' portals to load files, with every kWh accounted for."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tariff_bargainer.cli_bargaining_input import (
    EXIT_BAD_INPUT,
    HOMES_MAX,
    JsonOption,
    one_line_errors,
)

if TYPE_CHECKING:
    from tariff_bargainer.profiles.cleaning import CleanedProfile
    from tariff_bargainer.profiles.raw_readings import ReadingsAccount

CLEAN_EXAMPLE = (
    "Example: tariff-bargainer clean portal/*.csv --out street/ --column Verbrauch --unit kwh "
    "--timezone Europe/Vienna --time-format '%d.%m.%Y %H:%M' --fill-h 3"
)


class UnitOption(StrEnum):
    """Unit of the readings."""

    WH = "wh"
    KWH = "kwh"
    MWH = "mwh"
    W = "w"
    KW = "kw"


class LabelledOption(StrEnum):
    """Which end of its interval a time names."""

    START = "start"
    END = "end"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("clean", epilog=CLEAN_EXAMPLE)(clean_command)


def clean_command(
    files: Annotated[list[Path], typer.Argument(help="CSV files, one per home.")],
    out: Annotated[Path, typer.Option(help="Folder for the load files; made when absent.")],
    unit: Annotated[UnitOption, typer.Option(help="Unit of the readings; w and kw are means.")],
    column: Annotated[
        str | None, typer.Option(help="Column of readings, if there are several.")
    ] = None,
    time: Annotated[
        list[str] | None, typer.Option(help="Column of the time, or of date and time; the first.")
    ] = None,
    time_format: Annotated[
        str | None, typer.Option(help="Such as '%d.%m.%Y %H:%M', or unix; ISO 8601 if left out.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of times without offset: IANA name, or UTC+01:00.")
    ] = None,
    labelled: Annotated[
        LabelledOption, typer.Option(help="What of its interval a time names.")
    ] = LabelledOption.START,
    net: Annotated[bool, typer.Option("--net", help="Readings below zero are export.")] = False,
    fill_h: Annotated[
        float, typer.Option(min=0, max=48, help="Longest gap to estimate [h]; 0 leaves all gaps.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Turn a portal's CSV files into load files, and account for every kWh.

    Sorts rows, drops repetitions, leaves contradictions and gaps empty. Estimates are made only
    when asked for, and listed in OUT/estimated. Nothing is written if any file cannot be read.
    """
    from tariff_bargainer.cli_progress import progress_bar
    from tariff_bargainer.profiles.cleaning import fill_short_gaps
    from tariff_bargainer.profiles.raw_csv import read_raw_csv
    from tariff_bargainer.profiles.raw_readings import tidy_readings

    if len(files) > HOMES_MAX or len({path.stem for path in files}) < len(files):
        _refuse([f"{len(files)} files; give at most {HOMES_MAX}, each with a name of its own"])
    if out.resolve() in {path.resolve().parent for path in files}:
        _refuse([f"{out}: holds the files to read; give another folder, so that they stay"])
    done: dict[str, tuple[ReadingsAccount, CleanedProfile]] = {}
    reasons: list[str] = []
    with progress_bar("cleaning") as shown:
        for path in files:
            with one_line_errors(path):
                readings = read_raw_csv(
                    path, column=column, time_columns=time or (), time_format=time_format
                )
                tidied = tidy_readings(
                    path.stem,
                    readings,
                    unit=unit.value,
                    timezone=timezone,
                    labelled=labelled.value,
                    net=net,
                )
                if tidied.profile is None or tidied.account is None:
                    reasons.extend(f"{path}: {reason.text}" for reason in tidied.reasons)
                    continue
                done[path.stem] = tidied.account, fill_short_gaps(tidied.profile, gap_h_max=fill_h)
            if shown:
                shown(len(done), len(files))
    if reasons:
        _refuse(reasons)
    with one_line_errors(out):
        for home, (_, cleaned) in done.items():
            _write(out, home, cleaned)
    rows = [_row(home, account, cleaned) for home, (account, cleaned) in done.items()]
    print(json.dumps({"homes": rows})) if as_json else _print_table(rows)


def _refuse(reasons: list[str]) -> None:
    for reason in reasons:
        typer.echo(f"error: {reason}", err=True)
    raise typer.Exit(EXIT_BAD_INPUT)


def _write(out: Path, home: str, cleaned: "CleanedProfile") -> None:
    from tariff_bargainer.errors import LoadFileError

    profile = cleaned.profile
    frame = profile.to_frame()
    frame.index = profile.index.strftime("%Y-%m-%dT%H:%M:%SZ")
    frame.index.name = "interval_start"
    try:
        out.mkdir(parents=True, exist_ok=True)
        frame.to_csv(out / f"{home}.csv", float_format="%.10g")
        if cleaned.estimated.any():
            (out / "estimated").mkdir(exist_ok=True)
            frame[cleaned.estimated].to_csv(out / "estimated" / f"{home}.csv", float_format="%.10g")
    except OSError as fault:
        raise LoadFileError(
            problem=f"cannot be written ({fault.strerror})", remedy="check the folder and the disk"
        ) from None


def _row(home: str, account: "ReadingsAccount", cleaned: "CleanedProfile") -> dict[str, Any]:
    profile = cleaned.profile
    return {
        "home": home,
        "start": profile.start.isoformat(),
        "step_s": profile.step_s,
        "intervals": len(profile),
        **asdict(account),
        "missing": cleaned.left_missing,
        "estimated": int(cleaned.estimated.sum()),
        "estimated_wh": cleaned.estimated_wh,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    width = max(4, *(len(row["home"]) for row in rows))
    print(
        f"{'home':<{width}}  {'rows':>8}  {'given kWh':>12} = {'import':>12} - {'export':>10} + "
        f"{'repeated':>10} + {'conflicts':>10}  {'estimated kWh':>13}  {'missing':>8}"
    )
    for row in rows:
        print(
            f"{row['home']:<{width}}  {row['rows']:>8,}  {row['given_wh'] / 1e3:>12,.3f} = "
            f"{row['import_wh'] / 1e3:>12,.3f} - {row['export_wh'] / 1e3:>10,.3f} + "
            f"{row['repeated_wh'] / 1e3:>10,.3f} + {row['conflicting_wh'] / 1e3:>10,.3f}  "
            f"{row['estimated_wh'] / 1e3:>13,.3f}  {row['missing']:>8,}"
        )
