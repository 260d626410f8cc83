"""Appraising a project: by the server, from its file and from weather and load files on record.

The figures are computed here and not taken from anybody, so that all projects are measured with one
method; the files are kept, so that anyone can run `solar-fund appraise` on the same ones. Members'
readings are never used: no consent covers it. The pooled load is a file too, such as the figures
that passed the privacy floor for a tender.
"""

from __future__ import annotations

import functools
import hashlib
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from cloud.database import Database
from cloud.errors import BadInput, FieldFault, NotAllowed, NotFound, StateConflict
from cloud.members.roles import Person, Role
from cloud.projects import repository
from cloud.projects.plan_file import read_plan
from cloud.projects.project_life import LISTED, life_after, life_of
from cloud.projects.repository import StoredEvent, StoredFile, details_text
from cloud.projects.usecases import put_state, require_project
from cloud.transparency.usecases import record
from solar_fund.errors import FundError, InputFileInvalid

if TYPE_CHECKING:
    # Loaded where it is used: pvlib takes seconds and 60 MB.
    from solar_fund.projects.project_plan import ProjectPlan
    from solar_fund.projects.self_consumption import PooledLoad
    from solar_fund.projects.weather_files import WeatherYear

WEATHER, LOAD = "weather", "load"
FILE_KINDS = (WEATHER, LOAD)
FILE_BYTES_MAX = 4 * 1024 * 1024
FILES_MAX = 100
LOAD_ROWS_MAX = 40_000
FUNDED = frozenset({"granted", "built", "operating"})

_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    """What an appraisal rests on, as it was read."""

    plan: ProjectPlan
    funded: tuple[tuple[str, ProjectPlan], ...]
    weather_name: str
    weather: bytes
    load_name: str
    load: bytes | None
    event_number: int


def keep_file(
    database: Database,
    *,
    kind: str,
    name: str,
    content: bytes,
    person: Person,
    now: datetime,
) -> StoredFile:
    """Keep a weather or load file that can be read; the same file again is the same.

    Raises:
        NotAllowed: The person is not of the board.
        BadInput: It is too large, or cannot be read; the place is named.
        StateConflict: There are too many files.
    """
    if not person.has(Role.BOARD):
        raise NotAllowed("only members of the board give files for appraisals")
    if kind not in FILE_KINDS:
        raise BadInput("a file is of the kind weather or load")
    if not 0 < len(content) <= FILE_BYTES_MAX:
        raise BadInput(f"a {kind} file has 1 to {FILE_BYTES_MAX} bytes")
    plain_name = _NAME.sub("-", Path(name).name)[-100:].strip("-.") or f"{kind}.csv"
    if kind == WEATHER:
        _weather_in(plain_name, content)
    else:
        _load_in(plain_name, content)
    file = StoredFile(
        sha256=hashlib.sha256(content).hexdigest(),
        kind=kind,
        name=plain_name,
        size_bytes=len(content),
        at=now,
    )
    with database.transaction() as connection:
        known = repository.file_row(connection, file.sha256)
        if known is not None:
            return known
        if len(repository.all_files(connection)) >= FILES_MAX:
            raise StateConflict(f"there are {FILES_MAX} files already; use one of them")
        repository.insert_file(connection, file, content, person.person_id)
        record(
            connection,
            kind="project_file.kept",
            facts={"bytes": file.size_bytes, "kind": kind, "sha256": file.sha256},
            at=now,
        )
    return file


def appraise_project(
    database: Database,
    project_id: str,
    *,
    weather_sha256: str,
    load_sha256: str | None,
    person: Person,
    now: datetime,
) -> dict[str, Any]:
    """Appraise a project that was screened, or that was not chosen in a vote.

    With a load, own use is computed alone and after the projects funded before; without one, it
    is the share assumed in the project file, and named as such.

    Returns:
        What is kept: the report of `solar-fund appraise`, and the hashes of what it rests on.

    Raises:
        NotFound: There is no such project or file.
        NotAllowed: The person is not of the board, or it is the own proposal.
        BadInput: The files do not fit the project; says why.
        StateConflict: It is not due, or something happened to the project meanwhile.
    """
    from solar_fund.projects.appraisal import appraisal_report, appraise  # noqa: PLC0415 - pvlib is heavy

    with database.reading() as connection:
        basis = _basis(connection, project_id, weather_sha256, load_sha256, person, now)
    try:
        appraisal = appraise(
            basis.plan,
            _weather_in(basis.weather_name, basis.weather),
            None if basis.load is None else _load_in(basis.load_name, basis.load),
            [plan for _project_id, plan in basis.funded] if basis.load is not None else [],
        )
    except FundError as fault:
        raise BadInput(f"{project_id} cannot be appraised: {fault}") from fault
    details: dict[str, Any] = {
        "after": [name for name, _plan in basis.funded] if basis.load is not None else [],
        "degradation": str(basis.plan.finance.degradation),
        "load_sha256": load_sha256,
        "report": appraisal_report(appraisal),
        "weather_sha256": weather_sha256,
    }
    evidence = hashlib.sha256(details_text(details).encode()).hexdigest()
    with database.transaction() as connection:
        events = repository.events_of(connection, project_id)
        if events[-1].event_number != basis.event_number:
            raise StateConflict(f"something happened to {project_id} meanwhile; appraise it again")
        put_state(
            connection,
            StoredEvent(
                project_id=project_id,
                kind="appraised",
                at=now,
                person_id=person.person_id,
                evidence=evidence,
                details=details,
            ),
            load_sha256=load_sha256,
            npv_minor=details["report"]["npv_minor"],
            weather_sha256=weather_sha256,
        )
    return details


