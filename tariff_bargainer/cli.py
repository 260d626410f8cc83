"""The `tariff-bargainer` command."""

from importlib.util import find_spec

import typer

from tariff_bargainer import cli_billing

app = typer.Typer(
    name="tariff-bargainer",
    help="From load profiles to a better tariff: bills, offers, bargaining, savings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """From load profiles to a better tariff: bills, offers, bargaining, savings."""


cli_billing.register(app)

if find_spec("tariff_bargainer.cli_bargaining") is not None:
    from tariff_bargainer import cli_bargaining

    cli_bargaining.register(app)
