"""The app's own pages: the files under `<app folder>/public`, served at `/`.

Answers GET and HEAD where no API route does. Not here: building pages, templates, uploads.
Nothing outside the folder, no dotfile and no API path is ever served from it.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from pylon.errors import PylonError
from pylon.http.asgi import Header
from pylon.http.describe import Hidden
from pylon.http.errors import HttpError
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response, StreamResponse
from pylon.http.router import METHODS, Router
from pylon.http.shown_path import shown_path
from pylon.limits import PAGE_BYTES_WHOLE_MAX, PAGE_CHUNK_BYTES
from pylon.page_policy import LIVE

CONTENT_TYPES: dict[str, bytes] = {
    ".html": b"text/html; charset=utf-8",
    ".htm": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".mjs": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".json": b"application/json",
    ".map": b"application/json",
    ".webmanifest": b"application/manifest+json",
    ".txt": b"text/plain; charset=utf-8",
    ".md": b"text/markdown; charset=utf-8",
    ".csv": b"text/csv; charset=utf-8",
    ".xml": b"application/xml",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".jpg": b"image/jpeg",
    ".jpeg": b"image/jpeg",
    ".gif": b"image/gif",
    ".webp": b"image/webp",
    ".avif": b"image/avif",
    ".ico": b"image/x-icon",
    ".woff": b"font/woff",
    ".woff2": b"font/woff2",
    ".ttf": b"font/ttf",
    ".otf": b"font/otf",
    ".wasm": b"application/wasm",
    ".pdf": b"application/pdf",
    ".mp3": b"audio/mpeg",
    ".mp4": b"video/mp4",
    ".webm": b"video/webm",
}
"""By file ending. Our own table, since that of the system differs from machine to machine."""

_OTHER = b"application/octet-stream"

_LIVE = LIVE.encode()

# A host that can stand in a policy as it is: a name or an IPv4 address, and a port.
_PLAIN_HOST = re.compile(rb"([A-Za-z0-9.-]{1,253})(:\d{1,5})?")


class _File(Struct, frozen=True, kw_only=True):
    """A file that may be served, as it was when it was looked up. `body` when it is small."""

    path: Path
    bytes_total: int
    etag: bytes
    body: bytes | None


class _Folder(Exception):
    """The path is a folder with a page, but was asked for without the slash at its end."""


class Pages:
    """The files of one folder."""

    def __init__(self, folder: Path, *, fallback: str | None = None, policy: str) -> None:
        """`fallback` is the page that a browser gets where no file is, `policy` what pages may load
        (`page_policy`)."""
        self._folder = folder.resolve()
        self._fallback = fallback
        self._policy = policy.encode("latin-1")

    def register(self, router: Router) -> None:
        """Add the last routes of the table: `/` and everything that no other route answers."""

        async def get_page(request: Request, path: str = "") -> AnyResponse:
            if path == "api" or path.startswith("api/"):
                raise _refusal(router, request.path)
            answer = await self.answer(request, path)
            if answer is None and self._fallback is not None and _is_for_a_page(request, path):
                answer = await self.answer(request, self._fallback, is_fallback=True)
            if answer is None and not path:
                # No front page: what is there is told instead of a 404 at the printed address.
                return Response(307, headers=((b"location", b"./api"),))
            if answer is None:
                raise _refusal(router, request.path)
            return answer

        docs = Hidden(reason="the app's own pages are not the API")
        front, files = "The app's front page", "A file of the app's public folder"
        router.add("GET", "/", get_page, name="get_front_page", summary=front, docs=docs)
        router.add("GET", "/{path*}", get_page, summary=files, docs=docs)

    async def answer(
        self, request: Request, path: str, *, is_fallback: bool = False
    ) -> AnyResponse | None:
        """The response for a decoded path without its leading slash; None if there is no file."""
        wants_folder = request.path.endswith("/") and not is_fallback
        try:
            file = await asyncio.to_thread(self._look_up, path, wants_folder=wants_folder)
        except _Folder:
            last = request.path.rpartition("/")[2].encode("latin-1")
            return Response(308, headers=((b"location", b"./%b/" % last),))
        if file is None:
            return None
        headers: list[Header] = [
            (b"etag", file.etag),
            (b"cache-control", b"no-cache"),
            (b"content-security-policy", content_security_policy(request, self._policy)),
        ]
        if _is_known(request.headers.get(b"if-none-match"), file.etag):
            return Response(304, content_type=_content_type(file.path), headers=headers)
        content_type = _content_type(file.path)
        if file.body is not None:
            return Response(200, file.body, content_type=content_type, headers=headers)
        headers.append((b"content-length", b"%d" % file.bytes_total))
        chunks = _chunks(file.path, file.bytes_total)
        return StreamResponse(
            200, chunks, content_type=content_type, headers=headers, held_bytes=PAGE_CHUNK_BYTES
        )

    def _look_up(self, path: str, *, wants_folder: bool) -> _File | None:
        """Runs in a thread: touches the disk."""
        if not _is_plain(path):
            return None
        try:
            found = (self._folder / path).resolve(strict=True)
            if found.is_dir():
                found = (found / "index.html").resolve(strict=True)
                if not wants_folder and found.is_file():
                    raise _Folder
            elif wants_folder:
                return None
            if not _is_inside(found, self._folder):
                return None
            with _open(found) as file:
                facts = os.fstat(file.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    return None
                size = facts.st_size
                body = file.read(size) if size <= PAGE_BYTES_WHOLE_MAX else None
        except (OSError, ValueError):
            return None
        etag = b'"%x-%x"' % (facts.st_mtime_ns, size)
        return _File(path=found, bytes_total=size, etag=etag, body=body)


def content_security_policy(request: Request, policy: bytes) -> bytes:
    """What a page may load: what `policy` says, and live streams of this host on any of its ports.

    The ports above the main one carry WebSocket and SSE (spec 01 section 1.1).
    """
    live = b"ws: wss:"
    host = _PLAIN_HOST.fullmatch(request.headers.get(b"host", b""))
    if host is not None:
        scheme = b"https" if request.scope.get("scheme") == "https" else b"http"
        live = b"ws://%b:* wss://%b:* %b://%b:*" % (host[1], host[1], scheme, host[1])
    return policy.replace(_LIVE, live)


def _is_for_a_page(request: Request, path: str) -> bool:
    """Whether a browser wants to go there: it says that it takes pages, and the name is none of a
    file, which is better missed than answered with another."""
    return (
        b"text/html" in request.headers.get(b"accept", b"") and "." not in path.rpartition("/")[2]
    )


def _is_plain(path: str) -> bool:
    """Whether every segment is an ordinary name: no dotfile, no `..`, no empty one."""
    if not path:
        return True
    if "\\" in path or "\0" in path:
        return False
    return all(part and not part.startswith(".") for part in path.split("/"))


def _is_inside(file: Path, folder: Path) -> bool:
    """Whether a resolved path is below the folder, through no dotfile. A link may lead to another
    place inside, not out."""
    if not file.is_relative_to(folder):
        return False
    return not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _open(file: Path) -> BinaryIO:
    """The file opened for reading, never waiting for the other end of a pipe, following no link
    that was put in its place meanwhile."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return open(os.open(file, flags | getattr(os, "O_BINARY", 0)), "rb")


