"""The API's description: `/openapi.json`, and `/docs` as a page of our own that works offline."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from cloud.web.shell import pages_of, shell

_BATCHES: dict[str, Any] = {
    "post": {
        "tags": ["readings"],
        "summary": "Take a batch of readings",
        "description": (
            "Body: a signed `Batch` (see `gateway.wire.batch`), gzip or plain. Answers 200 with a "
            "`BatchAnswer` only after the batch is on disk. The same batch again is a duplicate."
        ),
        "operationId": "batches",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "schema": {"type": "string"},
                "description": text,
            }
            for name, text in (
                ("Commonwatt-Key", "key id of the gateway"),
                ("Commonwatt-Signature", "Ed25519 signature over the unpacked body, base64"),
            )
        ],
        "responses": {
            "200": {"description": "On disk; the answer says what became of each part"},
            "400": {"description": "Not a batch"},
            "401": {"description": "Unknown key or bad signature"},
            "403": {"description": "The gateway was revoked"},
            "409": {"description": "The number is taken by another batch"},
            "413": {"description": "Too large"},
            "503": {"description": "Not stored; send again later"},
        },
    }
}


def add_docs(app: FastAPI) -> None:
    """Add `/openapi.json`, `/docs` and `/healthz`."""

    @app.get("/openapi.json", include_in_schema=False)
    def get_openapi() -> JSONResponse:
        return JSONResponse(schema_of(app))

    @app.get("/docs", include_in_schema=False)
    def get_docs(request: Request) -> Response:
        schema = schema_of(app)
        shown = shell(request, session=None) | {"schema": schema, "groups": _groups(schema)}
        return pages_of(request).render("api.html", shown)

    @app.get("/healthz", include_in_schema=False)
    def get_health() -> JSONResponse:
        with app.state.services.database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        return JSONResponse({"status": "ok"})


def schema_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI schema, the plain route for readings included."""
    schema = app.openapi()
    schema["paths"].setdefault("/api/v1/batches", _BATCHES)
    return schema


def _groups(schema: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            group = (operation.get("tags") or ["other"])[0]
            groups.setdefault(group, []).append(
                {"method": method.upper(), "path": path, **operation}
            )
    return groups
