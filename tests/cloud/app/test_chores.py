"""Chores: done again and again, tried again when they fail, and never cut off in the middle."""

from __future__ import annotations

import asyncio
import threading

from cloud.chores import Chore, do_chores


async def test_what_is_being_done_when_the_server_stops_is_done_to_its_end():
    begun, may_end = threading.Event(), threading.Event()
    ended = []

    def work():
        begun.set()
        assert may_end.wait(30)
        ended.append("whole")

    stopping = asyncio.Event()
    chores = asyncio.create_task(
        do_chores((Chore(name="slow", every_s=3600.0, work=work),), stopping)
    )
    await asyncio.to_thread(begun.wait, 30)
    stopping.set()
    await asyncio.sleep(0)
    assert not chores.done()
    may_end.set()
    await asyncio.wait_for(chores, 30)
    assert ended == ["whole"]


async def test_a_chore_that_fails_is_tried_again_and_keeps_no_other_from_its_turn():
    tries = []
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail():
        tries.append("failing")
        raise OSError("disk")

    def count():
        tries.append("other")
        if tries.count("failing") >= 2 and tries.count("other") >= 2:
            loop.call_soon_threadsafe(stopping.set)

    chores = (
        Chore(name="failing", every_s=0.001, work=fail),
        Chore(name="other", every_s=0.001, work=count),
    )
    await asyncio.wait_for(do_chores(chores, stopping), 30)
    assert tries.count("failing") >= 2
