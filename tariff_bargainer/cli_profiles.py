"""Commands on load shapes: `profile`, `archetypes` and `forecast`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tariff_bargainer.profiles.forecast import LoadForecast
    from tariff_bargainer.profiles.load_profile import GroupProfile

from tariff_bargainer.cli_bargaining_input import (
    EXIT_BAD_INPUT,
    SPOT_SERIES,
    HomesOption,
    JsonOption,
    SpotOption,
    one_line_errors,
    read_homes,
    read_index,
)

PROFILE_EXAMPLE = (
    "Example: tariff-bargainer profile --homes street/ --timezone Europe/Vienna --json"
)
ARCHETYPES_EXAMPLE = (
    "Example: tariff-bargainer archetypes --homes street/ --timezone Europe/Vienna "
    "--tariff evening.toml --tariff flat.toml --json"
)
FORECAST_EXAMPLE = (
    "Example: tariff-bargainer forecast --homes street/ --timezone Europe/Vienna --next"
)


def register(app: typer.Typer) -> None:
    """Add the profile commands to the app."""
    app.command("profile", epilog=PROFILE_EXAMPLE)(profile_command)
    app.command("archetypes", epilog=ARCHETYPES_EXAMPLE)(archetypes_command)
    app.command("forecast", epilog=FORECAST_EXAMPLE)(forecast_command)


def profile_command(
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    spot: SpotOption = None,
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
    capture = _capture_ratio(spot, total)
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
            "capture_ratio": capture,
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
        + ("" if capture is None else f", capture ratio {capture:.3f}")
    )
    for reason in reasons:
        print(f"cannot be used: {reason.text}")


def archetypes_command(
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    tariff: Annotated[
        list[Path], typer.Option(help="Tariff that the grouping must price well; may be repeated.")
    ],
    standard: Annotated[
        list[Path] | None,
        typer.Option(help="Standard profile to compare with, a load CSV; may be repeated."),
    ] = None,
    spot: SpotOption = None,
    most: Annotated[int, typer.Option(min=1, max=20, help="Most archetypes to try.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the grouping.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Group homes into archetypes of at least ten, chosen by tariff error and stability.

    Of each: peak, load factor, coincidence, distance to flat and to standard profiles (share of
    energy that would have to move), and with --spot the capture ratio.
    """
    import numpy as np

    from tariff_bargainer.bargaining.cell_rates import rates_on_typical_days
    from tariff_bargainer.profiles.archetypes import find_archetypes, shape_distance
    from tariff_bargainer.profiles.load_profile import (
        group_profile,
        home_cells,
        load_metrics,
        stack_profiles,
    )
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
    span = {"start": start, "step_s": step_s, "count": stacked.shape[1], "timezone": timezone}
    standards = _standards(standard or [], span)
    rows = []
    for label, size in enumerate(found.sizes.tolist()):
        total = group_profile(stacked[found.labels == label], start=start, step_s=step_s)
        metrics = load_metrics(total)
        shape = cells[found.labels == label].sum(axis=0)
        rows.append(
            {
                "homes": size,
                "energy_wh": metrics.energy_wh,
                "peak_w": metrics.peak_w,
                "load_factor": metrics.load_factor,
                "coincidence": metrics.coincidence,
                "capture_ratio": _capture_ratio(spot, total),
                "distance": {name: shape_distance(shape, one) for name, one in standards.items()},
                "shape": [round(share, 9) for share in found.shapes[label].tolist()],
            }
        )
    if as_json:
        result = {
            "homes": len(group),
            "archetypes": rows,
            "archetype_of": dict(zip(group, found.labels.tolist(), strict=True)),
            "tariff_error": found.tariff_error,
            "stability": found.stability,
            "silhouette": None if np.isnan(found.silhouette) else found.silhouette,
            "davies_bouldin": None if np.isnan(found.davies_bouldin) else found.davies_bouldin,
        }
        print(json.dumps(result))
        return
    one = "1 archetype" if len(rows) == 1 else f"{len(rows)} archetypes"
    print(
        f"{one} of {len(group)} homes; mean bill error {found.tariff_error:.2%}, "
        f"stability {found.stability:.2f}"
    )
    _print_archetypes(rows)


def _standards(files: list[Path], span: dict[str, Any]) -> dict[str, Any]:
    from tariff_bargainer.profiles.load_csv import read_load_csv
    from tariff_bargainer.profiles.standard_profiles import flat_cells, standard_cells

    standards = {"flat": flat_cells(**span)}
    for path in files:
        with one_line_errors(path):
            standards[path.stem] = standard_cells(read_load_csv(path), **span)
    return standards


def _capture_ratio(spot: Path | None, total: "GroupProfile") -> float | None:
    """Return the load-weighted over the mean spot price; None without prices, or without a mean."""
    from math import isnan

    from tariff_bargainer.bargaining.supplier_cost import capture_ratio

    if spot is None:
        return None
    prices = read_index(spot)[SPOT_SERIES]
    with one_line_errors(spot):
        price_nano = prices.over(total.start, total.step_s, total.energy_wh.size)
    ratio = capture_ratio(total.energy_wh, price_nano)
    return None if isnan(ratio) else ratio


