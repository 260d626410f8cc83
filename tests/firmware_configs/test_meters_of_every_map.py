"""One test over every meter map that ships."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.catalogue import load_map, map_names
from gateway.cli import app
from gateway.decode.map_file import check_golden, parse_map
from gateway.decode.meter_map import Standing
from gateway.meters.read_plan import plan_reads

MAPS = Path(__file__).parents[2] / "firmware_configs" / "meters"


def test_at_least_twenty_five_makes_and_models_are_shipped() -> None:
    assert len([name for name in map_names() if not name.startswith("sunspec")]) >= 25


@pytest.mark.parametrize("name", map_names())
def test_a_map_decodes_its_own_golden_vectors(name: str) -> None:
    assert check_golden(load_map(name), file=name) >= 1


@pytest.mark.parametrize("name", map_names())
def test_a_golden_vector_covers_every_quantity_of_its_map(name: str) -> None:
    meter_map = load_map(name)
    assert set(meter_map.golden[0].expect) == set(meter_map.quantities)


@pytest.mark.parametrize("name", map_names())
def test_a_map_counts_energy_and_says_how_it_is_wired(name: str) -> None:
    meter_map = load_map(name)
    assert "import_wh" in meter_map.quantities
    assert meter_map.serial is not None or meter_map.tcp_unit is not None
    assert meter_map.source
    assert all(variant in map_names() for variant in meter_map.variants)


@pytest.mark.parametrize("name", map_names())
def test_a_map_that_needs_hardware_can_be_told_wrong_by_a_probe(name: str) -> None:
    meter_map = load_map(name)
    assert meter_map.implausible(meter_map.golden[0].expect) == ()
    if meter_map.standing is Standing.NEEDS_HARDWARE:
        assert meter_map.probes
        assert meter_map.variants
        assert meter_map.notes


@pytest.mark.parametrize("name", map_names())
def test_blocks_stay_within_the_limits_of_the_meter_and_differ_in_length(name: str) -> None:
    meter_map = load_map(name)
    plan = plan_reads(meter_map, with_identity=True)
    counts = [block.count for block in plan.requests]
    assert max(counts) <= meter_map.limits.registers_max <= 125
    assert len(set(counts)) == len(counts)
    covered = {
        (block.function, block.address + offset)
        for block in plan.requests
        for offset in range(block.count)
    }
    wanted = {
        (point.function, address + offset)
        for point in meter_map.points.values()
        for address, count in point.spans
        for offset in range(count)
    }
    assert wanted <= covered


def test_the_blueprint_is_a_right_map_but_for_its_name() -> None:
    text = (MAPS / "_blueprint.toml").read_text(encoding="utf-8")
    meter_map = parse_map(text, file="_blueprint")
    assert check_golden(meter_map, file="_blueprint") >= 1


def test_the_blueprint_shows_every_key_a_map_may_have() -> None:
    text = (MAPS / "_blueprint.toml").read_text(encoding="utf-8")
    shown = set(tomllib.loads(text))
    used = {
        key
        for name in map_names()
        for key in tomllib.loads((MAPS / f"{name}.toml").read_text(encoding="utf-8"))
    }
    assert used - {"sunspec_models"} <= shown


@pytest.mark.parametrize("kind", ["meter_map", "mqtt_preset"])
def test_the_shipped_schema_is_the_one_the_code_checks_by(kind: str) -> None:
    """If this fails: coop-gateway maps schema KIND > firmware_configs/schema/KIND.schema.json."""
    ran = CliRunner().invoke(app, ["maps", "schema", kind])
    shipped = MAPS.parent / "schema" / f"{kind}.schema.json"
    assert json.loads(ran.stdout) == json.loads(shipped.read_text(encoding="utf-8"))


def test_the_schema_makes_units_mandatory() -> None:
    schema = json.loads((MAPS.parent / "schema" / "meter_map.schema.json").read_text("utf-8"))
    assert "unit" in schema["$defs"]["PointTable"]["required"]
    assert schema["$defs"]["PointTable"]["additionalProperties"] is False
