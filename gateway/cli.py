"""The `coop-gateway` command."""

import typer

from gateway import cli_household, cli_meters, cli_refused, cli_service
from gateway.cli_usage import OneLineGroup

app = typer.Typer(
    name="coop-gateway",
    help="The gateway in the home: reads meters, lets out only what the household agreed to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    cls=OneLineGroup,
)


@app.callback()
def main() -> None:
    """The gateway in the home: reads meters, lets out only what the household agreed to."""


cli_service.register(app)
cli_household.register(app)
cli_refused.register(app)
cli_meters.register(app)
