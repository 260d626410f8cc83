"""The household's own page: what the gateway sees, what leaves, and how to stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway import household
from gateway.errors import GatewayError, WrongSecret
from gateway.local_page import view
from gateway.local_page.guard import FormToken, HomeOnly
from gateway.outbox.figures import export
from gateway.uplink.https import software_name
from gateway.wire.reading import Resolution

if TYPE_CHECKING:
    from gateway.daemon import Daemon

FORM_BYTES_MAX = 8_192
SECRET_PAUSE_S = 2.0
"""After several wrong secrets each further try waits this long [s]."""
STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "source-sans-3.woff2": "font/woff2",
}
_FILES = {"source-sans-3.woff2": "vendor/source-sans-3/5.3.0/source-sans-3-latin-wght-normal.woff2"}

Form = dict[str, list[str]]


class LocalPage:
    """The pages, over a running gateway."""

    def __init__(self, daemon: Daemon) -> None:
        """Load the templates; nothing is served yet."""
        self._daemon = daemon
        self._token = FormToken()
        self._secret_lock = asyncio.Lock()
        self._templates = Environment(
            loader=PackageLoader("gateway.local_page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def app(self) -> Starlette:
        """The application to serve."""
        page = self._daemon.settings.local_page
        return Starlette(
            routes=[
                Route("/", self.now),
                Route("/meters", self.meters),
                Route("/leaves", self.leaves),
                Route("/settings", self.settings),
                Route("/live.json", self.live),
                Route("/export.json", self.export),
                Route("/last-message.json", self.last_message),
                Route("/static/{name}", self.static),
                Route("/pause", self.pause, methods=["POST"]),
                Route("/resume", self.resume, methods=["POST"]),
                Route("/pair", self.pair, methods=["POST"]),
                Route("/accept-log", self.accept_log, methods=["POST"]),
                Route("/consents/{consent_id}/give", self.give, methods=["POST"]),
                Route("/consents/{consent_id}/narrow", self.narrow, methods=["POST"]),
                Route("/consents/{consent_id}/withdraw", self.withdraw, methods=["POST"]),
            ],
            middleware=[Middleware(HomeOnly, networks=page.networks, names=page.names)],
            exception_handlers={HTTPException: self._http_fault},
        )

    async def now(self, request: Request) -> Response:
        """The first page: light, meters, fence, buffer, health."""
        return self._page(request, "now.html", self._now())

    async def meters(self, request: Request) -> Response:
        """Every number of every meter."""
        return self._page(request, "meters.html", {"tiles": view.tiles(self._daemon)})

    async def leaves(self, request: Request) -> Response:
        """Consents, and what left by day."""
        return self._leaves(request, problem="")

    async def settings(self, request: Request) -> Response:
        """Pairing, keys and what happened."""
        return self._settings(request, problem="", status=HTTPStatus.OK)

    async def live(self, _request: Request) -> Response:
        """What changes from second to second, for the page's script."""
        lamp = view.lamp(self._daemon)
        return JSONResponse(
            {
                "lamp": {"kind": lamp.kind, "title": lamp.title, "says": lamp.says},
                "waiting": view.room(self._daemon)[0],
                "meters": [
                    {
                        "name": tile.name,
                        "power": _watts(tile.power_w),
                        "spark": tile.spark,
                        "says": tile.says,
                    }
                    for tile in view.tiles(self._daemon)
                ],
            }
        )

    async def export(self, _request: Request) -> Response:
        """Everything the gateway holds, as a file."""
        with self._daemon.store.reading() as connection:
            answer = JSONResponse(export(connection))
        answer.headers["content-disposition"] = 'attachment; filename="gateway.json"'
        return answer

    async def last_message(self, _request: Request) -> Response:
        """The last message, byte for byte as it was signed and sent."""
        payload = self._daemon.store.fact("last_message")
        if payload is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "Nothing was sent yet.")
        return Response(payload, media_type="application/json")

    async def static(self, request: Request) -> Response:
        """The page's few files."""
        name = str(request.path_params["name"])
        if name not in STATIC:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        path = resources.files("gateway.local_page").joinpath("static", _FILES.get(name, name))
        return Response(
            path.read_bytes(),
            media_type=STATIC[name],
            headers={"cache-control": "max-age=86400"},
        )

    async def pause(self, request: Request) -> Response:
        """Send nothing until further notice."""
        await self._form(request)
        household.pause(self._daemon.store, self._daemon.watch.now())
        return _back("/")

    async def resume(self, request: Request) -> Response:
        """Send again; what waited is sent or erased."""
        form = await self._form(request)
        erase = form.get("waiting") == ["erase"]
        if erase:
            await self._daemon.flush()
        household.resume(self._daemon.store, self._daemon.watch.now(), erase=erase)
        self._daemon.wake_sender()
        return _back("/")

    async def pair(self, request: Request) -> Response:
        """Bind this gateway to a household."""
        form = await self._form(request)

        async def bind() -> None:
            await self._check_secret(form)
            await self._daemon.uplink.pair(_one(form, "code"))
            self._daemon.reload_book()

        try:
            await bind()
        except GatewayError as fault:
            return self._settings(request, problem=str(fault), status=HTTPStatus.BAD_REQUEST)
        return _back("/leaves")

    async def accept_log(self, request: Request) -> Response:
        """Believe the co-op's log anew after an alarm; needs the local secret."""
        form = await self._form(request)
        daemon = self._daemon
        try:
            await self._check_secret(form)
            await asyncio.to_thread(
                household.accept_log,
                daemon.store,
                daemon.identity,
                secret=_one(form, "secret"),
                now=daemon.watch.now(),
            )
        except GatewayError as fault:
            return self._settings(request, problem=str(fault), status=HTTPStatus.BAD_REQUEST)
        daemon.wake_sender()
        return _back("/settings")

    async def give(self, request: Request) -> Response:
        """Say yes to an offer; needs the local secret."""
        form = await self._form(request)
        names = {meter.name for meter in self._daemon.settings.meters}
        meters = [name for name in form.get("meter", []) if name in names]

        async def say_yes() -> None:
            await self._check_secret(form)
            await asyncio.to_thread(
                household.give,
                self._daemon.store,
                self._daemon.identity,
                offer_id=str(request.path_params["consent_id"]),
                secret=_one(form, "secret"),
                meters=meters,
                resolution=_resolution(form),
                now=self._daemon.watch.now(),
            )

        return await self._changing(request, say_yes)

    async def narrow(self, request: Request) -> Response:
        """Let less out."""
        form = await self._form(request)

        async def say_less() -> None:
            await asyncio.to_thread(
                household.narrow,
                self._daemon.store,
                self._daemon.identity,
                consent_id=str(request.path_params["consent_id"]),
                resolution=_resolution(form),
                now=self._daemon.watch.now(),
            )

        return await self._changing(request, say_less)

    async def withdraw(self, request: Request) -> Response:
        """End a consent."""
        await self._form(request)

        async def say_no() -> None:
            await asyncio.to_thread(
                household.withdraw,
                self._daemon.store,
                self._daemon.identity,
                consent_id=str(request.path_params["consent_id"]),
                now=self._daemon.watch.now(),
            )

        return await self._changing(request, say_no)

    async def _changing(self, request: Request, change: Callable[[], Awaitable[None]]) -> Response:
        try:
            await change()
        except GatewayError as fault:
            return self._leaves(request, problem=str(fault))
        self._daemon.reload_book()
        return _back("/leaves")

    async def _check_secret(self, form: Form) -> None:
        """Check the secret, one try at a time, and slowly after several wrong ones."""
        async with self._secret_lock:
            identity = self._daemon.identity
            if identity.must_wait:
                await asyncio.sleep(SECRET_PAUSE_S)
            if not _one(form, "secret"):
                raise WrongSecret
            await asyncio.to_thread(identity.check_secret, _one(form, "secret"))

    async def _form(self, request: Request) -> Form:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_BYTES_MAX:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            form = parse_qs(body.decode("ascii"), max_num_fields=64)
        except ValueError as fault:
            raise HTTPException(HTTPStatus.BAD_REQUEST) from fault
        if not self._token.fits(_one(form, "token")):
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "This form is too old. Go back, reload the page, try again."
            )
        return form

    def _now(self) -> dict[str, object]:
        daemon = self._daemon
        waiting, most, days = view.room(daemon)
        return {
            "lamp": view.lamp(daemon),
            "tiles": view.tiles(daemon),
            "stays": view.stays(daemon),
            "leaves": view.leaves(daemon.pipeline.book),
            "message": view.last_message(daemon),
            "waiting": waiting,
            "most": most,
            "days": days,
            "full_px": max(6, round(600 * waiting / most)) if waiting else 0,
            "problem": daemon.problems.get("send") or daemon.problems.get("sync") or "",
            "health": view.health_facts(daemon),
            "commit_every_s": round(daemon.settings.outbox.commit_every_s),
        }

    def _leaves(self, request: Request, *, problem: str) -> Response:
        daemon = self._daemon
        content: dict[str, object] = {
            "rows": view.consent_rows(daemon),
            "meters": [(meter.name, view.label_of(meter.name)) for meter in daemon.settings.meters],
            "departures": view.log_of_departures(daemon),
            "figures": view.counts(daemon),
            "message": view.last_message(daemon),
            "problem": problem,
            "purpose_words": view.PURPOSE_WORDS,
            "step_words": view.STEP_WORDS,
            "quantity_words": view.QUANTITY_WORDS,
            "label_of": view.label_of,
        }
        status = HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK
        return self._page(request, "leaves.html", content, status)

    def _settings(self, request: Request, *, problem: str, status: HTTPStatus) -> Response:
        daemon = self._daemon
        content: dict[str, object] = {
            "pinned": daemon.identity.pinned,
            "key_id": daemon.identity.key_id,
            "events": view.events(daemon),
            "problem": problem,
            "code": request.query_params.get("code", "")[:40],
            "software": software_name(),
            "fork": (daemon.store.fact("fork") or b"").decode(),
        }
        return self._page(request, "settings.html", content, status)

    def _page(
        self,
        request: Request,
        template: str,
        content: dict[str, object],
        status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:
        page = self._templates.get_template(template).render(
            path=request.url.path,
            token=self._token.now(),
            zone=self._daemon.settings.gateway.household_timezone,
            watts=_watts,
            simulated=self._daemon.settings.simulation is not None,
            **content,
        )
        return HTMLResponse(page, status_code=status)

    async def _http_fault(self, request: Request, fault: Exception) -> Response:
        status = fault.status_code if isinstance(fault, HTTPException) else 500
        detail = fault.detail if isinstance(fault, HTTPException) else ""
        return self._page(request, "fault.html", {"detail": detail}, HTTPStatus(status))


def _back(path: str) -> Response:
    return RedirectResponse(path, status_code=HTTPStatus.SEE_OTHER)


def _one(form: Form, name: str) -> str:
    return form.get(name, [""])[0]


def _resolution(form: Form) -> Resolution | None:
    told = _one(form, "resolution")
    return Resolution(told) if told in set(Resolution) else None


def _watts(power_w: int | None) -> str:
    return "–" if power_w is None else f"{power_w:,}"
