"""`make bench`: run the benchmarks one after the other and print what each measured.

`python -m tests.benchmarks [NAME …]` runs only those whose names are given, such as `billing`.
Nothing here judges: figures are ratios measured side by side in one run, and times are of this
machine at this moment.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def main(wanted: list[str]) -> int:
    """Run the benchmarks; 2 if a name is unknown."""
    known = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.stderr.write(f"error: no benchmark {unknown[0]!r}; there are: {', '.join(known)}\n")
        return 2
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    print(f"load before: {os.getloadavg()[0]:.1f}; figures of a busy machine are rough\n")
    for name in wanted or known:
        started = time.monotonic()
        print(f"== {name}", flush=True)
        rows = importlib.import_module(f"tests.benchmarks.bench_{name}").run()
        for row in rows:
            print("  " + ", ".join(f"{key}: {shown(figure)}" for key, figure in row.items()))
        print(f"  ({time.monotonic() - started:.0f} s)\n", flush=True)
    return 0


def shown(figure: object) -> str:
    """Four digits of a float, everything else as it is."""
    return f"{figure:.4g}" if isinstance(figure, float) else str(figure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
