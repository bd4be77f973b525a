"""The floors of a full pull: `SELECT` and msgspec's JSON in one loop, in one process.

Reads the very file of our server. No cursor, no policy, no HTTP: each row becomes a dict, and a
thousand of them become JSON. `python -m bench.peers.table_floor`: each line on stdin is one pass,
answered with one line of JSON; `rows` reads the bare table, `events` makes of it what a pull sends,
from the log and the rows as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice

import apsw
import msgspec

from pylon.clock import iso_seconds
from pylon.limits import SQLITE_MMAP_BYTES

ROWS_AT_ONCE = 1000


ROWS = 'SELECT id, title, done, ownerId FROM "Item"'
EVENTS = """SELECT c.seq, c.row_id, c.at, t.id, t.title, t.done, t.ownerId
FROM _pylon_changes c JOIN "Item" t ON t.id = c.row_id WHERE c.entity = 'Item' ORDER BY c.seq"""


def rows(database: apsw.Connection) -> Iterator[dict[str, object]]:
    """The rows of the table."""
    for row_id, title, done, owner in database.execute(ROWS):
        yield {"id": row_id, "title": title, "done": done == 1, "ownerId": owner}


def events(database: apsw.Connection) -> Iterator[dict[str, object]]:
    """The same as change events."""
    for seq, row_id, at, own_id, title, done, owner in database.execute(EVENTS):
        yield {
            "seq": seq,
            "entity": "Item",
            "row_id": row_id,
            "kind": "insert",
            "data": {"id": own_id, "title": title, "done": done == 1, "ownerId": owner},
            "timestamp": iso_seconds(at),
        }


def read_all(values: Iterator[dict[str, object]]) -> dict[str, float | int]:
    """Encode all of them, a page at a time."""
    encode = msgspec.json.Encoder().encode
    began = time.monotonic()
    count, size = 0, 0
    while page := list(islice(values, ROWS_AT_ONCE)):
        count, size = count + len(page), size + len(encode(page))
    return {"rows": count, "bytes": size, "seconds": time.monotonic() - began}


def main() -> None:
    """Parse the command line and read at each line."""
    parser = argparse.ArgumentParser(description="SELECT and JSON in one loop")
    parser.add_argument("--database", required=True)
    arguments = parser.parse_args()
    database = apsw.Connection(arguments.database, flags=apsw.SQLITE_OPEN_READONLY)
    database.execute(f"PRAGMA mmap_size = {SQLITE_MMAP_BYTES}")
    for order in sys.stdin:
        values = events(database) if order.strip() == "events" else rows(database)
        print(json.dumps(read_all(values)), flush=True)


if __name__ == "__main__":
    main()
