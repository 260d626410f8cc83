"""The `coop-gateway` command."""

from typing import Annotated

import typer

from gateway import cli_household, cli_meters, cli_refused, cli_service, cli_setup
from gateway.cli_usage import OneLineGroup

app = typer.Typer(
    name="coop-gateway",
    help="The gateway in the home: reads meters, lets out only what the household agreed to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    cls=OneLineGroup,
)


def show_version(wanted: bool) -> None:
    """Print the version of the package that runs, and end."""
    if wanted:
        from importlib.metadata import version

        print(f"coop-gateway {version('commonwatt')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """The gateway in the home: reads meters, lets out only what the household agreed to."""


cli_service.register(app)
cli_setup.register(app)
cli_household.register(app)
cli_refused.register(app)
cli_meters.register(app)
