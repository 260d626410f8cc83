"""A process that stores batches and says which were acknowledged, until somebody kills it.

Each line on stdout is the number of a batch whose answer came. With `compact` as second argument it
compacts again and again meanwhile.
"""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path

from cloud.readings.embedded import EmbeddedStore
from gateway.wire.batch import BatchAnswer
from tests.cloud.readings.batches import MONDAY, batch, part

INTERVALS = 4


def main() -> None:
    folder, mode, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = EmbeddedStore(folder)
    if mode == "compact":
        threading.Thread(target=compact_again_and_again, args=(store,), daemon=True).start()
    waiting = []
    for seq in range(first, 10_000_000):
        future = store.append(numbered(seq))
        future.add_done_callback(say)
        waiting.append(future)
        if len(waiting) > 50:
            waiting.pop(0).result()


def compact_again_and_again(store: EmbeddedStore) -> None:
    while True:
        store.compact()


def numbered(seq: int):
    start = MONDAY + timedelta(hours=seq)
    home = f"home-{seq % 3}"
    return batch(part([seq] * INTERVALS, start=start), household=home, gateway=home, seq=seq)


def say(future) -> None:
    answer: BatchAnswer = future.result()
    sys.stdout.write(f"{answer.seq}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
