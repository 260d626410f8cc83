"""Pages answer in HTML, their errors too; who is not signed in is sent to sign in."""

from __future__ import annotations

import http
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from cloud import problem
from cloud.errors import CloudError, NotSignedIn
from cloud.problem import DETAILS, status_of
from cloud.web.shell import pages_of, shell
from gateway.wire.errors import WireError

Handler = Callable[[Request], Awaitable[Response]]


class PageRoute(APIRoute):
    """A route whose errors people can read."""

    def get_route_handler(self) -> Handler:  # type: ignore[override]  # FastAPI says Coroutine
        """Wrap the endpoint."""
        endpoint = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except NotSignedIn:
                return RedirectResponse("/sign-in", status_code=303)
            except (CloudError, WireError) as fault:
                status = status_of(fault)
                if status >= 500:
                    raise
                return problem_page(request, status, str(fault))
            except RequestValidationError:
                return problem_page(request, 422, "Some fields of this form cannot be taken.")
            finally:
                # Files of a form lie on the disk until somebody closes them.
                await request.close()

        return answer


async def answer_http_fault(request: Request, fault: Exception) -> Response:
    """Tell a browser on a page that there is nothing here, and a program in a problem document."""
    status = fault.status_code if isinstance(fault, HTTPException) else 500
    is_for_people = "text/html" in request.headers.get("accept", "")
    if status != 404 or not is_for_people or request.url.path.startswith("/api/"):
        return await problem.answer_http_fault(request, fault)
    return problem_page(request, status, f"T{DETAILS[status][1:]}.")


def problem_page(request: Request, status: int, detail: str) -> Response:
    """A page that says what is wrong and what to do."""
    title = {
        401: "Please sign in",
        403: "This is not yours to do",
        404: "There is nothing here",
        409: "Not now",
        422: "That did not fit",
        429: "Too many tries",
    }.get(status, http.HTTPStatus(status).phrase)
    shown = shell(request, session=None) | {"title": title, "detail": detail}
    return pages_of(request).render("problem.html", shown, status_code=status)
