"""Reading the forms of projects: fields with bounds, and documents that are hashed and not kept.

A body is read only after it is known who sends it, because photos and weather files are larger than
what strangers may send.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile

from cloud.errors import BadInput, FieldFault
from cloud.members.access import SessionDep

_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SentForm:
    """A form as it came from somebody who is signed in."""

    fields: FormData

    def text(self, name: str, *, least: int = 1, most: int) -> str:
        """A field's text, its ends trimmed.

        Raises:
            BadInput: It is missing, too short or too long.
        """
        found = self.fields.get(name, "")
        text = found.replace("\r\n", "\n").strip() if isinstance(found, str) else ""
        if not least <= len(text) <= most:
            raise _fault(name, f"write {least} to {most} characters")
        return text

    def number(self, name: str, *, least: int, most: int) -> int:
        """A whole number.

        Raises:
            BadInput: It is none, or out of bounds.
        """
        text = self.text(name, least=0, most=20)
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
            raise _fault(name, f"write a whole number from {least} to {most}")
        return int(text)

    def percent(self, name: str) -> Fraction:
        """A whole per cent as a share.

        Raises:
            BadInput: It is none.
        """
        return Fraction(self.number(name, least=0, most=100), 100)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of several.

        Raises:
            BadInput: It is another.
        """
        text = self.text(name, least=0, most=100)
        if text not in choices:
            raise _fault(name, f"choose one of {', '.join(choices)}")
        return text

    def several(self, name: str, *, most: int) -> tuple[str, ...]:
        """All that is ticked under a name.

        Raises:
            BadInput: It is too much.
        """
        found = tuple(one for one in self.fields.getlist(name) if isinstance(one, str))
        if len(found) > most:
            raise _fault(name, f"tick {most} at most")
        return found

    def end_of_day(self, name: str, zone: ZoneInfo) -> datetime | None:
        """The end of a local day; None if the field is empty.

        Raises:
            BadInput: It is no date.
        """
        text = self.text(name, least=0, most=10)
        if not text:
            return None
        try:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=1)
        except (ValueError, OverflowError) as fault:
            raise _fault(name, "write a date as 2026-10-31") from fault

    async def file(self, name: str, *, bytes_max: int) -> tuple[str, bytes]:
        """A file's name and what is in it.

        Raises:
            BadInput: There is none, or it is too large.
        """
        found = self.fields.get(name)
        if not isinstance(found, UploadFile) or not found.size:
            raise _fault(name, "choose a file")
        if found.size > bytes_max:
            raise _fault(name, f"the file is larger than {bytes_max} bytes")
        return found.filename or name, await found.read()

    async def evidence(self) -> str:
        """SHA-256 of the document, or the hash that was written instead.

        Raises:
            BadInput: There is neither, or the two differ.
        """
        written = self.text("evidence", least=0, most=64).lower()
        found = self.fields.get("document")
        if not isinstance(found, UploadFile) or not found.size:
            return written
        digest = hashlib.sha256()
        while chunk := await found.read(_CHUNK_BYTES):
            digest.update(chunk)
        if written and written != digest.hexdigest():
            raise _fault("document", f"its SHA-256 is {digest.hexdigest()}, not the one written")
        return digest.hexdigest()


async def sent_form(request: Request, _session: SessionDep) -> SentForm:
    """The form of a request, read after it is known who sends it."""
    return SentForm(fields=await request.form())


FormDep = Annotated[SentForm, Depends(sent_form)]
"""`form: FormDep` in an endpoint."""


def _fault(name: str, problem: str) -> BadInput:
    return BadInput(f"{name}: {problem}", faults=(FieldFault(pointer=f"/{name}", problem=problem),))
