"""msgspec works a record out when it first meets it; two threads at once used to crash the process."""

from __future__ import annotations

import subprocess
import sys

RACE = """
import threading
from gateway.wire.codec import decode_batch
from gateway.wire.consent import decode_event
from gateway.wire.errors import MalformedMessage

barrier = threading.Barrier(16)
seen = []

def meet(number):
    barrier.wait()
    try:
        (decode_batch if number % 2 else decode_event)(b'{"v":1}')
    except MalformedMessage:
        seen.append(number)

threads = [threading.Thread(target=meet, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(seen))
"""


def test_sixteen_threads_meet_the_contract_for_the_first_time() -> None:
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", RACE], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.strip()) == (0, "16"), done.stderr[-500:]
