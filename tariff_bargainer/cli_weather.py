"""The command `weather`: what a pool saved beyond the weather. A report; nobody is paid by it."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tariff_bargainer.cli_bargaining_input import (
    HomesOption,
    JsonOption,
    one_line_errors,
    read_homes,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from tariff_bargainer.profiles.weather_report import WeatherModel

EXIT_BAD_INPUT = 2
WEATHER_EXAMPLE = (
    "Example: tariff-bargainer weather --homes street/ --temperature vienna.csv --since 2026-03-01 "
    "--timezone Europe/Vienna --json"
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("weather", epilog=WEATHER_EXAMPLE)(weather_command)


def weather_command(
    homes: HomesOption,
    temperature: Annotated[
        Path, typer.Option(help="CSV of outdoor temperature: interval_start, temperature_c.")
    ],
    since: Annotated[str, typer.Option(help="First day after the change, such as 2026-03-01.")],
    timezone: Annotated[str, typer.Option(help="IANA zone whose days are meant.")],
    as_json: JsonOption = False,
) -> None:
    """Report how much energy the group saved since a day, beyond what the weather explains.

    A model of base, heating and cooling is fitted to the 300 days or more before that day. It is for
    understanding only: what is paid is the old tariff on the metered use; see `savings`.
    """
    from tariff_bargainer.profiles.load_profile import pool_profile
    from tariff_bargainer.profiles.regular_csv import read_regular_csv
    from tariff_bargainer.profiles.weather_report import (
        fit_weather_model,
        report_weather_normalised,
    )

    try:
        change = date.fromisoformat(since)
    except ValueError:
        typer.echo(f"error: --since is {since!r}; write a day as 2026-03-01", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None
    group = read_homes(homes)
    with one_line_errors(homes):
        pool = pool_profile(group.values())
        daily = _by_day(pool.import_wh / 1000.0, pool.start, pool.step_s, timezone, as_sum=True)
    with one_line_errors(temperature):
        rows = read_regular_csv(temperature, ("temperature_c",), negative=True)
        first = datetime.fromtimestamp(rows.starts_s[0], tz=UTC)
        degrees = _by_day(rows.columns["temperature_c"], first, rows.step_s, timezone)
    known = daily.dropna().index.intersection(degrees.dropna().index)
    # The first and the last day may be cut off by the zone of the files.
    known = known[1:-1]
    before, after = known[known < change], known[known >= change]
    with one_line_errors(homes):
        model = fit_weather_model(daily[before].to_numpy(), degrees[before].to_numpy())
        report = report_weather_normalised(
            model, daily[after].to_numpy(), degrees[after].to_numpy()
        )
    if as_json:
        result = {
            "homes": len(group),
            "since": change.isoformat(),
            "days_before": len(before),
            "days_after": len(after),
            "basis_of_payment": False,
            "expected_kwh": report.expected_kwh,
            "actual_kwh": report.actual_kwh,
            "saved_share": report.saved_share,
            "uncertainty_share": report.uncertainty_share,
            "is_clear": report.is_clear,
            "base_kwh_per_day": model.base_kwh,
            "heating_kwh_per_k": model.heating_kwh_per_k,
            "heating_balance_c": model.heating_balance_c,
            "cooling_kwh_per_k": model.cooling_kwh_per_k,
            "cooling_balance_c": model.cooling_balance_c,
            "r2": model.r2,
        }
        print(json.dumps(result))
        return
    print(
        f"{len(group)} homes, {len(before)} days before {change} and {len(after)} since: "
        f"{report.expected_kwh:,.0f} kWh expected in this weather, {report.actual_kwh:,.0f} kWh used"
    )
    clear = "clear" if report.is_clear else "not clear: zero is as likely"
    print(
        f"saved {report.saved_share:.1%}, give or take {report.uncertainty_share:.1%} (90 %), {clear}"
    )
    print(f"a day takes {_model_words(model)}; it explains {model.r2:.0%} of what differs")
    print("a report, never the basis of a payment")


def _by_day(
    values: "NDArray[np.float64] | list[float]",
    start: datetime,
    step_s: int,
    timezone: str,
    *,
    as_sum: bool = False,
) -> "pd.Series[float]":
    """Mean or sum of each local day; a day that misses an interval is NaN."""
    import numpy as np
    import pandas as pd

    from tariff_bargainer.profiles.calendar import zone

    numbers = np.asarray(values, dtype=np.float64)
    index = pd.date_range(start, periods=numbers.size, freq=timedelta(seconds=step_s))
    days = pd.Series(numbers).groupby(index.tz_convert(zone(timezone)).date)
    return days.sum(skipna=False) if as_sum else days.mean(skipna=False)


def _model_words(model: "WeatherModel") -> str:
    parts = [f"{model.base_kwh:,.1f} kWh"]
    if model.heating_balance_c is not None:
        parts.append(
            f"{model.heating_kwh_per_k:,.2f} kWh for each degree below {model.heating_balance_c:g} C"
        )
    if model.cooling_balance_c is not None:
        parts.append(
            f"{model.cooling_kwh_per_k:,.2f} kWh for each degree above {model.cooling_balance_c:g} C"
        )
    return " and ".join(parts)
