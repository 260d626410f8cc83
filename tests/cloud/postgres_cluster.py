"""A PostgreSQL cluster of its own, thrown away at the end; never one that belongs to the machine."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INSTALL = "apt-get install postgresql"
START_S_MAX = 120


def find_tool(name: str) -> str:
    """Where a server program is; Debian keeps them out of PATH."""
    found = shutil.which(name)
    if found:
        return found
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    if installed:
        return str(installed[0])
    if shutil.which("apt-get"):
        pytest.fail(f"PostgreSQL is missing; install it: {INSTALL}")
    pytest.skip("PostgreSQL IS MISSING and this machine has no apt-get: nothing was tested on it")


@contextmanager
def postgres_cluster() -> Iterator[str]:
    """Start a cluster and give the SQLAlchemy address of an empty database."""
    initdb, server = find_tool("initdb"), find_tool("postgres")
    folder = Path(tempfile.mkdtemp(prefix="commonwatt-pg-"))
    # PostgreSQL refuses to run as root.
    owner = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
    if owner:
        shutil.chown(folder, owner)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        subprocess.run(
            [initdb, "-D", folder / "db", "-U", "coop", "-A", "trust", "-E", "UTF8", "--no-sync"],
            user=owner,
            check=True,
            capture_output=True,
            cwd=folder,
        )
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(folder)]
        process = subprocess.Popen(
            [server, "-D", folder / "db", "-p", str(port), *options],
            user=owner,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            wait_for(port)
            yield f"postgresql+pg8000://coop@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # "fast": does not wait for clients to leave
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int) -> None:
    deadline_s = time.monotonic() + START_S_MAX
    asking = [find_tool("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(asking, check=False).returncode != 0:
        assert time.monotonic() < deadline_s, "PostgreSQL did not start"
        time.sleep(0.1)
