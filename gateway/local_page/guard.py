"""Who may look at the page, and which requests may change anything.

The page is for the home's own network. A name that is not ours in the Host header (DNS rebinding),
an address from elsewhere, or a form sent from another site is refused before a page is made.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "x-frame-options": "DENY",
}
TOKEN_LASTS_S = 3_600


@dataclass(slots=True)
class FormToken:
    """A token that only someone who could read our page has."""

    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def now(self) -> str:
        """The token for a form that is made now."""
        return self._at(int(time.monotonic()) // TOKEN_LASTS_S)

    def fits(self, token: str) -> bool:
        """Whether a token was made within the last hour or two."""
        slot = int(time.monotonic()) // TOKEN_LASTS_S
        return any(hmac.compare_digest(token, self._at(slot - back)) for back in (0, 1))

    def _at(self, slot: int) -> str:
        return hmac.new(self._key, str(slot).encode(), hashlib.sha256).hexdigest()


class HomeOnly:
    """Middleware: home network, own names, own forms, strict headers.

    Args:
        app: The page.
        networks: Who may look; this machine always may.
        names: Names the page goes by.
    """

    def __init__(self, app: ASGIApp, *, networks: Sequence[str], names: Sequence[str]) -> None:
        self._app = app
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._names = {name.lower() for name in names} | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, content in SECURITY_HEADERS.items():
                    headers[name] = content
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if refusal is None:
            await self._app(scope, receive, guarded)
        else:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        client = scope.get("client")
        if client is None or not self._is_home(client[0]):
            return "This page is for the home's own network.\n"
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "This page does not go by that name; add it to local_page.names.\n"
        if scope["method"] not in ("GET", "HEAD") and not _is_own_form(headers, host):
            return "This form was not sent from this page.\n"
        return None

    def _is_home(self, address: str) -> bool:
        try:
            asked = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(asked, "ipv4_mapped", None)
        asked = mapped or asked
        return asked.is_loopback or any(asked in network for network in self._networks)

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return self._is_home(name)


def _is_own_form(headers: Headers, host: str) -> bool:
    """Whether the browser says that the form came from this page.

    `Sec-Fetch-Site` is set by the browser alone; older ones send at least `Origin`.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    if origin in (None, "null"):
        return site == "same-origin"
    return urlsplit(origin or "").netloc == host
