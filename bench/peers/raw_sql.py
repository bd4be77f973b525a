"""The data floor: hand-written SQL through apsw, encoded by msgspec, on a raw ASGI app.

Reads the very file of our server under the same uvicorn, uvloop and httptools. It does no more than
such an endpoint must: take a parameter from the URL, run the statement, send JSON. No identity, no
validation, no policy but the one that its author has written into the SQL.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

import apsw
import msgspec

Message = MutableMapping[str, Any]

SEARCH_FROM = """FROM "_pylon_search.Note.text"(?1) f
JOIN "_pylon_search.Note.ids" i ON i.docid = f.rowid JOIN "Note" t ON t.id = i.row_id"""

STATEMENTS = {
    "indexed": """SELECT id, title, ownerId, rank, weight FROM "Task"
        WHERE ownerId = ?1 ORDER BY rank DESC, id DESC LIMIT 20""",
    "sorted": """SELECT id, title, ownerId, rank, weight FROM "Task"
        WHERE ownerId = ?1 ORDER BY weight DESC, id DESC LIMIT 20""",
    "relation": """SELECT id, title, orgId, rank FROM "Ticket"
        WHERE orgId IN (SELECT orgId FROM "Member" WHERE userId = ?1)
        ORDER BY rank DESC, id DESC LIMIT 20""",
    "aggregate": """SELECT status, count(*) AS count, sum(amount) AS sum_amount,
        avg(amount) AS avg_amount FROM "Sale" WHERE amount >= ?1 GROUP BY status ORDER BY status""",
    "search": f"SELECT t.id, t.text {SEARCH_FROM} ORDER BY f.rank LIMIT 20",
}
TOTAL = 'SELECT count(*) FROM "_pylon_search.Note.text"(?1)'

_database = apsw.Connection(os.environ["BENCH_DATABASE"], flags=apsw.SQLITE_OPEN_READONLY)
_database.execute(f"PRAGMA mmap_size = {os.environ['BENCH_MMAP_BYTES']}")
_encode = msgspec.json.Encoder().encode
_HEADERS = [(b"content-type", b"application/json")]


def answer(name: str, value: str) -> bytes:
    """The JSON of one statement with its one parameter."""
    found = _database.execute(STATEMENTS[name], (value,) if "?1" in STATEMENTS[name] else ())
    rows: list[dict[str, Any]] = []
    for row in found:
        if not rows:
            names = [column[0] for column in found.get_description()]
        rows.append(dict(zip(names, row, strict=True)))
    if name == "search":
        total = _database.execute(TOTAL, (value,)).fetchall()[0][0]
        return _encode({"hits": rows, "total": total})
    return _encode({"rows": rows} if name == "aggregate" else rows)


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """`/<statement>/<parameter>`; the body of a POST is read and not looked at."""
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    _, name, value = scope["path"].split("/", 2)
    body = answer(name, unquote(value)) if name in STATEMENTS else b"{}"
    headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
