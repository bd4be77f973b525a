"""A running server as `pylon export` and `pylon import` reach it: its URL and an admin token.

Blocking and small, on the standard library, since these two commands do one request each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import click

from pylon import codec
from pylon.cli.output import Output
from pylon.config import DEFAULT_PORT
from pylon.errors import PylonError

PIECE_BYTES = 65_536
ANSWER_SECONDS_MAX = 600.0


FORMATS = ("json", "ndjson", "csv")


def form_of(name: str) -> str:
    """The format that a file's name says."""
    ending = name.rpartition(".")[2].lower()
    return ending if ending in ("json", "csv") else "ndjson"


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--url` and `--token`."""
    command = click.option(
        "--token",
        envvar="PYLON_ADMIN_TOKEN",
        metavar="TOKEN",
        help="The server's admin token. [env PYLON_ADMIN_TOKEN]",
    )(command)
    return click.option(
        "--url",
        default=f"http://127.0.0.1:{DEFAULT_PORT}",
        show_default=True,
        help="Where the server is.",
    )(command)


def send(
    output: Output,
    method: str,
    url: str,
    token: str | None,
    *,
    headers: dict[str, str],
    body: Iterable[bytes] | None = None,
) -> HTTPResponse:
    """The answer, when it is a success; else print why not and end the process."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        output.fail("URL_INVALID", f"{url!r} is no http:// or https:// address.")
    if not token:
        output.fail(
            "TOKEN_MISSING", "This needs the admin token.", "Set PYLON_ADMIN_TOKEN, or --token."
        )
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=ANSWER_SECONDS_MAX)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        connection.request(
            method,
            path,
            body=body,
            headers={**headers, "authorization": f"Bearer {token}"},
            encode_chunked=body is not None,
        )
        answer = connection.getresponse()
        if answer.status != 200:
            _refused(output, answer)
    except (OSError, HTTPException) as error:
        hint = "Start it with `pylon dev` or `pylon start`, or name it with --url."
        output.fail("SERVER_UNREACHABLE", f"{parts.netloc} did not answer: {error}", hint)
    return answer


def _refused(output: Output, answer: HTTPResponse) -> None:
    text = answer.read(PIECE_BYTES)
    try:
        error = codec.decode(text)["error"]
        output.fail(error["code"], error["message"], error.get("hint"))
    except (PylonError, KeyError, TypeError):
        output.fail("REQUEST_FAILED", f"The server answered {answer.status} {answer.reason}.")


def pieces(file: BinaryIO, show: Callable[[int], None]) -> Iterator[bytes]:
    """A file piece by piece with progress; never holds more than one."""
    while piece := file.read(PIECE_BYTES):
        yield piece
        show(len(piece))


def progress(output: Output, label: str, length: int | None) -> Any:
    """A bar on stderr where that is a terminal; nothing elsewhere."""
    is_shown = not output.json and sys.stderr.isatty()
    return click.progressbar(
        length=length or 0,
        label=label,
        file=sys.stderr,
        hidden=not is_shown,
        update_min_steps=PIECE_BYTES,
    )
