"""The worst that can be sent: bodies that are small for what they ask of a server.

Plain values only; who sends them, and what is looked at then, is in `test_holds`.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

KIB: Final = 1024
MIB: Final = 1024 * KIB

Ask: TypeAlias = tuple[str, str, bytes]
"""Method, path and body of a request."""


def filled(piece: bytes, size: int, begin: bytes = b"[", end: bytes = b"]") -> bytes:
    """As many `piece`s as fit into `size` bytes, as a JSON array."""
    count = (size - len(begin) - len(end) - len(piece)) // (len(piece) + 1)
    return begin + b",".join([piece] * (count + 1)) + end


def shapes(size: int) -> dict[str, bytes]:
    """Bodies of about `size` bytes that are hard to decode or to look at, whatever the route."""
    keys = b"{" + b",".join(b'"%x":1' % n for n in range(size // 11)) + b"}"
    return {
        "large numbers": filled(b"1e300", size),
        "exact numbers": filled(b"0.3333333333333333148", size),
        "long numbers": filled(b"1" * 300, size),
        "numbers of many digits": filled(b"1." + b"3" * 5_000 + b"e-300", size),
        "empty lists": filled(b"[]", size),
        "empty objects": filled(b"{}", size),
        "nested": b"[" * (size // 2) + b"]" * (size // 2),
        "nested in parts": filled(b"[" * 400 + b"]" * 400, size),
        "many keys": keys,
        "one key often": filled(b'"k":1', size, b"{", b"}"),
        "one text": b'"' + b"x" * (size - 2) + b'"',
        "escapes": b'"' + b"\\u00e9" * (size // 6) + b'"',
        "nothing but blanks": b" " * (size - 1) + b"1",
        "not JSON": b"\xff" * size,
        "smallest numbers": b'{"operations":' + filled(b"5e-324", size - 20) + b"}",
        "a key": b'{"' + b"k" * (size - 8) + b'":1}',
        "empty filters": b'{"$and":' + filled(b"{}", size - 20) + b"}",
        "values": b'{"n":{"$in":' + filled(b"7", size - 20) + b"}}",
        "rows": b'{"entities":{"Sheet":' + filled(b'{"rank":1e300}', size - 30) + b"}}",
        "brackets in a text": b'{"id":"","text":"' + b"a,[" * ((size - 20) // 3) + b'"}',
        "unclosed": b'{"text":"' + b'\\",' * ((size - 20) // 3),
        "operations of nothing": b'{"operations":' + filled(b"{}", size - 20) + b"}",
        "changes of nothing": b'{"changes":' + filled(b"{}", size - 20) + b"}",
    }


def near_words(size: int, seed: int = 9) -> str:
    """A text of long words that differ in little."""
    random_words = random.Random(seed)
    stem = "abcdefghijklmnopqrst" * 3
    words: list[str] = []
    while sum(map(len, words)) + len(words) < size:
        at = random_words.randrange(len(stem))
        words.append(stem[:at] + random_words.choice("uvwxyz") + stem[at + 1 :])
    return " ".join(words)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def insert(entity: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"op": "insert", "entity": entity, "data": row}


def writes() -> Iterator[tuple[str, Ask]]:
    """Requests that are right, and write as much as they may."""
    nine_kib = near_words(9 * KIB)
    plain = [insert("Sheet", {"text": f"sheet {n}", "rank": n}) for n in range(1_000)]
    indexed = [insert("Paper", {"title": f"paper {n}", "text": nine_kib}) for n in range(100)]
    ruled = [insert("Ruled", {"title": f"nobody {n}"}) for n in range(50)]
    large = [insert("Paper", {"title": "large", "text": "x y " * (256 * KIB)})]
    yield "1000 inserts", ("POST", "/api/transact", body(plain))
    yield "searchable rows", ("POST", "/api/transact", body(indexed))
    yield "inserts under a rule", ("POST", "/api/transact", body(ruled))
    yield "a batch under a rule", ("POST", "/api/batch", body({"operations": ruled}))
    yield "a large text", ("POST", "/api/transact", body(large))
    bag, fractions = "/api/entities/Bag", [0.5] * 16_000
    yield "JSON of numbers", ("POST", bag, body({"a": fractions, "numbers": fractions[:9_999]}))
    yield "JSON of objects", ("POST", bag, body({"a": [{"x": 1}] * 7_000}))
    yield "JSON of texts", ("POST", bag, body(dict.fromkeys("abcdefgh", ["é" * 99] * 200)))
    # Texts that are folded and taken apart before they are indexed.
    pairs = "".join(chr(0x4E00 + (n * 7_919) % 20_000) for n in range(16_000))
    folded = [insert("Paper", {"title": f"{n}", "text": pairs}) for n in range(20)]
    yield "rows without spaces", ("POST", "/api/transact", body(folded))
    folded = [insert("Paper", {"title": "large", "text": pairs * 20})]
    yield "a large text without spaces", ("POST", "/api/transact", body(folded))
    yield "a batch of inserts", ("POST", "/api/batch", body({"operations": plain * 5}))
    wrong = [{"op": "insert", "entity": "No"}] * 10_000
    yield "a batch of nonsense", ("POST", "/api/batch", body({"operations": wrong}))
    changes = [
        {"kind": "insert", "entity": "Sheet", "row_id": f"push-{n}", "data": {"text": "pushed"}}
        for n in range(5_000)
    ]
    yield "a push", ("POST", "/api/sync/push", body({"changes": changes, "client_id": "worst"}))
    rows = [{"id": f"import-{n}", "text": "imported"} for n in range(20_000)]
    yield "an import", ("POST", "/api/import", body({"entities": {"Sheet": rows}}))
    table = "/api/import?format=csv&entity=Sheet"
    lines = "".join(f'csv-{n},"text, {n}",{n}\n' for n in range(20_000))
    yield "a table", ("POST", table, f"id,text,rank\n{lines}".encode())
    for name, text in {
        "quotes": b'"' + b'""' * 500_000 + b'"\n',
        "an open quote": b'"' + b"x\n" * 500_000,
        "empty lines": b"\n" * 5_000_000,
        "empty cells": b"," * 1_000_000 + b"\n",
        "stray quotes": b'a"\n' * 500_000,
        "no UTF-8": b"\xff\n" * 500_000,
    }.items():
        yield f"a table of {name}", ("POST", table, b"text\n" + text)
    yield "a table of names", ("POST", table, b"text," * 2_000_000)


def documents(row_id: str) -> Iterator[tuple[str, Ask]]:
    """The same for the document of a row of `Paper`."""
    path = f"/api/entities/Paper/{row_id}"
    yield "a rich text", ("PATCH", path, body({"body": near_words(MIB)}))
    yield "another rich text", ("PATCH", path, body({"body": near_words(MIB, seed=10)}))
    yield "a list", ("PATCH", path, body({"tags": json.dumps([str(n) for n in range(9_000)])}))
    yield (
        "another list",
        ("PATCH", path, body({"tags": json.dumps([str(-n) for n in range(9_000)])})),
    )
    noise = base64.b64encode(random.Random(1).randbytes(300 * KIB)).decode()
    yield "no document", ("POST", f"/api/crdt/Paper/{row_id}", body({"update": noise}))


def reads() -> Iterator[tuple[str, Ask]]:
    """Requests that are right, and ask for as much as they may."""

    def post(path: str, value: Any) -> Ask:
        return "POST", path, body(value)

    word = near_words(60)[:60]
    wrong = " ".join(near_words(240, seed=3).split())
    yield "typos", post("/api/search/Paper", {"query": wrong})
    yield "one long typo", post("/api/search/Paper", {"query": word})
    yield "words of 1000 letters", post("/api/search/Paper", {"query": "z" * 1_000})
    yield (
        "highlights",
        post(
            "/api/search/Paper",
            {"query": "a", "highlight": True, "page_size": 100},
        ),
    )
    yield "facets", post("/api/search/Paper", {"query": "", "facets": ["kind"]})
    for operator in ("$like", "$ilike", "$contains", "$search"):
        pattern = "%a%b%c%d%e%f%g%h%i%j%k%l%m%n%o%p%q%r%s%t%u%v%w%"
        for entity in ("Paper", "Sheet"):
            for text in (pattern, "qqqq " * 9, "x" * 48 + "y"):
                yield (
                    f"{operator} of {entity}",
                    post(f"/api/query/{entity}", {"text": {operator: text}}),
                )
    near = f"NEAR({' '.join(['t*', 's*'] * 15)}, 500)"
    for entity in ("Paper", "Sheet"):
        for text in (near, "the " * 31, "ein Öl", "気" * 999, "\u4e01", "nothing OR sheet*"):
            yield f"a search of {entity}", post(f"/api/query/{entity}", {"$search": text})
    many = [f"{n:040}" for n in range(10_000)]
    yield "10 000 values", post("/api/query/Sheet", {"text": {"$in": many}})
    either = [{"text": {"$contains": f"nothing {n}"}} for n in range(128)]
    yield "128 alternatives", post("/api/query/Sheet", {"$or": either})
    yield "an order", post("/api/query/Sheet", {"$order": {"text": "desc"}, "$limit": 10_000})
    yield "a far page", post("/api/query/Sheet", {"$offset": 1_000_000, "$limit": 100})
    yield "groups", post("/api/aggregate/Sheet", {"count": "*", "groupBy": ["text"]})
    yield "sums", post("/api/aggregate/Sheet", {"sum": ["rank"], "groupBy": ["rank"]})
    nested: dict[str, Any] = {}
    for depth in range(8):
        nested = {"include": {("sheets", "paper")[depth % 2]: nested}}
    yield (
        "a graph",
        post("/api/query", {"Paper": {"include": {"sheets": {"include": {"paper": {}}}}}}),
    )
    yield "a deep graph", post("/api/query", {"Paper": nested, "Sheet": {}})
    for path in (
        "/api/entities/Sheet?limit=10000",
        "/api/entities/Paper?limit=10000",
        "/api/entities/Paper/cursor?limit=100",
        "/api/entities/Sheet?count=exact&sort=-text&fields=text",
        "/api/entities/Paper?filter=%7B%7D&count=estimated&sort=text",
        "/api/entities/Paper/cursor?sort=-text&limit=100&count=exact",
        "/api/entities/Sheet?format=csv&sort=text",
        "/api/entities/Paper?format=csv&spreadsheet=1",
        "/api/entities/Sheet?fields=" + "text," * 10_000 + "id",
        "/api/entities/Sheet?sort=" + "text," * 10_000 + "id",
        "/api/entities/Sheet/cursor?sort=text&after=c_" + "W1tb" * 10_000,
        "/api/export/Paper?format=csv",
        "/api/export/Sheet?format=csv&spreadsheet=1",
        "/api/sync/pull?since=0",
        "/api/openapi.json",
        "/api/manifest",
        "/metrics",
        f"/api/lookup/Paper/title/{'x' * 8_000}",
        f"/api/entities/Sheet/cursor?after={'x' * 8_000}",
        "/api/sync/pull?since=" + "9" * 8_000,
        "/api/entities/Sheet?" + "&".join(f"a{n}=1" for n in range(4_000)),
    ):
        yield path[:40], ("GET", path, b"")