def file_for(connection: Connection, sha256: str, person: Person) -> tuple[StoredFile, bytes]:
    """A file as it was given; loads are for board and auditor alone.

    Raises:
        NotFound: There is none, or it is not for this person.
    """
    file = repository.file_row(connection, sha256)
    content = repository.content_of_file(connection, sha256)
    if file is None or content is None:
        raise NotFound("file")
    if file.kind == LOAD and not person.has(Role.BOARD, Role.AUDITOR):
        raise NotFound("file")
    return file, content


def _basis(
    connection: Connection,
    project_id: str,
    weather_sha256: str,
    load_sha256: str | None,
    person: Person,
    now: datetime,
) -> _Basis:
    project, events = require_project(connection, project_id)
    if not person.has(Role.BOARD) or person.person_id == project.proposed_by:
        raise NotAllowed("a project is appraised by one of the board who did not propose it")
    life_after(
        events,
        StoredEvent(
            project_id=project_id, kind="appraised", at=now, person_id=None, evidence="0" * 64
        ),
    )
    if events[-1].kind == LISTED:
        raise StateConflict(f"{project_id} is on a ballot paper; wait until the vote is counted")
    weather_name, weather = _file_of(connection, weather_sha256, WEATHER)
    load_name, load = _file_of(connection, load_sha256, LOAD) if load_sha256 else ("", None)
    by_project = repository.events_by_project(connection)
    funded = [
        (one.project_id, read_plan(one.plan_text, otherwise_id=one.project_id))
        for one in reversed(repository.all_projects(connection))
        if life_of(by_project[one.project_id]).state in FUNDED
    ]
    return _Basis(
        plan=read_plan(project.plan_text, otherwise_id=project_id),
        funded=tuple(funded),
        weather_name=weather_name,
        weather=weather,
        load_name=load_name,
        load=load,
        event_number=events[-1].event_number,
    )


def _file_of(connection: Connection, sha256: str, kind: str) -> tuple[str, bytes]:
    file = repository.file_row(connection, sha256)
    content = repository.content_of_file(connection, sha256)
    if file is None or content is None or file.kind != kind:
        raise NotFound(f"{kind} file")
    return file.name, content


@functools.lru_cache(maxsize=4)
def _weather_in(name: str, content: bytes) -> WeatherYear:
    """Read a weather year; the readers of the fund want a file."""
    from solar_fund.projects.weather_files import read_weather  # noqa: PLC0415 - pvlib is heavy

    with tempfile.TemporaryDirectory(prefix="commonwatt-") as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        try:
            return read_weather(file)
        except InputFileInvalid as fault:
            raise _file_fault(name, fault) from fault


@functools.lru_cache(maxsize=2)
def _load_in(name: str, content: bytes) -> PooledLoad:
    from solar_fund.projects.self_consumption import read_load  # noqa: PLC0415 - pvlib is heavy

    if content.count(b"\n") > LOAD_ROWS_MAX:
        raise BadInput(f"{name}: more than {LOAD_ROWS_MAX} rows; give a year of quarter hours")
    with tempfile.TemporaryDirectory(prefix="commonwatt-") as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        try:
            return read_load(file)
        except InputFileInvalid as fault:
            raise _file_fault(name, fault) from fault


def _file_fault(name: str, fault: InputFileInvalid) -> BadInput:
    """The fault of a file, without the folder it lay in."""
    place = f", {fault.place}" if fault.place else ""
    problem = f"{name}{place}: {fault.problem}"
    return BadInput(problem, faults=(FieldFault(pointer="/file", problem=problem),))
