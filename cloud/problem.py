"""Errors as RFC 9457 problem documents: one table decides the status, nothing leaks inside out.

Source: RFC 9457.
"""

from __future__ import annotations

import http
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cloud import errors
from gateway.wire.errors import (
    BadConsentEvent,
    BadLogProof,
    BadSignature,
    MalformedMessage,
    MessageTooLarge,
    WireError,
)

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[Exception], int] = {
    errors.BadInput: 422,
    errors.NotSignedIn: 401,
    errors.BadSignInLink: 400,
    errors.NotAllowed: 403,
    errors.ForgeryRefused: 403,
    errors.NotFound: 404,
    errors.StateConflict: 409,
    errors.UnknownGateway: 401,
    errors.GatewayRevoked: 403,
    errors.BadClaimCode: 403,
    errors.BodyTooLarge: 413,
    errors.TooManyRequests: 429,
    errors.StoreUnavailable: 503,
    errors.DatabaseBusy: 503,
    MalformedMessage: 400,
    MessageTooLarge: 413,
    BadSignature: 401,
    BadConsentEvent: 409,
    BadLogProof: 409,
}
"""Status by error; a subclass without an entry has that of its nearest base, else 500."""

FORESEEN = (errors.CloudError, WireError, ClientDisconnect)
"""What an endpoint may raise."""

DETAILS = {
    404: "there is nothing at this address",
    405: "this address does not take that method; the Allow header says which",
}
"""What is said of a status that routing gives, in place of its bare name."""

log = logging.getLogger("commonwatt.problem")


def status_of(fault: Exception) -> int:
    """HTTP status of an error."""
    return next((STATUS[kind] for kind in type(fault).__mro__ if kind in STATUS), 500)


def problem_response(
    request: Request,
    *,
    status: int,
    name: str,
    detail: str,
    faults: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Build a problem document.

    Args:
        request: What was asked.
        status: HTTP status.
        name: Short name of the kind of problem, in the type's URN.
        detail: What is wrong here, and what to do.
        faults: What is wrong where, for input with several fields.
        headers: More headers.
    """
    document: dict[str, Any] = {
        "type": f"urn:commonwatt:problem:{name}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": f"urn:commonwatt:request:{getattr(request.state, 'request_id', 'unknown')}",
    }
    if faults:
        document["errors"] = list(faults)
    return JSONResponse(document, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def problem_of(request: Request, fault: Exception) -> JSONResponse:
    """Say one of our own errors as a problem document; unknown ones say nothing of their inside."""
    status = status_of(fault)
    if status >= 500:
        log.error(
            "fault kind=%s id=%s", type(fault).__name__, getattr(request.state, "request_id", "-")
        )
    if status == 500:
        return problem_response(
            request,
            status=500,
            name="internal",
            detail="something went wrong here; the instance names the log line",
        )
    headers: dict[str, str] = {}
    if isinstance(fault, errors.TooManyRequests):
        headers["Retry-After"] = str(fault.retry_after_s)
    elif status == 503:
        headers["Retry-After"] = "5"
    faults = (
        [{"pointer": item.pointer, "problem": item.problem} for item in fault.faults]
        if isinstance(fault, errors.BadInput)
        else []
    )
    return problem_response(
        request,
        status=status,
        name=_kebab(type(fault).__name__),
        detail=str(fault),
        faults=faults,
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Make every error of an application that was foreseen a problem document."""
    for kind in FORESEEN:
        app.add_exception_handler(kind, _on_foreseen)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, answer_http_fault)


def answer_foreseen(request: Request, fault: Exception) -> JSONResponse:
    """Answer one of `FORESEEN`."""
    if isinstance(fault, ClientDisconnect):
        # Nobody reads this; without it every line that dies would look like a fault of ours.
        return problem_response(
            request,
            status=400,
            name="hung-up",
            detail="the line broke before the request was whole",
        )
    return problem_of(request, fault)


async def _on_foreseen(request: Request, fault: Exception) -> JSONResponse:
    return answer_foreseen(request, fault)


def answer_unforeseen(request: Request, fault: Exception) -> JSONResponse:
    """Log what nobody foresaw with its place, and say only that something went wrong."""
    log.error("unforeseen fault", exc_info=fault)
    return problem_of(request, fault)


async def _on_validation(request: Request, fault: Exception) -> JSONResponse:
    found = fault.errors() if isinstance(fault, RequestValidationError) else []
    # The input itself is left out: it may be personal, and it is not ours to repeat.
    faults = [
        {"pointer": "/" + "/".join(str(step) for step in item["loc"]), "problem": str(item["msg"])}
        for item in found[:20]
    ]
    return problem_response(
        request,
        status=422,
        name="bad-input",
        detail="some fields cannot be taken; errors names each with its place",
        faults=faults,
    )


async def answer_http_fault(request: Request, fault: Exception) -> Response:
    """Say what routing and reading of a request refuse as a problem document."""
    if isinstance(fault.__cause__, errors.CloudError):
        # FastAPI wraps whatever stops it from reading a body; what stopped it is the answer.
        return problem_of(request, fault.__cause__)
    status = fault.status_code if isinstance(fault, HTTPException) else 500
    phrase = http.HTTPStatus(status).phrase
    return problem_response(
        request,
        status=status,
        name=_kebab(phrase.replace(" ", "")),
        detail=DETAILS.get(status, phrase),
        headers=getattr(fault, "headers", None),
    )


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
