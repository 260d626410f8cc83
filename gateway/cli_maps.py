"""Commands about the meter maps and MQTT presets themselves."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from gateway.cli_options import JsonOption, named_faults, write_json


class SchemaKind(enum.StrEnum):
    """What a schema is for."""

    METER_MAP = "meter_map"
    MQTT_PRESET = "mqtt_preset"


def register(app: typer.Typer) -> None:
    """Add the commands to the gateway's application."""
    maps = typer.Typer(help="The meter maps and MQTT presets.", no_args_is_help=True)
    maps.command("list", epilog="Example: coop-gateway maps list --json")(named_faults(maps_list))
    maps.command("check", epilog="Example: coop-gateway maps check maker_model.toml")(
        named_faults(maps_check)
    )
    maps.command(
        "schema", epilog="Example: coop-gateway maps schema meter_map > meter_map.schema.json"
    )(named_faults(maps_schema))
    app.add_typer(maps, name="maps")


def maps_list(json_output: JsonOption = False) -> None:
    """List the shipped meter maps and MQTT presets."""
    from gateway.catalogue import load_map, load_preset, map_names, preset_names

    maps = [load_map(name) for name in map_names()]
    presets = [load_preset(name) for name in preset_names()]
    if json_output:
        write_json(
            {
                "maps": [
                    {
                        "name": one.name,
                        "title": one.title,
                        "models": list(one.models),
                        "standing": one.standing.value,
                        "quantities": list(one.quantities),
                        "serial": one.serial.label if one.serial else None,
                    }
                    for one in maps
                ],
                "presets": [
                    {
                        "name": one.name,
                        "title": one.title,
                        "standing": one.standing.value,
                        "device": one.device_help,
                    }
                    for one in presets
                ],
            }
        )
        return
    for one in maps:
        wire = one.serial.label if one.serial else "TCP"
        typer.echo(f"{one.name:<26} {wire:<11} {one.standing.value:<15} {one.title}")
    for preset in presets:
        typer.echo(f"{preset.name:<26} {'MQTT':<11} {preset.standing.value:<15} {preset.title}")


def maps_check(
    files: Annotated[list[str], typer.Argument(help="Map or preset files, or shipped names.")],
    json_output: JsonOption = False,
) -> None:
    """Check map or preset files: syntax, units, golden vectors, and the blocks they make."""
    from gateway.catalogue import check_variants, load_map, load_preset, preset_names
    from gateway.decode.map_file import check_golden
    from gateway.decode.preset_file import check_golden_messages
    from gateway.meters.read_plan import plan_reads

    checked: list[dict[str, Any]] = []
    for file in files:
        if file in preset_names() or _is_preset_file(file):
            preset = load_preset(file)
            vectors = check_golden_messages(preset, file=file)
            checked.append({"file": file, "preset": preset.name, "golden_vectors": vectors})
            continue
        meter_map = load_map(file)
        check_variants(meter_map, file=file)
        vectors = check_golden(meter_map, file=file)
        blocks = [str(block) for block in plan_reads(meter_map, with_identity=True).requests]
        checked.append(
            {"file": file, "map": meter_map.name, "golden_vectors": vectors, "blocks": blocks}
        )
    if json_output:
        write_json({"checked": checked})
        return
    for one in checked:
        typer.echo(f"{one['file']} is right; golden vectors: {one['golden_vectors']}")
        for block in one.get("blocks", ()):
            typer.echo(f"  {block}")


def maps_schema(
    kind: Annotated[SchemaKind, typer.Argument(help="Which files the schema is for.")],
) -> None:
    """Print the JSON Schema of meter maps or MQTT presets, as JSON."""
    import json

    import msgspec

    from gateway.decode.map_tables import MapFile
    from gateway.decode.preset_tables import PresetFile

    table = MapFile if kind is SchemaKind.METER_MAP else PresetFile
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"commonwatt {kind.value}",
        **msgspec.json.schema(table),
    }
    typer.echo(json.dumps(schema, indent=2, sort_keys=True))


def _is_preset_file(file: str) -> bool:
    from pathlib import Path

    try:
        with Path(file).open(encoding="utf-8") as lines:
            return any(line.startswith("preset") for line in lines)
    except (OSError, UnicodeDecodeError):
        return False
