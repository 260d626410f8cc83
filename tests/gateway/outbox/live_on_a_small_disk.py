"""A home whose disk fills up, in a process of its own: prints what became of its readings.

`python live_on_a_small_disk.py HOW FOLDER`, where HOW is `mount` (a small file system is mounted at
FOLDER, which needs a mount namespace of one's own), `limit` (no file may grow, which needs nothing)
or `read-only` (a file system that is mounted read-only before the gateway starts).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from gateway.errors import StateFault
from gateway.outbox.figures import figures
from gateway.outbox.reserve import FILE_NAME
from gateway.outbox.sqlite import SqliteOutbox
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.fake_coop import FakeCoop, offer
from tests.gateway.home import Home

METERS = tuple(f"m{number}" for number in range(10))
SIZE = "16m"


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take all the room there is."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        while True:
            os.write(handle, bytes(4096))
    except OSError:
        pass
    finally:
        os.close(handle)


def limit(folder: Path, *, is_full: bool) -> None:
    """Let no file of this process grow beyond what the state has now, or let them all."""
    _, hardest = resource.getrlimit(resource.RLIMIT_FSIZE)
    sizes = [path.stat().st_size for path in (folder / "state").glob("gateway.sqlite*")]
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) if is_full else hardest, hardest))


def live(folder: Path, make_full: Callable[[], None], make_room: Callable[[], None]) -> None:
    terms = offer(
        "own",
        purpose=Purpose.OWN_INSIGHT,
        resolution=Resolution.MINUTE,
        quantities=(Quantity.IMPORT_WH,),
    )
    home = Home(folder, coop=FakeCoop(offers=(terms,)), meters=METERS)
    home.pair()
    home.sync()
    home.give("own")
    home.sync()
    home.live(1800)
    home.flush()
    had_reserve = (home.state_dir / FILE_NAME).exists()
    said: list[dict[str, object]] = []
    for _ in range(4):
        make_full()
        home.live(1800)
        home.flush()
        said.append(
            {
                "problem": home.daemon.problems.get("disk"),
                "in_memory": home.daemon.pipeline.waiting_in_memory,
            }
        )
    make_room()
    home.live(600)
    home.flush()
    healed = dict(home.daemon.problems)
    home.send()
    with home.daemon.store.reading() as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        counted = figures(connection)
    minutes: dict[str, list[object]] = {meter: [] for meter in METERS}
    for (stream, _, start), _ in sorted(home.coop.readings.items(), key=lambda item: item[0][2]):
        minutes[stream.meter].append(start)
    whole = all(
        starts and starts == [starts[0] + timedelta(minutes=place) for place in range(len(starts))]
        for starts in minutes.values()
    )
    sys.stdout.write(
        json.dumps(
            {
                "had_reserve": had_reserve,
                "full": said,
                "healed": healed,
                "sound": sound,
                "whole": whole,
                "least_minutes": min(len(starts) for starts in minutes.values()),
                "energies": sorted({wh for _, wh, _ in home.coop.readings.values()}),
                "duplicates": counted.duplicate,
                "waiting": counted.waiting,
                "gaps": len(home.coop.gaps),
            }
        )
    )


def start_read_only(folder: Path) -> None:
    """Open a state that lies on a read-only file system, to write and to look."""
    mount(folder, f"size={SIZE}")
    SqliteOutbox.open(folder / "state").close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        SqliteOutbox.open(folder / "state")
    except StateFault as fault:
        sys.stdout.write(json.dumps({"refused": str(fault)}))


def main() -> None:
    how, folder = sys.argv[1], Path(sys.argv[2])
    if how == "read-only":
        start_read_only(folder)
    elif how == "mount":
        mount(folder, f"size={SIZE}")
        filler = folder / "filler"
        live(folder, lambda: fill(filler), filler.unlink)
    else:
        live(
            folder,
            lambda: limit(folder, is_full=True),
            lambda: limit(folder, is_full=False),
        )


if __name__ == "__main__":
    main()
