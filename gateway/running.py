"""Running the gateway: without the command line's own machinery, which on a Pi is memory for nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.errors import GatewayError
from gateway.wire.errors import WireError

FAULTS = (GatewayError, WireError, sqlite3.Error)
"""What a command prints as one line."""
log = logging.getLogger("commonwatt.gateway")


def fault_line(fault: BaseException) -> str:
    """One line that says what is wrong, where, and what to do."""
    if isinstance(fault, sqlite3.Error):
        return (
            f"error: the gateway's state cannot be used ({fault}); check the card and its room; "
            "`coop-gateway run` saves what can be read of a damaged file\n"
        )
    return f"error: {fault}\n"


def plainly_asked(words: Sequence[str]) -> tuple[Path, bool] | None:
    """Settings and whether to log more, if the words are a plain `run`; None for all else."""
    if not words or words[0] != "run":
        return None
    rest = [word for word in words[1:] if word != "--verbose"]
    verbose = len(rest) < len(words) - 1
    if len(rest) == 2 and rest[0] == "--config" and not rest[1].startswith("-"):
        return Path(rest[1]), verbose
    if len(rest) == 1 and rest[0].startswith("--config="):
        return Path(rest[0].removeprefix("--config=")), verbose
    return None


def run_gateway(config: Path, *, verbose: bool) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        GatewayError: Settings, state or key cannot be used.
    """
    # Only here: the words are looked at before anything large is loaded.
    from gateway.daemon import build, run_until_stopped  # noqa: PLC0415
    from gateway.identity import HASH_FILE  # noqa: PLC0415
    from gateway.parts import mend_state  # noqa: PLC0415
    from gateway.settings import read_settings  # noqa: PLC0415

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("httpx", "httpcore", "pymodbus", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # What keeps the page from being served is told by us, once.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    settings, state_dir = read_settings(config)
    mend_state(state_dir)
    # In the journal a secret would be one no more.
    shows_secret = "JOURNAL_STREAM" not in os.environ
    daemon = build(settings, state_dir, shows_secret=shows_secret)
    if not shows_secret and not (state_dir / HASH_FILE).exists():
        log.warning("there is no local secret yet; `coop-gateway new-secret` makes one")
    if daemon.local_secret is not None:
        sys.stdout.write(
            f"local secret: {daemon.local_secret}  (shown once; needed to widen consents)\n"
        )
        sys.stdout.flush()
    asyncio.run(run_until_stopped(daemon))
