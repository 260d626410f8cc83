"""`Idempotency-Key`: a request that moves money, a vote or an offer counts once, however often sent.

The key and the answer are stored in the transaction of the effect, so there is never one without
the other. For 24 hours the same key with the same request gets the first answer again; with
another request it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from sqlalchemy import Column, Connection, Index, Integer, String, Table, Text, delete, select

from cloud.database import UtcTime, metadata
from cloud.errors import BadInput, FieldFault, KeyReused
from cloud.members.access import PersonDep

HEADER = "Idempotency-Key"
FORM_FIELD = "idempotency_key"
KEPT_FOR = timedelta(hours=24)
KEY_CHARS_MAX = 100
REPLAYED_HEADER = "Idempotency-Replayed"
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

answers = Table(
    "idempotent_answers",
    metadata,
    Column("person_id", String(64), primary_key=True),
    Column("key", String(KEY_CHARS_MAX), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_idempotent_answers_at", "at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """A request that shall count once.

    Args:
        person_id: Who sent it; keys of different people never meet.
        key: The key they chose.
        request_hash: SHA-256 over method, path and body, hex.
    """

    person_id: str
    key: str
    request_hash: str

    def do(
        self,
        connection: Connection,
        work: Callable[[], Mapping[str, Any]],
        *,
        now: datetime,
        status: int = 201,
    ) -> JSONResponse:
        """Do the work, or give the answer of the first time.

        Args:
            connection: The transaction in which the work is done.
            work: Does it and returns the answer, JSON values only.
            now: The time.
            status: HTTP status of the answer.

        Raises:
            KeyReused: The key came with another request before.
        """
        connection.execute(delete(answers).where(answers.c.at <= now - KEPT_FOR))
        known = connection.execute(
            select(answers).where(answers.c.person_id == self.person_id, answers.c.key == self.key)
        ).one_or_none()
        if known is not None:
            if known.request_hash != self.request_hash:
                raise KeyReused
            return JSONResponse(
                json.loads(known.document),
                status_code=known.status,
                headers={REPLAYED_HEADER: "true"},
            )
        document = dict(work())
        connection.execute(
            answers.insert().values(
                person_id=self.person_id,
                key=self.key,
                request_hash=self.request_hash,
                status=status,
                document=json.dumps(document),
                at=now,
            )
        )
        return JSONResponse(document, status_code=status)


async def once_per_key(request: Request, person: PersonDep) -> Once:
    """Read the key from the header, or from a form's hidden field.

    Raises:
        BadInput: There is none, or it is too long.
    """
    is_form = request.headers.get("content-type", "").startswith(_FORM_TYPES)
    if is_form:
        form = await request.form()
        sent = sorted((name, field) for name, field in form.multi_items() if isinstance(field, str))
        body = json.dumps(sent).encode()
        key = request.headers.get(HEADER) or str(form.get(FORM_FIELD, ""))
    else:
        body = await request.body()
        key = request.headers.get(HEADER, "")
    if not 1 <= len(key) <= KEY_CHARS_MAX or not key.isprintable():
        raise BadInput(
            f"this request needs the header {HEADER}, so that it counts once",
            faults=(
                FieldFault(pointer=HEADER, problem=f"give 1 to {KEY_CHARS_MAX} random characters"),
            ),
        )
    what = f"{request.method} {request.url.path}\n".encode() + body
    return Once(person_id=person.person_id, key=key, request_hash=hashlib.sha256(what).hexdigest())


OnceDep = Annotated[Once, Depends(once_per_key)]
"""`once: OnceDep` in an endpoint; then `once.do(connection, work, now=…)` inside its transaction."""
