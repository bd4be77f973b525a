"""The floor of a full pull: `SELECT` and msgspec's JSON in one loop, in one process.

Reads the very file of our server. No cursor, no log, no policy, no HTTP: each row becomes a dict,
and a thousand of them become JSON. `python -m bench.peers.table_floor`: each line on stdin is one
pass, answered with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import apsw
import msgspec

from pylon.limits import SQLITE_MMAP_BYTES

ROWS_AT_ONCE = 1000


def read_all(database: apsw.Connection) -> dict[str, float | int]:
    """One pass over the table."""
    encode = msgspec.json.Encoder().encode
    began = time.monotonic()
    rows, size = 0, 0
    page: list[dict[str, object]] = []
    for row_id, title, done, owner in database.execute(
        'SELECT id, title, done, ownerId FROM "Item"'
    ):
        page.append({"id": row_id, "title": title, "done": done == 1, "ownerId": owner})
        if len(page) == ROWS_AT_ONCE:
            rows, size = rows + len(page), size + len(encode(page))
            page = []
    rows, size = rows + len(page), size + len(encode(page))
    return {"rows": rows, "bytes": size, "seconds": time.monotonic() - began}


def main() -> None:
    """Parse the command line and read at each line."""
    parser = argparse.ArgumentParser(description="SELECT and JSON in one loop")
    parser.add_argument("--database", required=True)
    arguments = parser.parse_args()
    database = apsw.Connection(arguments.database, flags=apsw.SQLITE_OPEN_READONLY)
    database.execute(f"PRAGMA mmap_size = {SQLITE_MMAP_BYTES}")
    for _ in sys.stdin:
        print(json.dumps(read_all(database)), flush=True)


if __name__ == "__main__":
    main()
