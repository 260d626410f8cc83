"""The transparency log over HTTP: open to everybody, because it holds nothing personal."""

from __future__ import annotations

from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from cloud.services import ServicesDep
from cloud.transparency import repository, usecases

ENTRIES_MAX = 500
Size = Annotated[int | None, Query(ge=0, le=2**53)]
Index = Annotated[int, Path(ge=0, le=2**53)]

router = APIRouter(prefix="/log", tags=["transparency log"])


class ConsistencyAnswer(BaseModel):
    """Proof between two sizes."""

    old_size: int
    new_size: int
    hashes: list[str]


class InclusionAnswer(BaseModel):
    """Proof for one entry."""

    index: int
    size: int
    entry: str
    hashes: list[str]


class EntriesAnswer(BaseModel):
    """Entries in order."""

    first: int
    size: int
    entries: list[str]


@router.get("/checkpoint", response_class=PlainTextResponse, operation_id="log_checkpoint")
def get_checkpoint(services: ServicesDep) -> PlainTextResponse:
    """The newest checkpoint as a signed note."""
    with services.database.reading() as connection:
        note = usecases.checkpoint_now(
            connection, origin=services.settings.log_origin, key=services.keys.log
        )
    return PlainTextResponse(note)


@router.get("/proof/consistency", operation_id="log_consistency")
def get_consistency(
    services: ServicesDep, old_size: Annotated[int, Query(ge=0, le=2**53)], new_size: Size = None
) -> ConsistencyAnswer:
    """Proof that the log only grew between two sizes."""
    with services.database.reading() as connection:
        size = repository.log_size(connection) if new_size is None else new_size
        hashes = usecases.prove_consistency(connection, old_size, size)
    return ConsistencyAnswer(
        old_size=old_size, new_size=size, hashes=[item.hex() for item in hashes]
    )


@router.get("/proof/inclusion/{index}", operation_id="log_inclusion")
def get_inclusion(services: ServicesDep, index: Index, size: Size = None) -> InclusionAnswer:
    """Proof that an entry is in the log."""
    with services.database.reading() as connection:
        proof = usecases.prove_inclusion(connection, index, size)
    return InclusionAnswer(
        index=index,
        size=proof.size,
        entry=proof.entry,
        hashes=[item.hex() for item in proof.hashes],
    )


@router.get("/proof/file/{index}", response_class=PlainTextResponse, operation_id="log_proof_file")
def get_proof_file(services: ServicesDep, index: Index) -> PlainTextResponse:
    """The same proof as a C2SP tlog-proof file, with its checkpoint inside."""
    with services.database.reading() as connection:
        note = usecases.checkpoint_now(
            connection, origin=services.settings.log_origin, key=services.keys.log
        )
        proof = usecases.prove_inclusion(connection, index)
    return PlainTextResponse(usecases.write_proof_file(proof, note))


@router.get("/entries", operation_id="log_entries")
def get_entries(
    services: ServicesDep,
    first: Annotated[int, Query(ge=0, le=2**53)] = 0,
    count: Annotated[int, Query(ge=1, le=ENTRIES_MAX)] = 100,
) -> EntriesAnswer:
    """Entries as they were logged, for anyone who wants to watch."""
    with services.database.reading() as connection:
        size = repository.log_size(connection)
        entries = repository.entries_from(connection, first=first, count=count)
    return EntriesAnswer(first=first, size=size, entries=[item.entry for item in entries])


@router.get("/verifier.py", response_class=PlainTextResponse, operation_id="log_verifier")
def get_verifier() -> PlainTextResponse:
    """A program of one file that checks receipts with nothing of ours; read it before you run it."""
    source = resources.files("cloud.transparency").joinpath("standalone_verifier.py")
    return PlainTextResponse(source.read_text("utf-8"))
