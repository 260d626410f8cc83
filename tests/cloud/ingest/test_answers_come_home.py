"""What the writer's thread finished comes back to the event loop whole, and wakes it rarely."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from cloud.ingest.endpoints import Homecoming


def in_another_thread(work) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_group_that_is_finished_at_once_wakes_the_loop_once():
    async def scene() -> tuple[list[int], int]:
        homecoming: Homecoming[int] = Homecoming()
        stored: list[Future[int]] = [Future() for _ in range(50)]
        waiting = [asyncio.create_task(homecoming.wait_for(each)) for each in stored]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        calls = 0
        wake = loop.call_soon_threadsafe

        def counted(*args, **kwargs):
            nonlocal calls
            calls += 1
            return wake(*args, **kwargs)

        loop.call_soon_threadsafe = counted
        in_another_thread(lambda: [each.set_result(at) for at, each in enumerate(stored)])
        return await asyncio.gather(*waiting), calls

    answers, calls = asyncio.run(scene())
    assert answers == list(range(50))
    assert calls == 1


def test_groups_one_after_another_all_come_home():
    async def scene() -> list[int]:
        homecoming: Homecoming[int] = Homecoming()
        stored: list[Future[int]] = [Future() for _ in range(400)]
        writers = [
            threading.Thread(
                target=lambda part=part: [stored[at].set_result(at) for at in range(part, 400, 4)]
            )
            for part in range(4)
        ]
        waiting = [asyncio.create_task(homecoming.wait_for(each)) for each in stored]
        for writer in writers:
            writer.start()
        found = await asyncio.gather(*waiting)
        for writer in writers:
            writer.join()
        return found

    assert asyncio.run(scene()) == list(range(400))


def test_what_is_done_already_comes_home_as_well():
    async def scene() -> int:
        stored: Future[int] = Future()
        stored.set_result(7)
        return await Homecoming[int]().wait_for(stored)

    assert asyncio.run(scene()) == 7


def test_a_fault_reaches_the_one_who_waits_and_one_who_left_disturbs_nobody():
    async def scene() -> int:
        homecoming: Homecoming[int] = Homecoming()
        left, failed, good = (Future() for _ in range(3))
        waiting = [asyncio.create_task(homecoming.wait_for(each)) for each in (left, failed, good)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)

        def finish() -> None:
            left.set_result(1)
            failed.set_exception(OSError("the disk is full"))
            good.set_result(3)

        in_another_thread(finish)
        with pytest.raises(OSError, match="disk is full"):
            await waiting[1]
        return await waiting[2]

    assert asyncio.run(scene()) == 3
