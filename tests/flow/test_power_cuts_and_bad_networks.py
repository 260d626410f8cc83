"""A day in the life of a gateway, sped up: power cuts, a dead link, a clock step, a dead meter.

Everything is real but the wires and the clock. A plain model knows what each quarter of an hour
held; after the day, what the co-op stored is compared with it. The seed is in the test's name.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.errors import CloudUnreachable
from gateway.meters.source import Sample
from gateway.outbox.figures import figures
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.fake_coop import FakeCoop, offer
from tests.gateway.home import Home

POLL_S = 20
COMMIT_S = 60
SYNC_S = 300
QUARTER = timedelta(minutes=15)


@dataclass
class Day:
    """A seeded day: when what goes wrong."""

    home: Home
    random: random.Random
    power_cuts: set[int] = field(default_factory=set)
    dead_link: range = range(0)
    dead_meter: range = range(0)
    clock_step: int = -1
    total_wh: dict[str, float] = field(default_factory=dict)
    cut_moments: list[datetime] = field(default_factory=list)
    by_quarter: dict[tuple[str, datetime], float] = field(default_factory=dict)

    def plan(self) -> None:
        ticks = 24 * 3600 // POLL_S
        self.power_cuts = set(self.random.sample(range(ticks // 10, ticks), 3))
        start = self.random.randrange(ticks // 4, ticks // 2)
        self.dead_link = range(start, start + 6 * 3600 // POLL_S)
        start = self.random.randrange(ticks // 10, ticks // 2)
        self.dead_meter = range(start, start + 2 * 3600 // POLL_S)
        self.clock_step = self.random.randrange(ticks // 2, ticks)

    def run(self) -> None:
        for tick in range(24 * 3600 // POLL_S):
            self._pass(tick)
        self.home.coop.online = True
        self.home.coop.lose_answers = 0
        self.home.flush()
        self.home.sync()
        self.home.send()

    def _pass(self, tick: int) -> None:
        home = self.home
        home.clock.advance(POLL_S)
        if tick == self.clock_step:
            home.clock.step(5.0)
        home.coop.online = tick not in self.dead_link
        for meter in home.meters:
            power_w = 200 + 3000 * self.random.random() ** 3
            rise_wh = power_w * POLL_S / 3600
            quarter = home.clock.at - timedelta(seconds=POLL_S)
            quarter -= timedelta(
                minutes=quarter.minute % 15,
                seconds=quarter.second,
                microseconds=quarter.microsecond,
            )
            self.by_quarter[meter, quarter] = self.by_quarter.get((meter, quarter), 0) + rise_wh
            self.total_wh[meter] = self.total_wh.get(meter, 5e6) + rise_wh
            if meter == "pv" and tick in self.dead_meter:
                continue
            home.daemon.take(
                Sample(
                    meter=meter,
                    taken_at=home.clock.at,
                    quantities={"import_wh": int(self.total_wh[meter]), "power_w": power_w},
                )
            )
        home.daemon._tick()
        if tick % (COMMIT_S // POLL_S) == 0:
            home.flush()
        if tick in self.power_cuts:
            self.cut_moments.append(home.clock.at)
            home.cut_power()
        if tick % (SYNC_S // POLL_S) == 0:
            self._talk()

    def _talk(self) -> None:
        if self.home.coop.online and self.random.random() < 0.1:
            self.home.coop.lose_answers = 1
        try:
            self.home.sync()
            self.home.send()
        except CloudUnreachable:
            pass


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 2026])
def test_a_day_of_faults_loses_nothing_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    coop = FakeCoop(
        offers=(
            offer(
                "tariff",
                purpose=Purpose.GROUP_TARIFF,
                resolution=Resolution.QUARTER_HOUR,
                quantities=(Quantity.IMPORT_WH,),
            ),
        )
    )
    home = Home(tmp_path, coop=coop, meters=("main", "pv", "hidden"))
    home.pair()
    home.give("tariff", meters=("main", "pv"))
    home.sync()
    begun = home.clock.at
    day = Day(home=home, random=random.Random(seed))
    day.plan()
    day.run()

    stored = {
        (stream.meter, start): (energy_wh, quality)
        for (stream, _, start), (_, energy_wh, quality) in coop.readings.items()
    }
    assert {meter for meter, _ in stored} == {"main", "pv"}, "bytes left without a grant"
    assert home.daemon.store.waiting() == 0
    assert coop.broken_chains == []
    assert len(day.cut_moments) == 3
    with home.daemon.store.reading() as connection:
        counted = figures(connection)
    assert counted.kept == counted.accepted + counted.duplicate == len(stored)

    whole = [
        begun + QUARTER * place
        for place in range(1, 95)
        if begun + QUARTER * (place + 1) < begun + timedelta(hours=24)
    ]
    lost = {(meter, start) for meter in ("main", "pv") for start in whole} - set(stored)
    assert lost == set(), f"seed {seed}: quarters lost {sorted(lost)}"
    for (meter, start), (energy_wh, quality) in stored.items():
        expected = day.by_quarter.get((meter, start))
        # After the clock was set, quarters no longer begin where the model's do.
        if expected is None or quality != "measured" or start >= begun + timedelta(hours=12):
            continue
        assert abs(energy_wh - expected) <= 25, f"seed {seed}: {meter} {start}"
    for meter in ("main", "pv"):
        sent_wh = sum(stored[meter, start][0] for start in whole)
        true_wh = sum(day.by_quarter[meter, start] for start in whole)
        assert abs(sent_wh - true_wh) < 40, f"seed {seed}: energy of {meter}"
