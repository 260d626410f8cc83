"""A real PostgreSQL for the tests that run over both databases."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def postgres_programs():
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        return folder
    found = shutil.which("initdb")
    if found is None:
        pytest.fail("PostgreSQL is missing; install it: apt-get install postgresql")
    return Path(found).parent


def as_postgres(command):
    """PostgreSQL refuses to run as root; Debian's package brings a user for it."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


@pytest.fixture(scope="session")
def postgres_url():
    """A throw-away PostgreSQL cluster that listens on a socket file only."""
    programs = postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="fund-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    cluster = folder / "cluster"
    initdb = [
        programs / "initdb",
        "-D",
        cluster,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-N",
        "-E",
        "UTF8",
    ]
    subprocess.run(as_postgres([str(part) for part in initdb]), check=True, capture_output=True)
    settings = f"-k {folder} -c listen_addresses='' -c fsync=off"
    pg_ctl = [str(programs / "pg_ctl"), "-D", str(cluster), "-w"]
    log = ["-l", str(folder / "log")]
    start = [*pg_ctl, "-o", settings, *log, "start"]
    subprocess.run(as_postgres(start), check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql+pg8000://postgres@/postgres?unix_sock={folder}/.s.PGSQL.5432"
    finally:
        subprocess.run(
            as_postgres([*pg_ctl, "-m", "immediate", "stop"]), check=True, capture_output=True
        )
        shutil.rmtree(folder, ignore_errors=True)