def _print_archetypes(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0]["distance"])
    print(
        f"{'homes':>6}  {'MWh':>10}  {'peak kW':>9}  {'load factor':>11}  {'coincidence':>11}  "
        f"{'capture':>8}" + "".join(f"  {'to ' + name:>{max(8, len(name) + 3)}}" for name in names)
    )
    for row in rows:
        capture = "" if row["capture_ratio"] is None else f"{row['capture_ratio']:.3f}"
        print(
            f"{row['homes']:>6}  {row['energy_wh'] / 1e6:>10,.2f}  {row['peak_w'] / 1e3:>9,.1f}  "
            f"{row['load_factor']:>11.2f}  {row['coincidence']:>11.2f}  {capture:>8}"
            + "".join(f"  {row['distance'][name]:>{max(8, len(name) + 3)}.1%}" for name in names)
        )


def forecast_command(
    homes: HomesOption,
    timezone: Annotated[str, typer.Option(help="IANA zone of the homes' clock.")],
    days: Annotated[
        int, typer.Option(min=1, max=366, help="Last days of the files to forecast and score.")
    ] = 60,
    tomorrow: Annotated[
        bool, typer.Option("--next", help="Forecast the day after the files end instead.")
    ] = False,
    season: Annotated[
        int | None,
        typer.Option(min=1, max=364, help="Forecast so many days after the files end instead."),
    ] = None,
    quantiles: Annotated[bool, typer.Option(help="Include every interval's quantiles.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the fit.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Forecast the last days of the pool day ahead, and score it against what happened.

    With --next or --season, forecast what comes after the files instead, without a score.
    """
    from dataclasses import asdict

    from tariff_bargainer.profiles.forecast import (
        forecast_day_ahead,
        forecast_season,
        score_forecast,
    )
    from tariff_bargainer.profiles.load_profile import pool_profile

    if tomorrow and season:
        typer.echo("error: --next and --season exclude each other; give one of them", err=True)
        raise typer.Exit(EXIT_BAD_INPUT)
    group = read_homes(homes)
    scored: dict[str, Any] = {}
    with one_line_errors(homes):
        pool = pool_profile(group.values())
        if season:
            made = forecast_season(pool, days=season)
        elif tomorrow:
            made = forecast_day_ahead(pool, timezone=timezone, seed=seed)
        else:
            whole_days = len(pool) * pool.step_s // 86_400
            made = forecast_day_ahead(
                pool, timezone=timezone, first_day=whole_days - days, days=days, seed=seed
            )
            scored = asdict(score_forecast(pool, made))
    expected_kwh = made.quantiles_wh.mean(axis=1) / 1e3
    if as_json:
        result = {
            "homes": len(group),
            "start": made.index[0].isoformat(),
            "days": len(made.index) * pool.step_s // 86_400,
            "expected_kwh": round(float(expected_kwh.sum()), 3),
            **scored,
        }
        if quantiles:
            frame = made.to_frame().round(1).reset_index(names="interval_start")
            frame["interval_start"] = [start.isoformat() for start in made.index]
            result["quantiles_wh"] = frame.to_dict(orient="records")
        print(json.dumps(result))
    elif scored:
        print(
            f"{days} days ahead by one: pinball {scored['pinball_wh']:,.0f} Wh, "
            f"{scored['skill']:.1%} below {scored['baseline'].replace('_', ' ')}; the 90 % interval "
            f"held {scored['coverage_90']:.1%}; energy off by {scored['energy_error']:+.1%}"
        )
    else:
        _print_forecast(made, timezone, by_month=bool(season))


def _print_forecast(made: "LoadForecast", timezone: str, *, by_month: bool) -> None:
    """Print a forecast by hour, or expected energy by month, on the homes' clock."""
    from tariff_bargainer.profiles.calendar import zone

    local = made.index.tz_convert(zone(timezone))
    frame = made.to_frame() / 1e3
    expected = frame.mean(axis=1)
    print(
        f"{len(frame):,} intervals from {local[0].isoformat()}: {expected.sum():,.1f} kWh expected"
    )
    if by_month:
        print(f"{'month':<10}  {'expected kWh':>14}")
        for month, kwh in expected.groupby(local.strftime("%Y-%m")).sum().items():
            print(f"{month:<10}  {kwh:>14,.1f}")
        return
    print(f"{'from':<16}  {'5 % kWh':>10}  {'median kWh':>10}  {'95 % kWh':>10}")
    for start, low, middle, high in zip(
        local, frame["q05"], frame["q50"], frame["q95"], strict=True
    ):
        print(f"{start:%Y-%m-%d %H:%M}  {low:>10,.2f}  {middle:>10,.2f}  {high:>10,.2f}")