async def _chunks(path: Path, bytes_total: int) -> AsyncIterator[bytes]:
    """The file piece by piece. A file that shrinks meanwhile ends the stream with an error, since
    its length was announced."""
    left = bytes_total
    file = await asyncio.to_thread(_open, path)
    try:
        while left:
            chunk = await asyncio.to_thread(file.read, min(left, PAGE_CHUNK_BYTES))
            if not chunk:
                raise OSError(f"{path} became shorter while it was sent")
            left -= len(chunk)
            yield chunk
    finally:
        file.close()


def _content_type(path: Path) -> bytes:
    return CONTENT_TYPES.get(path.suffix.lower(), _OTHER)


def _is_known(if_none_match: bytes | None, etag: bytes) -> bool:
    """Whether the browser already has this version (weak comparison, RFC 9110 section 13.1.2)."""
    if if_none_match is None:
        return False
    known = (tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b","))
    return any(tag in (etag, b"*") for tag in known)


def _refusal(router: Router, path: str) -> PylonError:
    """What the router would have said without the pages: 405 where other methods are known."""
    allowed = [method for method in METHODS if method != "GET" and _matches(router, method, path)]
    if not allowed and path.startswith("/api/"):
        return router.not_found(path)
    if not allowed:
        within = "/api" + path
        is_route = "/".join(within.split("/")[:3]) in router.starts
        hint = f"Did you mean {shown_path(within)}?" if is_route else router.rows_hint(path)
        return PylonError(404, "NOT_FOUND", f"Nothing is served at {shown_path(path)}", hint)
    allow = ", ".join(sorted([*allowed, "OPTIONS"]))
    return HttpError(
        405,
        "METHOD_NOT_ALLOWED",
        f"This method is not allowed for {path}",
        f"Allowed: {allow}.",
        headers=((b"allow", allow.encode()),),
    )


def _matches(router: Router, method: str, path: str) -> bool:
    try:
        router.match(method, path)
    except PylonError:
        return False
    return True
