"""The `solar-fund` command; each subject registers its own verbs from its `cli_*.py` file."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer

from solar_fund.cli_usage import OneLineGroup
from solar_fund.errors import FundError

_SUBJECTS = ("cli_ledger", "cli_waterfall", "cli_voting", "cli_projects", "cli_payments")


class _RefusingGroup(OneLineGroup):
    """Turns every refusal of the fund into one line on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FundError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    cls=_RefusingGroup,
)


@app.callback()
def _solar_fund() -> None:
    """The cooperative's money and votes."""


for _subject in _SUBJECTS:
    if find_spec(f"solar_fund.{_subject}"):
        import_module(f"solar_fund.{_subject}").register(app)
