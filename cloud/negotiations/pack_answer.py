"""The tender pack over HTTP, the same for the board and for suppliers."""

from __future__ import annotations

import re
from enum import StrEnum

from fastapi import Response

from cloud.errors import NotFound
from cloud.negotiations import repository
from cloud.negotiations.tender_pack import pack_csv, pack_json, pack_pdf
from cloud.services import Services


class PackForm(StrEnum):
    """Form of a tender pack, as its file is named."""

    PDF = "pdf"
    JSON = "json"
    CSV = "csv"


MEDIA_TYPES = {
    PackForm.PDF: "application/pdf",
    PackForm.JSON: "application/json",
    PackForm.CSV: "text/csv; charset=utf-8",
}


def answer(services: Services, tender_id: str, form: PackForm) -> Response:
    """Answer with the pack of a stored tender.

    Raises:
        NotFound: No such tender.
        StateConflict: A PDF is asked for and this machine cannot print.
    """
    with services.database.reading() as connection:
        tender = repository.tender_row(connection, tender_id)
    if tender is None:
        raise NotFound(f"tender {tender_id}")
    issuer = services.settings.coop_name
    content = {
        PackForm.PDF: lambda: pack_pdf(tender, issuer=issuer),
        PackForm.JSON: lambda: pack_json(tender, issuer=issuer).encode(),
        PackForm.CSV: lambda: pack_csv(tender).encode(),
    }[form]()
    name = re.sub(r"[^A-Za-z0-9-]+", "-", tender.tender_id)
    return Response(
        content,
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="tender-{name}.{form}"'},
    )
