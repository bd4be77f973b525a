"""Change events and pull pages as JSON (spec 03 sections 2.1 and 3.1).

The row inside an event is JSON already, made once by whoever read the row; here it is only put
in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pylon.codec import encode


def event_json(
    *, seq: int, entity: str, row_id: str, kind: str, data: bytes | None, timestamp: str
) -> bytes:
    """One change event; `data` is the row or patch as JSON, None for a delete (key left out)."""
    body = b"" if data is None else b',"data":' + data
    return b'{"seq":%d,"entity":%b,"row_id":%b,"kind":"%b"%b,"timestamp":"%b"}' % (
        seq,
        _name(entity),
        encode(row_id),
        kind.encode(),
        body,
        timestamp.encode(),
    )


@lru_cache(maxsize=1024)
def event_end(timestamp: str) -> bytes:
    """What follows the data of an event, for one whose beginning was made elsewhere."""
    return b',"timestamp":"%b"}' % timestamp.encode()


@lru_cache(maxsize=1024)
def _name(entity: str) -> bytes:
    return encode(entity)


def pull_page_json(events: Sequence[bytes], *, last_seq: int, has_more: bool) -> bytes:
    """The body of `GET /api/sync/pull`."""
    return b'{"changes":[%b],"cursor":{"last_seq":%d},"has_more":%b}' % (
        b",".join(events),
        last_seq,
        b"true" if has_more else b"false",
    )


def sse_event(payload: bytes, seq: int) -> bytes:
    """A change event as a server-sent event; `id` lets browsers resume by themselves."""
    return b"id: %d\ndata: %b\n\n" % (seq, payload)
