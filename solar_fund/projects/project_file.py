"""A project proposal as a TOML file: site, arrays, costs, prices and assumptions."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

from solar_fund.errors import FundError, InputFileInvalid, ProjectInvalid
from solar_fund.money import exponent_of
from solar_fund.projects.project_plan import (
    Carbon,
    Costs,
    EnergyValue,
    Finance,
    PriceWindow,
    ProjectPlan,
    Uncertainty,
)
from solar_fund.projects.solar_yield import ModuleType, Mounting, SolarArray, SolarLosses

FILE_BYTES_MAX = 1024 * 1024
ARRAYS_MAX = 100
LIFE_YEARS_MAX = 60
WINDOWS_MAX = 50
WHOLE_YEARS = frozenset({"inverter_year", "life_years", "loan_years"})


def read_project(path: Path) -> ProjectPlan:
    """Read a proposal.

    Raises:
        InputFileInvalid: The file is no TOML, lacks something, or holds something unknown or out
            of bounds; the place is named.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputFileInvalid(
                str(path), "", f"is larger than the limit of {FILE_BYTES_MAX} bytes"
            )
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputFileInvalid(str(path), "", f"is not UTF-8 text: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputFileInvalid(str(path), "", f"is no TOML: {error}") from None
    try:
        return parse_project(content, otherwise_id=path.stem)
    except FundError as error:
        raise InputFileInvalid(str(path), "", str(error)) from None


_TABLES = ("site", "array", "losses", "cost", "value", "finance", "uncertainty", "carbon")


def parse_project(content: Mapping[str, Any], otherwise_id: str = "project") -> ProjectPlan:
    """Build a proposal from the content of its file.

    Raises:
        ProjectInvalid: Something is missing, unknown or out of bounds; the key is named.
    """
    _refuse_unknown("", content, ("id", "name", "currency", *_TABLES))
    site = _table(content, "site")
    _refuse_unknown("site.", site, ("timezone", "latitude_deg", "longitude_deg"))
    arrays = content.get("array")
    if not isinstance(arrays, list) or not 0 < len(arrays) <= ARRAYS_MAX:
        raise ProjectInvalid(f"give one to {ARRAYS_MAX} [[array]] tables")
    currency = str(content.get("currency", ""))
    decimals = exponent_of(currency)
    timezone = str(site.get("timezone", "UTC"))
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise ProjectInvalid(
            f"site.timezone {timezone!r} is unknown: write Europe/Vienna"
        ) from None
    project_id = str(content.get("id", otherwise_id))
    plan = ProjectPlan(
        project_id=project_id,
        name=str(content.get("name", project_id)),
        currency=currency,
        timezone=timezone,
        latitude_deg=_degrees(site, "latitude_deg", 90),
        longitude_deg=_degrees(site, "longitude_deg", 180),
        arrays=tuple(_array(place, table) for place, table in enumerate(arrays, start=1)),
        losses=_losses(_table(content, "losses")),
        costs=Costs(**_figures("cost", _table(content, "cost"), Costs)),
        value=_value(_table(content, "value")),
        finance=Finance(**_figures("finance", _table(content, "finance"), Finance)),
        uncertainty=Uncertainty(
            **_figures("uncertainty", _table(content, "uncertainty"), Uncertainty)
        ),
        carbon=_carbon(content),
        stated=frozenset(
            f"{name}.{key}" for name in _TABLES if name != "array" for key in _table(content, name)
        ),
    )
    _check_bounds(plan)
    _check_whole_minor_units(plan, decimals)
    return plan


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, Mapping):
        raise ProjectInvalid(f"{name} must be a table: write [{name}]")
    return table


