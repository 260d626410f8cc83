"""Commands on load shapes: `profile`, `archetypes` and `forecast`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tariff_bargainer.cli_bargaining_input import (
    HomesOption,
    JsonOption,
    one_line_errors,
    read_homes,
)

PROFILE_EXAMPLE = (
    "Example: tariff-bargainer profile --homes street/ --timezone Europe/Vienna --json"
)
ARCHETYPES_EXAMPLE = (
    "Example: tariff-bargainer archetypes --homes street/ --timezone Europe/Vienna "
    "--tariff evening.toml --tariff flat.toml --json"
)
FORECAST_EXAMPLE = (
    "Example: tariff-bargainer forecast --homes street/ --timezone Europe/Vienna --days 60 --json"
)


def register(app: typer.Typer) -> None:
    """Add the profile commands to the app."""
    app.command("profile", epilog=PROFILE_EXAMPLE)(profile_command)
    app.command("archetypes", epilog=ARCHETYPES_EXAMPLE)(archetypes_command)
    app.command("forecast", epilog=FORECAST_EXAMPLE)(forecast_command)


def profile_command(
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    as_json: JsonOption = False,
) -> None:
    """Add homes together: metrics, typical days, and reasons not to use a home."""
    from tariff_bargainer.profiles.load_profile import (
        group_profile,
        load_metrics,
        stack_profiles,
        typical_day_profile,
    )
    from tariff_bargainer.profiles.sufficiency import group_insufficiencies

    group = read_homes(homes)
    with one_line_errors(homes):
        stacked, start, step_s = stack_profiles(group.values())
        total = group_profile(stacked, start=start, step_s=step_s)
        typical = typical_day_profile(stacked, start=start, step_s=step_s, timezone=timezone)
    metrics = load_metrics(total)
    reasons = group_insufficiencies(group)
    cells = typical.to_frame().reset_index()
    if as_json:
        result = {
            "homes": len(group),
            "start": start.isoformat(),
            "step_s": step_s,
            "intervals": stacked.shape[1],
            "energy_wh": metrics.energy_wh,
            "peak_w": metrics.peak_w,
            "peak_start": metrics.peak_start.isoformat(),
            "load_factor": metrics.load_factor,
            "coincidence": metrics.coincidence,
            "insufficient": [
                {"home": reason.home, "fault": reason.fault.value, "text": reason.text}
                for reason in reasons
            ],
            "timezone": timezone,
            "typical_day": json.loads(cells.to_json(orient="records")),
        }
        print(json.dumps(result))
        return
    print(
        f"{len(group)} homes, {metrics.energy_wh / 1e6:,.2f} MWh, "
        f"peak {metrics.peak_w / 1e3:,.1f} kW at {metrics.peak_start.isoformat()}, "
        f"load factor {metrics.load_factor:.2f}, coincidence {metrics.coincidence:.2f}"
    )
    for reason in reasons:
        print(f"cannot be used: {reason.text}")


def archetypes_command(
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    tariff: Annotated[
        list[Path], typer.Option(help="Tariff that the grouping must price well; may be repeated.")
    ],
    most: Annotated[int, typer.Option(min=1, max=20, help="Most archetypes to try.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the grouping.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Group homes into archetypes of at least ten, chosen by tariff error and stability."""
    import numpy as np

    from tariff_bargainer.bargaining.cell_rates import rates_on_typical_days
    from tariff_bargainer.profiles.archetypes import find_archetypes
    from tariff_bargainer.profiles.load_profile import home_cells, stack_profiles
    from tariff_bargainer.tariffs.tariff_file import read_tariff

    group = read_homes(homes)
    rates = []
    for path in tariff:
        with one_line_errors(path):
            rates.append(rates_on_typical_days(read_tariff(path)))
    with one_line_errors(homes):
        stacked, start, step_s = stack_profiles(group.values())
        cells = home_cells(stacked, start=start, step_s=step_s, timezone=timezone)
        found = find_archetypes(cells, np.vstack(rates), candidates=range(1, most + 1), seed=seed)
    if as_json:
        result = {
            "homes": len(group),
            "archetypes": [
                {"homes": int(size), "shape": [round(share, 9) for share in shape.tolist()]}
                for size, shape in zip(found.sizes, found.shapes, strict=True)
            ],
            "tariff_error": found.tariff_error,
            "stability": found.stability,
            "silhouette": None if np.isnan(found.silhouette) else found.silhouette,
            "davies_bouldin": None if np.isnan(found.davies_bouldin) else found.davies_bouldin,
        }
        print(json.dumps(result))
        return
    sizes = ", ".join(str(size) for size in found.sizes)
    print(
        f"{found.sizes.size} archetypes of {sizes} homes; mean bill error "
        f"{found.tariff_error:.2%}, stability {found.stability:.2f}"
    )


def forecast_command(
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    days: Annotated[
        int, typer.Option(min=1, max=366, help="Last days of the files to forecast and score.")
    ] = 60,
    quantiles: Annotated[bool, typer.Option(help="Include every interval's quantiles.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the fit.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Forecast the last days of the pool day ahead, and score it against what happened."""
    from dataclasses import asdict

    from tariff_bargainer.profiles.forecast import forecast_day_ahead, score_forecast
    from tariff_bargainer.profiles.load_profile import pool_profile

    group = read_homes(homes)
    with one_line_errors(homes):
        pool = pool_profile(group.values())
        whole_days = len(pool) * pool.step_s // 86_400
        made = forecast_day_ahead(
            pool, timezone=timezone, first_day=whole_days - days, days=days, seed=seed
        )
        score = score_forecast(pool, made)
    if as_json:
        result = {"homes": len(group), "days": days, **asdict(score)}
        if quantiles:
            frame = made.to_frame().round(1).reset_index(names="interval_start")
            frame["interval_start"] = [start.isoformat() for start in made.index]
            result["quantiles_wh"] = frame.to_dict(orient="records")
        print(json.dumps(result))
        return
    print(
        f"{days} days ahead by one: pinball {score.pinball_wh:,.0f} Wh, {score.skill:.1%} below "
        f"{score.baseline.replace('_', ' ')}; the 90 % interval held {score.coverage_90:.1%}; "
        f"energy off by {score.energy_error:+.1%}"
    )
