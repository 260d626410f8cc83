"""The command that prices a load file: `bill`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from decimal import Decimal

    from tariff_bargainer.billing.bill import Bill
    from tariff_bargainer.billing.index_cost import IndexSeries
    from tariff_bargainer.profiles.intervals import LoadProfile
    from tariff_bargainer.tariffs.tariff import Tariff

EXIT_BAD_INPUT = 2
PARTS = ("energy", "demand", "fixed", "minimum", "export_credit", "discount", "tax")


class TariffFormat(StrEnum):
    """Forms a tariff file may have."""

    TOML = "toml"
    URDB = "urdb"
    OPENTARIFF = "opentariff"
    OPEN_ENERGY_TARIFFS = "open-energy-tariffs"


class MeteringOption(StrEnum):
    """What becomes of exported energy."""

    NONE = "none"
    NET = "net"
    NET_BILLING = "net-billing"


@contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Turn an error of this package into one line on stderr that names the file, and exit 2."""
    from tariff_bargainer.errors import BargainerError

    try:
        yield
    except BargainerError as error:
        typer.echo(f"error: {path}: {error}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None


def register(app: typer.Typer) -> None:
    """Add the billing commands to the app."""
    app.command("bill", epilog=BILL_EXAMPLE)(bill_command)
    app.command("catalogue", epilog=CATALOGUE_EXAMPLE)(catalogue_command)


BILL_EXAMPLE = (
    "Example: tariff-bargainer bill --tariff evening.toml --load home.csv "
    "--timezone Europe/Berlin --json"
)


CATALOGUE_EXAMPLE = (
    "Example: tariff-bargainer catalogue --json; then: tariff-bargainer bill "
    "--tariff catalogue:flat_example --load home.csv"
)
CATALOGUE_PREFIX = "catalogue:"


def catalogue_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the tariffs that ship with the package, with source and date."""
    from tariff_bargainer.tariffs.catalogue_index import catalogue_names, catalogue_tariff

    entries = []
    for name in catalogue_names():
        entry = catalogue_tariff(name)
        entries.append(
            {
                "entry": name,
                "name": entry.name,
                "supplier": entry.supplier,
                "currency": entry.currency,
                "source": entry.source,
                "source_date": entry.source_date.isoformat() if entry.source_date else None,
                "tariff_hash": entry.content_hash,
            }
        )
    if as_json:
        print(json.dumps({"entries": entries}, indent=2))
        return
    for shown in entries:
        print(f"{shown['entry']}: {shown['name']} [{shown['currency']}]")
        print(f"    {shown['source']}, {shown['source_date']}")


TimezoneOption = Annotated[
    str | None,
    typer.Option(
        help="IANA zone of the tariff's clock, in place of the file's own; also the clock of load "
        "times that have no offset."
    ),
]
SystemPeakOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Instant of a system peak for coincident demand, such as "
        "2018-07-05T17:00-06:00; give it once for each peak, in place of the file's own."
    ),
]
PowerFactorOption = Annotated[
    str | None,
    typer.Option(help="Active by apparent power, such as 0.95, for URDB prices per kVA or kvar."),
]


def bill_command(
    tariff: Annotated[
        list[Path],
        typer.Option(
            help="Tariff file, or catalogue:NAME; give it again for versions by effective_from."
        ),
    ],
    load: Annotated[
        Path,
        typer.Option(help="CSV: interval_start, import_wh|kwh|kw, optional export_wh|kwh|kw."),
    ],
    timezone: TimezoneOption = None,
    format_: Annotated[TariffFormat, typer.Option("--format", help="Form of the tariff file.")] = (
        TariffFormat.TOML
    ),
    metering: Annotated[
        MeteringOption | None,
        typer.Option(
            help="What becomes of export: ignored, netted in the month, or credited at the "
            "export rates. Without it, what the tariff says."
        ),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: price series; CSV interval_start, price_per_kwh|mwh."),
    ] = None,
    register_: Annotated[
        list[str] | None,
        typer.Option(
            "--register", help="NAME=FILE: load of a further meter register; NAME=none: absent."
        ),
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="A discount's condition that is met.")
    ] = None,
    system_peak: SystemPeakOption = None,
    power_factor: PowerFactorOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Price a load file under a tariff: annual and monthly totals by component.

    The total is energy + demand + fixed + minimum + discount + tax - export_credit.
    """
    from tariff_bargainer.billing.contract import bill_versions
    from tariff_bargainer.profiles.load_csv import read_load_csv_on_clock

    peaks = [_instant(text) for text in system_peak or ()]
    factor = _power_factor(power_factor, format_)
    versions = []
    for path in tariff:
        with one_line_errors(path):
            versions.append(load_tariff(path, format_, timezone, peaks, factor))
    _check_conditions(condition or (), versions)
    series = _price_series(index)
    registers = _registers(register_, timezone)
    with one_line_errors(load):
        profile, local = read_load_csv_on_clock(load, timezone)
        made = bill_versions(
            profile,
            versions,
            metering=metering.value if metering else None,
            registers=registers,
            index=series,
            conditions=frozenset(condition or ()),
        )
    if local:
        made = replace(
            made, notes=(*made.notes, f"times of the load are on the clock of {timezone}")
        )
    if as_json:
        print(json.dumps(made.as_json(), indent=2))
    else:
        print_table(made, versions[0].name)


def _check_conditions(given: Sequence[str], versions: "Sequence[Tariff]") -> None:
    """Refuse a condition that no discount has, since it would change nothing."""
    known = sorted({rule.condition for t in versions for rule in t.discounts if rule.condition})
    for name in given:
        if name not in known:
            choice = (
                f"give one of {', '.join(known)}" if known else "the tariff has none; take it out"
            )
            typer.echo(f"error: --condition {name!r}: no discount has it; {choice}", err=True)
            raise typer.Exit(EXIT_BAD_INPUT)


def _price_series(pairs: list[str] | None) -> "dict[str, IndexSeries]":
    """Read price series by name."""
    from tariff_bargainer.billing.index_cost import read_index_csv

    series = {}
    for name, path in named_files(pairs, "--index"):
        with one_line_errors(path):
            series[name] = read_index_csv(path)
    return series


def _registers(pairs: list[str] | None, timezone: str | None) -> "dict[str, LoadProfile | None]":
    """Read the loads of further meter registers by name."""
    from tariff_bargainer.profiles.load_csv import read_load_csv_on_clock

    registers = {}
    for name, path in named_files(pairs, "--register"):
        with one_line_errors(path):
            registers[name] = (
                None if str(path) == "none" else read_load_csv_on_clock(path, timezone)[0]
            )
    return registers


def named_files(pairs: list[str] | None, option: str) -> list[tuple[str, Path]]:
    """Split `NAME=FILE` arguments; one without a name is bad input."""
    named = []
    for pair in pairs or ():
        name, separator, path = pair.partition("=")
        if not separator or not name or not path:
            typer.echo(f"error: {option} {pair!r}: write it as NAME=FILE", err=True)
            raise typer.Exit(EXIT_BAD_INPUT)
        named.append((name, Path(path)))
    return named


def _instant(text: str) -> str:
    """Check an instant of the command line; one without an offset is bad input."""
    from datetime import datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        typer.echo(
            f"error: --system-peak {text!r}: write an ISO 8601 time with its offset, such as "
            "2018-07-05T17:00-06:00",
            err=True,
        )
        raise typer.Exit(EXIT_BAD_INPUT)
    return found.isoformat()


def _power_factor(text: str | None, form: TariffFormat) -> "Decimal | None":
    """Read the power factor of the command line; what it cannot act on is bad input."""
    from decimal import Decimal, InvalidOperation

    if text is None:
        return None
    try:
        factor = Decimal(text)
    except InvalidOperation:
        factor = Decimal(0)
    problem = ""
    if not (factor.is_finite() and 0 < factor <= 1):
        problem = "write a number above 0 and at most 1, such as 0.95"
    elif form is not TariffFormat.URDB:
        problem = "only a URDB rate has prices per kVA or kvar; take it out"
    if problem:
        typer.echo(f"error: --power-factor {text!r}: {problem}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT)
    return factor


def load_tariff(
    path: Path,
    form: TariffFormat,
    timezone: str | None,
    system_peaks: Sequence[str] = (),
    power_factor: "Decimal | None" = None,
) -> "Tariff":
    """Read a tariff file of any known form; peaks given replace those of the file.

    Raises:
        TariffFileError: The file breaks its form.
        UnsupportedRate: The rate cannot be represented.
    """
    from tariff_bargainer.errors import TariffFileError
    from tariff_bargainer.tariffs.catalogue_index import catalogue_tariff
    from tariff_bargainer.tariffs.open_energy_tariffs import parse_open_energy_tariffs
    from tariff_bargainer.tariffs.opentariff import UK_ZONE, parse_opentariff
    from tariff_bargainer.tariffs.tariff_file import parse_tariff, read_text
    from tariff_bargainer.tariffs.urdb import parse_urdb

    if str(path).startswith(CATALOGUE_PREFIX):
        tariff = catalogue_tariff(str(path).removeprefix(CATALOGUE_PREFIX))
        tariff = replace(tariff, timezone=timezone) if timezone else tariff
    elif form is TariffFormat.TOML:
        tariff = parse_tariff(read_text(path), timezone=timezone)
    elif form is TariffFormat.OPENTARIFF:
        tariff = parse_opentariff(read_text(path), timezone=timezone or UK_ZONE)
    elif form is TariffFormat.OPEN_ENERGY_TARIFFS:
        tariff = parse_open_energy_tariffs(read_text(path), timezone=timezone)
    elif timezone is None:
        raise TariffFileError(
            where="--timezone",
            problem="is missing, and a URDB rate does not say its zone",
            remedy="give the zone of the utility's clock, such as America/Denver",
        )
    else:
        return parse_urdb(
            read_text(path),
            timezone=timezone,
            system_peaks=system_peaks,
            power_factor=power_factor,
        )
    return replace(tariff, system_peaks=tuple(system_peaks)) if system_peaks else tariff


def print_table(made: "Bill", name: str) -> None:
    """Print a bill for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{name} [{made.currency}]")
    columns = [name for name in PARTS if getattr(made.annual, name)] + ["total"]
    table.add_column("month", no_wrap=True)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for month in made.monthly:
        amounts = [f"{getattr(month.amounts, column):,.2f}" for column in columns]
        table.add_row(month.month, *amounts)
    table.add_section()
    table.add_row("all", *(f"{getattr(made.annual, column):,.2f}" for column in columns))
    console = Console()
    console.print(table)
    for note in made.notes:
        console.print(f"note: {note}", markup=False)
