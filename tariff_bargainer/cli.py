"""The `tariff-bargainer` command."""

import typer

from tariff_bargainer import cli_bargaining, cli_billing
from tariff_bargainer.cli_usage import OneLineGroup

app = typer.Typer(
    name="tariff-bargainer",
    help="From load profiles to a better tariff: bills, offers, bargaining, savings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    cls=OneLineGroup,
)


@app.callback()
def main() -> None:
    """From load profiles to a better tariff: bills, offers, bargaining, savings."""


cli_billing.register(app)
cli_bargaining.register(app)
