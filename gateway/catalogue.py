"""The meter maps and MQTT presets that ship with the gateway, and those a household adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import TypeVar

from gateway.decode.map_file import TEXT_BYTES_MAX, parse_map
from gateway.decode.meter_map import MeterMap
from gateway.decode.mqtt_payloads import Preset
from gateway.decode.preset_file import parse_preset
from gateway.errors import BadMeterMap, BadPreset, UnknownName

_Loaded = TypeVar("_Loaded")


def map_names() -> list[str]:
    """Names of the shipped meter maps, in order."""
    return _names("meters")


def load_map(name_or_path: str) -> MeterMap:
    """Load a shipped map by name, or any map by the path of its file.

    Raises:
        UnknownName: Neither is there.
        BadMeterMap: The file is not a right map.
    """
    known = map_names()
    found = _load_map(name_or_path, known)
    if not found.sunspec_models:
        return found
    return replace(found, siblings=tuple(_load_map(name, known) for name in found.variants))


def check_variants(meter_map: MeterMap, *, file: str) -> None:
    """Check that each map named as a variant is there: shipped, or a file beside this one.

    Raises:
        BadMeterMap: One is not.
    """
    known = map_names()
    for at, name in enumerate(meter_map.variants):
        if name in known or Path(file).with_name(f"{name}.toml").is_file():
            continue
        close = get_close_matches(name, known, n=1)
        raise BadMeterMap(
            file=file,
            place=f"variants[{at}]",
            problem=f"there is no meter map {name!r}",
            remedy=f"did you mean {close[0]!r}?" if close else "see `coop-gateway maps list`",
        )


def _load_map(name_or_path: str, known: list[str]) -> MeterMap:
    return _load(
        name_or_path,
        folder="meters",
        kind="meter map",
        known=known,
        parse=_map,
        fault_kind=BadMeterMap,
    )


def preset_names() -> list[str]:
    """Names of the shipped MQTT presets, in order."""
    return _names("mqtt_presets")


def load_preset(name_or_path: str) -> Preset:
    """Load a shipped preset by name, or any preset by the path of its file.

    Raises:
        UnknownName: Neither is there.
        BadPreset: The file is not a right preset.
    """
    return _load(
        name_or_path,
        folder="mqtt_presets",
        kind="MQTT preset",
        known=preset_names(),
        parse=_preset,
        fault_kind=BadPreset,
    )


def _preset(text: str, file: str) -> Preset:
    return parse_preset(text, file=file)


def _map(text: str, file: str) -> MeterMap:
    return parse_map(text, file=file)


def _names(folder: str) -> list[str]:
    entries = resources.files("firmware_configs").joinpath(folder).iterdir()
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in entries
        if entry.name.endswith(".toml") and not entry.name.startswith("_")
    )


def _load(
    name_or_path: str,
    *,
    folder: str,
    kind: str,
    known: list[str],
    parse: Callable[[str, str], _Loaded],
    fault_kind: type[BadMeterMap | BadPreset],
) -> _Loaded:
    if name_or_path in known:
        file = f"{name_or_path}.toml"
        shipped = resources.files("firmware_configs") / folder / file
        return parse(shipped.read_text(encoding="utf-8"), f"firmware_configs/{folder}/{file}")
    path = Path(name_or_path)
    if path.suffix != ".toml" and path.name == name_or_path:
        raise UnknownName(kind=kind, name=name_or_path, known=known)
    return parse(_text_of(path, fault_kind), name_or_path)


def _text_of(path: Path, fault_kind: type[BadMeterMap | BadPreset]) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(TEXT_BYTES_MAX + 1)
        return raw.decode("utf-8")
    except OSError as fault:
        raise fault_kind(
            file=str(path),
            place="file",
            problem=fault.strerror or "cannot be read",
            remedy="check the path and who may read it",
        ) from fault
    except UnicodeDecodeError as fault:
        raise fault_kind(
            file=str(path), place="file", problem="not UTF-8 text", remedy="save it as UTF-8"
        ) from fault
