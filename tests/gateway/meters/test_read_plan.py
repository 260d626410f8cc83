"""The read planner: covers everything, stays within limits, and never runs in circles."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue import load_map
from gateway.decode.meter_map import BusLimits, MeterMap, Point, SerialDefaults, Standing
from gateway.decode.registers import RegisterType, WordOrder
from gateway.meters.read_plan import Block, ReadPlan, plan_reads, wire_time_s

NAMES = [f"{kind}_l{phase}_wh" for kind in ("import", "export", "total") for phase in (1, 2, 3)]
NAMES += [f"{kind}_t{tariff}_wh" for kind in ("import", "export", "total") for tariff in (1, 2, 3)]


@st.composite
def maps(draw: st.DrawFn) -> MeterMap:
    """Points anywhere, not overlapping, of any length, behind limits of any kind."""
    starts = draw(st.lists(st.integers(0, 16_000), min_size=1, max_size=14, unique=True))
    points = {
        name: Point(
            quantity=name,
            function=draw(st.sampled_from([3, 4])),
            address=start * 4,
            type=draw(st.sampled_from(list(RegisterType))),
            word_order=WordOrder.BIG,
            unit="Wh",
        )
        for name, start in zip(NAMES, starts, strict=False)
    }
    limits = BusLimits(
        registers_max=draw(st.integers(4, 125)), hole_max=draw(st.sampled_from([0, 4, 16, 124]))
    )
    return MeterMap(
        name="drawn",
        title="drawn",
        models=("any",),
        phases=3,
        standing=Standing.AGREED,
        source=("drawn",),
        points=points,
        limits=limits,
    )


def covered(blocks: tuple[Block, ...]) -> set[tuple[int, int]]:
    return {
        (block.function, block.address + offset)
        for block in blocks
        for offset in range(block.count)
    }


def wanted(meter_map: MeterMap, absent: frozenset[str] = frozenset()) -> set[tuple[int, int]]:
    return {
        (point.function, address + offset)
        for name, point in meter_map.points.items()
        if name not in absent
        for address, count in point.spans
        for offset in range(count)
    }


def first_tells_late_replies_apart(plan: ReadPlan) -> bool:
    counts = [block.count for block in plan.requests]
    return counts.count(counts[0]) == 1


def none_is_followed_by_its_like(plan: ReadPlan) -> bool:
    """Whether a reply that comes twice shows: no block is followed by one as long, none is last."""
    counts = [block.count for block in plan.requests]
    apart = all(one != other for one, other in itertools.pairwise(counts))
    needed = [planned.block.count for planned in plan.blocks]
    return apart and (plan.tail is not None or needed.count(needed[-1]) == 1)


@given(meter_map=maps())
def test_a_plan_covers_every_point_within_the_limits(meter_map: MeterMap) -> None:
    plan = plan_reads(meter_map)
    assert wanted(meter_map) <= covered(plan.requests)
    assert all(planned.block.count <= meter_map.limits.registers_max for planned in plan.blocks)
    assert all(0 <= block.address <= 0x10000 - block.count for block in plan.requests)
    assert len(plan.blocks) <= len(meter_map.points)
    assert first_tells_late_replies_apart(plan)
    assert none_is_followed_by_its_like(plan)


@given(meter_map=maps(), data=st.data())
def test_refusals_end_with_exactly_the_registers_the_meter_has(
    meter_map: MeterMap, data: st.DataObject
) -> None:
    """A meter that refuses any block with a register it lacks, whatever is tried."""
    gone = data.draw(st.sets(st.sampled_from(sorted(meter_map.points)), max_size=5))
    has = wanted(meter_map, frozenset(gone))
    plan = plan_reads(meter_map)
    for _ in range(10 * len(meter_map.points) + 10):
        refused = next(
            (one for one in plan.blocks if not covered((one.block,)) <= has),
            None,
        )
        if refused is None:
            break
        plan = plan.refused(refused)
    assert all(covered((one.block,)) <= has for one in plan.blocks)
    assert plan.absent == gone
    assert has <= covered(tuple(one.block for one in plan.blocks))
    if plan.blocks:
        assert first_tells_late_replies_apart(plan)
        assert none_is_followed_by_its_like(plan)


def test_an_sdm630_is_read_in_two_blocks_instead_of_twenty_three() -> None:
    assert [str(block) for block in plan_reads(load_map("eastron_sdm630")).requests] == [
        "input registers 0x0000-0x004b (76)",
        "input registers 0x0156-0x0165 (16)",
    ]


@pytest.mark.parametrize(
    ("baud", "count", "expected_ms"),
    # Bits on the wire, counted by hand: (8 + 5 + 2 n + 7) characters of 10 bits at 8N1.
    [(2400, 2, 100.0), (2400, 80, 750.0), (9600, 2, 25.0), (9600, 40, 104.2), (19_200, 80, 93.8)],
)
def test_wire_time_is_what_the_line_takes(baud: int, count: int, expected_ms: float) -> None:
    block = Block(function=4, address=0, count=count)
    spent_ms = 1000 * wire_time_s(block, SerialDefaults(baud=baud))
    assert spent_ms == pytest.approx(expected_ms, abs=0.1)


def test_parity_makes_a_character_longer() -> None:
    block = Block(function=4, address=0, count=2)
    plain = wire_time_s(block, SerialDefaults(baud=9600))
    even = wire_time_s(block, SerialDefaults(baud=9600, parity="E"))
    assert even == pytest.approx(plain * 11 / 10)


def test_a_stated_rollover_and_the_fuse_become_limits() -> None:
    from gateway.decode.counters import limits_for

    meter_map = load_map("eastron_sdm630")
    point = replace(meter_map.points["import_wh"], rollover=Fraction(1_000_000))
    rolling = replace(meter_map, points={**meter_map.points, "import_wh": point})
    limits = limits_for(rolling, "import_wh", fuse_a=35)
    assert limits.rollover_wh == 1_000_000_000
    assert limits.power_w_max == 35 * 230 * 3
    assert limits.float32_unit_wh == 1000.0
    assert limits_for(meter_map, "import_wh", fuse_a=35).rollover_wh is None
