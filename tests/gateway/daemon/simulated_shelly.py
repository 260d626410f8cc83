"""A Shelly of the second generation that keeps records: HTTP RPC, pages, holes, digest password.

Source: Shelly Gen2+ documents of EMData, EM1Data and authentication (digest of RFC 7616, SHA-256).
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

REALM = "shellypro3em-0123456789ab"
NONCE = "60dc2c2b"
ONE_PHASE = ("total_act_energy", "total_act_ret_energy", "max_voltage")
THREE_PHASES = (
    *(f"{phase}_total_{kind}_energy" for phase in "abc" for kind in ("act", "act_ret")),
    "a_max_voltage",
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Shelly:
    """What the device recorded.

    Args:
        import_wh: Energy of the minute that begins at a moment [Wh]; None if it was without power.
        method: `EMData` or `EM1Data`.
        channel: Which instance has the records.
        password: It asks for one if there is one.
        page_records: Most records in an answer.
    """

    import_wh: Callable[[int], float | None]
    method: str = "EMData"
    channel: int = 0
    password: str | None = None
    page_records: int = 50
    asked: list[str] = field(default_factory=list)
    refused: int = 0

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
        """Answer a request: status, headers, body."""
        self.asked.append(path)
        parts = urlsplit(path)
        if self.password is not None and not self._knows(authorization, path):
            self.refused += 1
            challenge = f'Digest qop="auth", realm="{REALM}", nonce="{NONCE}", algorithm=SHA-256'
            return 401, {"WWW-Authenticate": challenge}, b""
        query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
        if parts.path != f"/rpc/{self.method}.GetData" or query["id"] != self.channel:
            return 404, {}, b'{"code":404,"message":"No handler for it"}'
        return 200, {}, json.dumps(self._page(query["ts"], query["end_ts"])).encode()

    def _page(self, first_s: int, last_s: int) -> dict[str, object]:
        keys = THREE_PHASES if self.method == "EMData" else ONE_PHASE
        runs: list[dict[str, object]] = []
        records, at_s, joined = 0, first_s - first_s % 60, False
        while at_s <= last_s and records < self.page_records:
            energy_wh = self.import_wh(at_s)
            if energy_wh is not None:
                if not joined:
                    runs.append({"ts": at_s, "period": 60, "values": []})
                phases = [energy_wh / 3, 0.0] * 3 if len(keys) > 3 else [energy_wh, 0.0]
                runs[-1]["values"].append([*phases, 231.2])  # type: ignore[attr-defined]  a list
                records += 1
            joined, at_s = energy_wh is not None, at_s + 60
        page: dict[str, object] = {"keys": keys, "data": runs}
        return page | ({"next_record_ts": at_s} if at_s <= last_s else {})

    def _knows(self, authorization: str, path: str) -> bool:
        told = dict(re.findall(r'(\w+)="?([^",]+)"?', authorization))
        if not told:
            return False
        own = sha256(f"admin:{REALM}:{self.password}")
        words = (own, NONCE, told["nc"], told["cnonce"], "auth", sha256(f"GET:{path}"))
        return told["username"] == "admin" and told["response"] == sha256(":".join(words))


@contextmanager
def shelly_at(device: Shelly) -> Iterator[str]:
    """Serve a device on a free port; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = device.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
