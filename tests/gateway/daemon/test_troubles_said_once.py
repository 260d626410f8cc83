"""Command, page, metrics, Home Assistant and systemd say the same of what is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.home_assistant import HomeAssistantLink
from gateway.local_page.view import health_facts
from gateway.meters.mqtt import BrokerAddress
from gateway.meters.source import MeterCondition, MeterHealth, SourceHealth
from gateway.metrics import metrics_text
from gateway.status_socket import FILE_NAME, ask
from gateway.troubles import MeterLog, one_line, troubles
from gateway.wire.reading import Quantity
from tests.gateway.home import Home


def agreed(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.sync()
    return home


def status(home: Home, *words: str) -> str:
    config = str(home.directory / "gateway.toml")
    done = CliRunner().invoke(app, ["status", "--config", config, *words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("deep", [False, True])
async def test_a_disk_that_takes_nothing_is_said_everywhere_alike(
    tmp_path: Path, deep: bool
) -> None:
    # A path beyond 108 bytes does not fit into the address of a socket.
    place = tmp_path / ("d" * 120) if deep else tmp_path
    place.mkdir(exist_ok=True)
    home = agreed(place)
    daemon = home.daemon
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    for _ in range(1_000):
        if await asyncio.to_thread(ask, home.state_dir) is not None:
            break
        await asyncio.sleep(0.02)
    assert json.loads(await asyncio.to_thread(status, home, "--json"))["problems"] == {}

    daemon.store._connection.execute("PRAGMA query_only = ON")
    home.live(3600)
    await daemon.flush()
    told = json.loads(await asyncio.to_thread(status, home, "--json"))
    assert told["running"]
    assert told["in_memory"] == daemon.pipeline.waiting_in_memory > 0
    said = told["problems"]["disk"]
    assert "takes nothing" in said
    assert f"PROBLEM disk: {said}" in await asyncio.to_thread(status, home)
    assert 'problem{where="disk"} 1' in metrics_text(daemon)
    assert dict(health_facts(daemon))["Card"] == said
    link = HomeAssistantLink(daemon, BrokerAddress(host="127.0.0.1"))
    assert link.state()["trouble"] == "ON"
    assert link.state()["why"] == [f"{place}: {what}" for place, what in told["problems"].items()]
    assert "wrong: disk" in one_line(daemon)

    daemon.store._connection.execute("PRAGMA query_only = OFF")
    await daemon.flush()
    assert json.loads(await asyncio.to_thread(status, home, "--json"))["problems"] == {}
    stop.set()
    await running
    assert not (home.state_dir / FILE_NAME).exists()
    assert ask(home.state_dir) is None
    assert not json.loads(await asyncio.to_thread(status, home, "--json"))["running"]


class Wire:
    """A source whose health is set by hand."""

    name = "bus"

    def __init__(self) -> None:
        self.meter = MeterHealth(condition=MeterCondition.OK)

    def health(self) -> SourceHealth:
        return SourceHealth(
            name=self.name, connected=True, progress_s=0, meters={"grid": self.meter}
        )


def test_a_meter_that_falls_silent_is_one_line_without_its_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = agreed(tmp_path)
    wire, look = Wire(), MeterLog()
    home.daemon.sources = [wire]  # type: ignore[list-item]  only its health is asked
    resting = replace(
        wire.meter, condition=MeterCondition.RESTING, last_fault="192.168.1.7:502: no reply"
    )
    with caplog.at_level(logging.INFO):
        for meter in (
            wire.meter,
            resting,
            resting,
            resting,
            MeterHealth(condition=MeterCondition.OK),
        ):
            wire.meter = meter
            look.look(home.daemon)
    assert [record.getMessage() for record in caplog.records] == [
        "meter grid does not answer; it is asked less often",
        "meter grid answers again",
    ]
    wire.meter = resting
    assert troubles(home.daemon)["meter grid"] == "192.168.1.7:502: no reply"
    assert "192.168" not in one_line(home.daemon)
