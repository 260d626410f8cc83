"""Static files, held in memory with their compressed twins, under an address that names their content.

The address carries a hash over all files, so a browser may keep them for ever, and a page that
is newer than a cached style sheet can never meet the wrong one.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """One file.

    Args:
        content: Its bytes.
        packed: Gzip of them, or None where that does not help.
        media_type: For the Content-Type header.
    """

    content: bytes
    packed: bytes | None
    media_type: str


class StaticFiles:
    """All static files of the cloud's pages."""

    def __init__(self, root: Traversable | None = None) -> None:
        self._files = dict(_read_tree(root or resources.files("cloud.web") / "static", ""))
        tree = hashlib.sha256()
        for name in sorted(self._files):
            tree.update(name.encode() + b"\0" + hashlib.sha256(self._files[name].content).digest())
        self._tree_hash = tree.hexdigest()[:12]

    def address(self, name: str) -> str:
        """Address of a file.

        Raises:
            KeyError: There is no such file.
        """
        if name not in self._files:
            raise KeyError(name)
        return f"/static/{self._tree_hash}/{name}"

    def answer(self, request: Request) -> Response:
        """Serve `/static/{tree}/{name}`.

        Raises:
            HTTPException: There is no such file.
        """
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        headers = {"Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        if request.path_params["tree"] == self._tree_hash:
            headers["Cache-Control"] = "public, max-age=31536000, immutable"
        if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(found.packed, media_type=found.media_type, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)


def _read_tree(folder: Traversable, prefix: str) -> list[tuple[str, StaticFile]]:
    found: list[tuple[str, StaticFile]] = []
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            found += _read_tree(entry, f"{name}/")
            continue
        media_type = next((kind for end, kind in MEDIA_TYPES.items() if name.endswith(end)), None)
        if media_type is None:
            continue
        content = entry.read_bytes()
        packed = gzip.compress(content, 9, mtime=0)
        helps = len(packed) < 0.9 * len(content)
        found.append(
            (
                name,
                StaticFile(
                    content=content, packed=packed if helps else None, media_type=media_type
                ),
            )
        )
    return found
