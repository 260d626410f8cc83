"""One file that holds the co-op, and the way back from it.

A backup is a tar with a list of SHA-256 hashes. It can be made while the server runs: SQLite files
are copied through SQLite, the database before the readings, so that no erasure is in the database
whose readings are still in the copy; Parquet files never change once they are listed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cloud.errors import BadInput, BadSetting, CloudError
from cloud.readings.catalogue import live_files
from cloud.readings.reader import CATALOGUE_FILE
from cloud.settings import SETTINGS_FILE, Settings

LIST_FILE = "backup.json"
FORMAT = "commonwatt-backup/1"
TRIES = 5
FILES_MAX = 1_000_000
_DATABASE_FILE = "cloud.sqlite"
_READINGS = "readings"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSummary:
    """What is in a backup.

    Args:
        file: The tar.
        made_at: When, ISO 8601.
        files: Number of files in it.
        bytes_in_all: Their size [bytes].
    """

    file: str
    made_at: str
    files: int
    bytes_in_all: int


def make_backup(settings: Settings, target: Path, *, now: datetime) -> BackupSummary:
    """Write everything into one new file, readable by its owner only.

    Raises:
        BadSetting: The database is not SQLite; PostgreSQL has its own tool.
        BadInput: The target exists, or there is nothing to back up.
    """
    if settings.database_url and not settings.database_url.startswith("sqlite"):
        raise BadSetting(
            "the database is not in data_dir; back it up with pg_dump, and copy keys and readings"
        )
    source = settings.data_dir
    if not (source / _DATABASE_FILE).is_file():
        raise BadInput(f"{source}: there is no co-op here; check --data")
    if target.exists():
        raise BadInput(f"{target}: exists already; choose a new name")
    with tempfile.TemporaryDirectory(dir=source, prefix="backup-") as folder:
        copy = Path(folder)
        _copy_sqlite(source / _DATABASE_FILE, copy / _DATABASE_FILE)
        for name in (SETTINGS_FILE, "keys/coop.key", "keys/log.key"):
            if (source / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, copy / name)
        _copy_readings(source / _READINGS, copy / _READINGS)
        listed = _list_files(copy)
        document = {"format": FORMAT, "made_at": now.isoformat(), "files": listed}
        (copy / LIST_FILE).write_text(json.dumps(document, indent=1))
        _write_tar(copy, target)
    return BackupSummary(
        file=str(target),
        made_at=now.isoformat(),
        files=len(listed),
        bytes_in_all=sum(size for _digest, size in listed.values()),
    )


def restore_backup(file: Path, data_dir: Path) -> BackupSummary:
    """Unpack a backup into a new folder, and check every file.

    Raises:
        BadInput: The folder is not empty, or the file is no whole backup.
    """
    if data_dir.exists() and any(data_dir.iterdir()):
        raise BadInput(f"{data_dir}: is not empty; restore into a new folder")
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with tarfile.open(file) as tar:
            if len(tar.getmembers()) > FILES_MAX:
                raise BadInput(f"{file}: holds more than {FILES_MAX} files; this is no backup")
            tar.extractall(data_dir, filter="data")
        document = json.loads((data_dir / LIST_FILE).read_text())
        listed = {str(name): tuple(found) for name, found in document["files"].items()}
        if document["format"] != FORMAT or listed != _list_files(data_dir):
            raise BadInput(f"{file}: files are missing or damaged; use another backup")
    except (tarfile.TarError, ValueError, KeyError, OSError, CloudError) as fault:
        shutil.rmtree(data_dir)
        if isinstance(fault, BadInput):
            raise
        raise BadInput(f"{file}: this is no backup of ours ({fault})") from fault
    (data_dir / LIST_FILE).unlink()
    return BackupSummary(
        file=str(file),
        made_at=str(document["made_at"]),
        files=len(listed),
        bytes_in_all=sum(int(size) for _digest, size in listed.values()),
    )


def _copy_sqlite(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        closing(sqlite3.connect(source, timeout=20)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")


def _copy_readings(source: Path, target: Path) -> None:
    if not (source / CATALOGUE_FILE).is_file():
        return
    for _ in range(TRIES):
        shutil.rmtree(target, ignore_errors=True)
        _copy_sqlite(source / CATALOGUE_FILE, target / CATALOGUE_FILE)
        with closing(sqlite3.connect(target / CATALOGUE_FILE)) as connection:
            wanted = [found.path for found in live_files(connection)]
        try:
            for name in wanted:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, target / name)
        except FileNotFoundError:
            continue
        return
    raise BadInput("readings were compacted again and again meanwhile; try again in a minute")


def _list_files(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (_digest(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LIST_FILE
    }


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write_tar(folder: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path in sorted(folder.rglob("*")):
                tar.add(path, arcname=str(path.relative_to(folder)), recursive=False)
        out.flush()
        os.fsync(out.fileno())
    partial.rename(target)