def _refuse_unknown(prefix: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise ProjectInvalid(f"unknown key {prefix}{key}: expected one of {', '.join(known)}")


def _array(place: int, table: Any) -> SolarArray:
    if not isinstance(table, Mapping):
        raise ProjectInvalid(f"array {place} is no table: write [[array]]")
    known = tuple(field.name for field in fields(SolarArray))
    _refuse_unknown(f"array {place}: ", table, known)
    for key in ("peak_kw", "tilt_deg", "azimuth_deg"):
        if key not in table:
            raise ProjectInvalid(f"array {place} has no {key}")
    choices = {"mounting": get_args(Mounting), "module": get_args(ModuleType)}
    figures: dict[str, Any] = {}
    for key, written in table.items():
        if key in choices:
            if written not in choices[key]:
                raise ProjectInvalid(
                    f"array {place}: {key} is {written!r}: expected {', '.join(choices[key])}"
                )
            figures[key] = written
        else:
            figures[key] = float(_decimal(f"array {place}: {key}", written))
    try:
        return SolarArray(**figures)
    except ProjectInvalid as error:
        raise ProjectInvalid(f"array {place}: {error}") from None


def _value(table: Mapping[str, Any]) -> EnergyValue:
    plain = {key: written for key, written in table.items() if key != "window"}
    windows = table.get("window", [])
    if not isinstance(windows, list) or len(windows) > WINDOWS_MAX:
        raise ProjectInvalid(f"write at most {WINDOWS_MAX} [[value.window]] tables")
    return EnergyValue(
        **_figures("value", plain, EnergyValue),
        windows=tuple(_window(place, entry) for place, entry in enumerate(windows, start=1)),
    )


def _window(place: int, table: Any) -> PriceWindow:
    name = f"value.window {place}"
    if not isinstance(table, Mapping) or "price_per_kwh" not in table:
        raise ProjectInvalid(f"{name} has no price_per_kwh")
    _refuse_unknown(f"{name}: ", table, tuple(field.name for field in fields(PriceWindow)))
    parts: dict[str, Any] = {
        "price_per_kwh": _decimal(f"{name}: price_per_kwh", table["price_per_kwh"])
    }
    for key, lowest, highest in (("hour_from", 0, 23), ("hour_to", 1, 24)):
        if key in table:
            parts[key] = _whole(f"{name}: {key}", table[key], lowest, highest)
    for key, highest in (("weekdays", 7), ("months", 12)):
        if key in table:
            written = table[key]
            if not isinstance(written, list) or not written:
                raise ProjectInvalid(f"{name}: {key} must be a list of numbers")
            parts[key] = frozenset(_whole(f"{name}: {key}", part, 1, highest) for part in written)
    return PriceWindow(**parts)


def _whole(name: str, written: Any, lowest: int, highest: int) -> int:
    if type(written) is not int or not lowest <= written <= highest:
        raise ProjectInvalid(f"{name} is {written!r}: expected {lowest} to {highest}")
    return written


def _losses(table: Mapping[str, Any]) -> SolarLosses:
    _refuse_unknown("losses.", table, tuple(field.name for field in fields(SolarLosses)))
    figures = {key: float(_decimal(f"losses.{key}", written)) for key, written in table.items()}
    for key, figure in figures.items():
        if not 0 <= figure < 100:
            raise ProjectInvalid(f"losses.{key} is {figure}: it must be from 0 to below 100")
    return SolarLosses(**figures)


def _figures(name: str, table: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Read the figures of one table as the types its dataclass asks for."""
    known = {field.name: field for field in fields(kind) if field.name != "windows"}
    _refuse_unknown(f"{name}.", table, tuple(known))
    figures: dict[str, Any] = {}
    for key, written in table.items():
        figure = _decimal(f"{name}.{key}", written)
        if key in WHOLE_YEARS:
            if figure != int(figure):
                raise ProjectInvalid(f"{name}.{key} is {written}: expected a whole number")
            figures[key] = int(figure)
        else:
            figures[key] = figure
    for first in ("capex", "own_use_price_per_kwh"):
        if first in known and first not in figures:
            raise ProjectInvalid(f"{name}.{first} is missing: every appraisal needs it")
    return figures


def _carbon(content: Mapping[str, Any]) -> Carbon | None:
    table = _table(content, "carbon")
    if not table:
        return None
    _refuse_unknown("carbon.", table, ("grid_kg_per_kwh", "kind", "source"))
    if "grid_kg_per_kwh" not in table:
        raise ProjectInvalid("carbon.grid_kg_per_kwh is missing")
    words = {key: str(table[key]) for key in ("kind", "source") if key in table}
    return Carbon(
        grid_kg_per_kwh=_decimal("carbon.grid_kg_per_kwh", table["grid_kg_per_kwh"]), **words
    )


def _degrees(site: Mapping[str, Any], key: str, most: int) -> float | None:
    if key not in site:
        return None
    degrees = float(_decimal(f"site.{key}", site[key]))
    if abs(degrees) > most:
        raise ProjectInvalid(f"site.{key} is {degrees}: it must be within {most} degrees")
    return degrees


def _decimal(name: str, written: Any) -> Decimal:
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        raise ProjectInvalid(f"{name} is {written!r}: expected a number")
    try:
        figure = Decimal(str(written))
    except InvalidOperation:
        raise ProjectInvalid(f"{name} is {written!r}: expected a number") from None
    if not figure.is_finite() or abs(figure) > Decimal(10) ** 15:
        raise ProjectInvalid(f"{name} is {written!r}: expected a number below 10^15")
    return figure


def _check_bounds(plan: ProjectPlan) -> None:
    """Refuse figures that would make the arithmetic meaningless."""
    costs, value, finance = plan.costs, plan.value, plan.finance
    bounds: list[tuple[str, Decimal | int, Decimal | int, Decimal | int]] = [
        ("cost.capex", costs.capex, Decimal("0.01"), 10**12),
        ("cost.running_per_year", costs.running_per_year, 0, 10**12),
        ("cost.running_growth", costs.running_growth, Decimal("-0.5"), 1),
        ("cost.inverter_replacement", costs.inverter_replacement, 0, 10**12),
        ("cost.inverter_year", costs.inverter_year, 1, LIFE_YEARS_MAX),
        ("cost.end_of_life", costs.end_of_life, 0, 10**12),
        ("value.own_use_price_per_kwh", value.own_use_price_per_kwh, -10, 10**6),
        ("value.export_price_per_kwh", value.export_price_per_kwh, -10, 10**6),
        ("value.price_growth", value.price_growth, Decimal("-0.5"), 1),
        ("value.own_use_share", value.own_use_share or 0, 0, 1),
        ("finance.life_years", finance.life_years, 1, LIFE_YEARS_MAX),
        ("finance.discount_rate", finance.discount_rate, Decimal("-0.5"), 1),
        ("finance.degradation", finance.degradation, 0, Decimal("0.2")),
        ("finance.loan", finance.loan, 0, costs.capex),
        ("finance.loan_rate", finance.loan_rate, 0, 1),
        ("finance.loan_years", finance.loan_years, 1, LIFE_YEARS_MAX),
    ]
    bounds += [
        (f"uncertainty.{field.name}", getattr(plan.uncertainty, field.name), 0, Decimal("0.5"))
        for field in fields(Uncertainty)
    ]
    if plan.carbon:
        bounds.append(("carbon.grid_kg_per_kwh", plan.carbon.grid_kg_per_kwh, 0, 5))
    for name, found, lowest, highest in bounds:
        if not lowest <= found <= highest:
            raise ProjectInvalid(f"{name} is {found}: it must be from {lowest} to {highest}")


def _check_whole_minor_units(plan: ProjectPlan, decimals: int) -> None:
    """Refuse sums of money finer than the currency has, which no invoice could state."""
    sums = {
        f"cost.{key}": getattr(plan.costs, key)
        for key in ("capex", "running_per_year", "inverter_replacement", "end_of_life")
    }
    for name, amount in {**sums, "finance.loan": plan.finance.loan}.items():
        if amount != amount.quantize(Decimal(1).scaleb(-decimals)):
            raise ProjectInvalid(
                f"{name} is {amount}: {plan.currency} has {decimals} decimals, round it"
            )
