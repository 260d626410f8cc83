"""Commands about solar projects: `solar-fund appraise`."""

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `solar-fund`."""
    app.command(
        "appraise",
        epilog="Example: solar-fund appraise school_roof.toml --weather tmy.csv --load pool.csv --json",
    )(appraise_project)


def appraise_project(
    project: Annotated[Path, typer.Argument(help="A proposal, as docs/formats/project.md says.")],
    weather: Annotated[
        Path, typer.Option(help="A weather year: PVGIS typical year, EPW, NSRDB PSM or TMY3.")
    ],
    load: Annotated[
        Path | None,
        typer.Option(
            help="Pooled load (CSV): interval_start and import_wh, import_kwh or import_kw;"
            " price_per_kwh if it has a tariff."
        ),
    ] = None,
    after: Annotated[
        list[Path] | None,
        typer.Option(help="A project already funded, whose energy comes first; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Appraise a project: yield, own use, net present value, return, payback, carbon."""
    from solar_fund.projects.appraisal import appraisal_report, appraise
    from solar_fund.projects.project_file import read_project
    from solar_fund.projects.self_consumption import read_load
    from solar_fund.projects.weather_files import read_weather

    plan = read_project(project)
    funded = [read_project(path) for path in after or []]
    pooled = read_load(load) if load else None
    report = appraisal_report(appraise(plan, read_weather(weather), pooled, funded))
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
        return
    for key in (
        "name",
        "annual_energy_kwh",
        "annual_energy_p90_kwh",
        "specific_yield_kwh_per_kwp",
        "self_consumption_share",
        "npv_minor",
        "irr",
        "lcoe_per_kwh",
        "payback_years",
        "carbon_kg_per_year",
    ):
        print(f"{key}: {report[key]}")
