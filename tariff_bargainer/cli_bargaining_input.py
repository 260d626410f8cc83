"""What the bargaining commands read: groups of homes, their tariffs, and spot prices.

A group is a folder with one load file per home, named after the home. The homes' own tariffs are
one tariff file for all, or a folder with one per home.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tariff_bargainer.billing.index_cost import IndexSeries
    from tariff_bargainer.profiles.intervals import LoadProfile
    from tariff_bargainer.tariffs.tariff import Tariff

EXIT_BAD_INPUT = 2
HOMES_MAX = 100_000
SPOT_SERIES = "day-ahead"
"""Name under which a spot file serves tariffs that are linked to an index"""

HomesOption = Annotated[Path, typer.Option(help="Folder with one load CSV per home.")]
OldOption = Annotated[
    Path, typer.Option(help="The homes' own tariff: one file, or a folder with <home>.toml.")
]
SpotOption = Annotated[
    Path | None, typer.Option(help="CSV of spot prices: interval_start, price_per_mwh.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@contextmanager
def one_line_errors(place: Path | str) -> Iterator[None]:
    """Turn an error of this package into one line on stderr that names the place, and exit 2."""
    from tariff_bargainer.errors import BargainerError

    try:
        yield
    except BargainerError as error:
        typer.echo(f"error: {place}: {error}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None


def read_homes(folder: Path) -> dict[str, "LoadProfile"]:
    """Read a folder of load files, sorted by home; exits 2 with one line when it cannot."""
    from tariff_bargainer.cli_progress import progress_bar
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
    with progress_bar("reading loads") as shown:
        for path in files:
            with one_line_errors(path):
                group[path.stem] = read_load_csv(path)
            if shown:
                shown(len(group), len(files))
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
