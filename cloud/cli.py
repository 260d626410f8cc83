"""`coop-cloud`: the co-op's server and its tools.

Commands of a few lines are here; those about people and gateways are in `cli_admin`,
those about data in `cli_data`, those about paper forms in `cli_tariffs`.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cloud.cli_admin import claim_app, member_app
from cloud.cli_data import data_app
from cloud.cli_demo import demo
from cloud.cli_faults import one_line_errors
from cloud.cli_readings import register as register_readings
from cloud.cli_tariffs import tariff_app
from solar_fund.cli_usage import OneLineGroup

app = typer.Typer(
    name="coop-cloud",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    cls=OneLineGroup,
    help="The co-op's server.\n\nExample: coop-cloud serve --data ./commonwatt-data",
)
app.add_typer(member_app, name="member")
app.add_typer(claim_app, name="gateway")
app.add_typer(tariff_app, name="tariff")
app.command("demo")(demo)
register_readings(app)
app.add_typer(data_app)

DataDir = Annotated[
    Path, typer.Option("--data", help="Folder that holds everything; may hold a cloud.toml.")
]


@app.command()
def serve(
    data: DataDir = Path("commonwatt-data"),
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run the server.

    Example: coop-cloud serve --data ./commonwatt-data --port 8500
    """
    with one_line_errors():
        from cloud.serve import serve_forever
        from cloud.settings import load_settings

        serve_forever(load_settings(data, host=host, port=port))


@app.command()
def migrate(
    data: DataDir = Path("commonwatt-data"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring the database to the tables this version needs.

    Example: coop-cloud migrate --data ./commonwatt-data
    """
    with one_line_errors():
        from cloud.database import Database
        from cloud.migrations.run import migrate as run_migrations
        from cloud.settings import load_settings

        settings = load_settings(data)
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(Database(settings.database_address)) as database:
            before, after = run_migrations(database)
    if as_json:
        print(json.dumps({"before": before, "after": after}))
    else:
        print(f"the database is at step {after}" + ("" if before == after else f", was {before}"))


@app.command()
def settings(
    data: DataDir = Path("commonwatt-data"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show every setting, its value here, and what it means. Secrets are not shown.

    Example: coop-cloud settings --data ./commonwatt-data --json
    """
    with one_line_errors():
        from cloud.settings import describe_settings, load_settings

        shown = json.loads(load_settings(data).model_dump_json())
        rows = describe_settings()
    if as_json:
        print(json.dumps(shown))
        return
    for name, _default, meaning in rows:
        node = shown
        for step in name.split("."):
            node = node[step]
        print(f"{name} = {node}\n    {meaning}")
