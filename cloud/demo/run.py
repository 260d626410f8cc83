"""Running the demo: once and headless, or open until Ctrl-C."""

from __future__ import annotations

import json
import sys
import time

from cloud.demo.processes import interruptible
from cloud.demo.story import VISITOR_HOME, Street, StreetPlan, open_street, tell

EXIT_BROKEN = 1
EXIT_STOPPED = 130


def run_once(plan: StreetPlan, *, as_json: bool) -> int:
    """Tell the story once and print its figures; 1 if an invariant does not hold."""
    started = time.monotonic()
    street = open_street(plan, say=_quiet if as_json else print)
    try:
        with interruptible():
            tell(street)
            street.stop_gateways()
            figures = street.figures(time.monotonic() - started)
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped before the end\n")
        return EXIT_STOPPED
    finally:
        street.close()
    if as_json:
        print(json.dumps(figures.shown))
    else:
        for name, figure in figures.shown.items():
            print(f"  {name}: {figure}")
    for broken in figures.broken:
        sys.stderr.write(f"error: does not hold: {broken.name} ({broken.detail})\n")
    return EXIT_BROKEN if figures.broken else 0


def run_open(plan: StreetPlan) -> int:
    """Tell the story, then stay open for a visitor until Ctrl-C."""
    street = open_street(plan, say=print)

    try:
        with interruptible():
            tell(street)
            street.leave_something_to_do()
            print_addresses(street)
            while True:
                _wait_for_enter()
                print_addresses(street)
    except KeyboardInterrupt:
        print("\nStopping the street.")
    finally:
        street.close()
    return 0


def print_addresses(street: Street) -> None:
    """Print the pages and fresh single-use links."""
    member = street.members[VISITOR_HOME]
    amara, jonas = street.board
    print(f"\nThe street is open at {street.cloud.url}. Links work once, for 15 minutes.")
    print(f"  household: {street.cloud.sign_in_link(member)}   ({member.name})")
    print(f"  board:     {street.cloud.sign_in_link(amara)}   ({amara.name})")
    print(f"  board, 2:  {street.cloud.sign_in_link(jonas)}   ({jonas.name})")
    print(f"  requester: {street.cloud.sign_in_link(street.requester)}   ({street.requester.name})")
    for one in street.real:
        print(
            f"  gateway of home {one.home.number}: http://127.0.0.1:{one.page_port}/  secret {one.secret}"
        )
    print(f"  log, open to all: {street.cloud.url}/log   API: {street.cloud.url}/docs")
    print("Press Enter for fresh links, Ctrl-C to stop.", flush=True)


def _wait_for_enter() -> None:
    if not sys.stdin.isatty():
        while True:
            time.sleep(3600)
    sys.stdin.readline()


def _quiet(_text: str) -> None:
    """Say nothing: standard output is for the JSON alone."""
