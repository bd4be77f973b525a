"""`/api/export` and `/api/import` against the real program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from pylon.codec import decode_trusted, encode
from tests.blackbox.streams import position, until_row, websocket
from tests.server import ADMIN_TOKEN, Server, serving

Row = dict[str, Any]
APP = Path(__file__).with_name("bulk_app.py")
LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("transfer") / "app.db") as running:
        yield running


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[httpx.Client]:
    """The administrator of another, empty server."""
    with serving(APP, tmp_path / "other.db") as running, running.client(ADMIN_TOKEN) as client:
        yield client


def row_id(number: int) -> str:
    return f"{number:040x}"


def people(*numbers: int, **more: Any) -> list[Row]:
    return [{"id": row_id(n), "name": f"p{n}", "hidden": False, **more} for n in numbers]


def as_lines(entity: str, rows: list[Row]) -> bytes:
    return b"".join(encode({"entity": entity, "row": row}) + b"\n" for row in rows)


def do_import(
    client: httpx.Client, entity: str, rows: list[Any], mode: str | None = None
) -> dict[str, Any]:
    params = {} if mode is None else {"mode": mode}
    answer = client.post("/api/import", json={"entities": {entity: rows}}, params=params)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


def stored(client: httpx.Client, entity: str) -> dict[str, Row]:
    rows = client.get(f"/api/export/{entity}").json()["entities"][entity]
    return {row["id"]: row for row in rows}


def test_what_is_exported_can_be_imported(admin: httpx.Client, empty: httpx.Client) -> None:
    todos = [
        {
            "id": row_id(n),
            "title": 'quote " brace } \\ backslash \u2028 ü',
            "done": None if n % 3 == 0 else n % 2 == 0,
            "rank": n,
            "score": n / 7,
            "ownerId": "ann",
            "personId": row_id(n),
            "secret": "s",
        }
        for n in range(1, 1500)
    ]
    assert do_import(admin, "Person", people(*range(1, 1500)))["imported"] == 1499
    assert do_import(admin, "Todo", todos)["imported"] == 1499
    whole = admin.get("/api/export").json()
    assert set(whole) == {"exported_at", "entities", "counts"}
    assert list(whole["entities"]) == list(whole["counts"])
    assert whole["entities"]["Todo"] == todos
    assert whole["counts"]["Todo"] == 1499
    lines = admin.get("/api/export", headers={"accept": "application/x-ndjson"})
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [decode_trusted(line) for line in lines.content.splitlines()] == [
        {"entity": entity, "row": row} for entity, rows in whole["entities"].items() for row in rows
    ]

    # As lines to the empty one; then the same again as an object: nothing is new.
    report = empty.post("/api/import", content=lines.content, headers=LINES).json()
    assert (report["imported"], report["failed"]) == (sum(whole["counts"].values()), 0)
    there = empty.get("/api/export").json()
    assert there["entities"] == whole["entities"]
    again = empty.post("/api/import", content=admin.get("/api/export").content).json()
    assert (again["imported"], again["failed"]) == (0, 0)
    assert again["skipped"] == report["imported"]


def test_one_entity_alone(admin: httpx.Client) -> None:
    do_import(admin, "Comment", [{"text": "c"}])
    body = admin.get("/api/export/Comment").json()
    assert list(body["entities"]) == ["Comment"]
    assert body["counts"] == {"Comment": len(body["entities"]["Comment"])}
    unknown = admin.get("/api/export/Nope")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, "ENTITY_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/export"), ("GET", "/api/export/Todo"), ("POST", "/api/import")],
)
def test_only_administrators(
    ann: httpx.Client, nobody: httpx.Client, method: str, path: str
) -> None:
    for client in (ann, nobody):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")


def test_rows_that_exist(admin: httpx.Client) -> None:
    do_import(admin, "Person", people(9001, 9002))
    changed = [*people(9001), *people(9002, name="changed"), *people(9003)]
    first = do_import(admin, "Person", changed)
    assert (first["imported"], first["skipped"], first["failed"]) == (1, 1, 1)
    assert first["errors"] == [
        {
            "row": 2,
            "entity": "Person",
            "id": row_id(9002),
            "code": "IMPORT_CONFLICT",
            "message": "A row with this id exists and differs in: name.",
        }
    ]
    assert stored(admin, "Person")[row_id(9002)]["name"] == "p9002"
    second = do_import(admin, "Person", changed, "upsert")
    assert (second["updated"], second["skipped"], second["failed"]) == (1, 2, 0)
    assert stored(admin, "Person")[row_id(9002)]["name"] == "changed"
    third = do_import(admin, "Person", changed, "insert")
    assert [error["code"] for error in third["errors"]] == ["ID_TAKEN"] * 3
    assert admin.post("/api/import?mode=x", json={"entities": {}}).status_code == 400


def test_bad_rows_do_not_spoil_good_ones(admin: httpx.Client) -> None:
    good = [{"id": row_id(7000 + n), "title": "t", "rank": 7000 + n} for n in range(300)]
    bad: list[Any] = [
        {"title": "clash", "rank": 7003},
        {"title": 7},
        {"rank": 1},
        {"id": "", "title": "t"},
        {"nope": 1, "title": "t"},
        "text",
        [],
    ]
    rows = [*good[:150], *bad, *good[150:]]
    report = do_import(admin, "Todo", rows)
    assert (report["imported"], report["failed"]) == (300, len(bad))
    assert report["by_entity"] == [
        {"entity": "Todo", "inserted": 300, "failed": len(bad), "updated": 0, "skipped": 0}
    ]
    by_row = {error["row"]: error["code"] for error in report["errors"]}
    assert by_row == {
        151: "INSERT_FAILED",
        152: "INVALID_DATA",
        153: "INSERT_FAILED",
        154: "INVALID_ID",
        155: "INVALID_COLUMN",
        156: "INVALID_DATA",
        157: "INVALID_DATA",
    }


def test_ids_of_any_form_are_kept(admin: httpx.Client) -> None:
    rows: list[Row] = [{"id": f"user {n}/ü", "name": f"p{n}"} for n in range(2)]
    assert do_import(admin, "Person", rows)["imported"] == 2
    assert {row["id"] for row in rows} <= stored(admin, "Person").keys()
    assert do_import(admin, "Person", rows)["skipped"] == 2
    long: list[Row] = [{"id": "x" * 257, "name": "p"}, {"id": 5, "name": "p"}]
    errors = do_import(admin, "Person", long)["errors"]
    assert [error["code"] for error in errors] == ["INVALID_ID"] * 2


def test_unknown_entities_and_internal_keys(admin: httpx.Client) -> None:
    entities = {
        "Nope": [{"a": 1}, {"a": 2}],
        "Person": [{"name": "internal", "__internal__": {"x": [1]}}],
        "Todo": {"not": ["an", {"array": 1}]},
    }
    report = admin.post("/api/import", json={"version": 1, "entities": entities}).json()
    assert (report["imported"], report["failed"]) == (1, 2)
    assert {error["code"] for error in report["errors"]} == {"ENTITY_NOT_FOUND"}


def test_failures_described_are_bounded(admin: httpx.Client) -> None:
    count = limits.IMPORT_ERRORS_MAX + 50
    report = do_import(admin, "Todo", [{"rank": "x"}] * count)
    assert (report["failed"], len(report["errors"]), report["errors_omitted"]) == (count, 100, 50)


def test_failures_come_in_the_order_of_the_rows(admin: httpx.Client) -> None:
    twice = row_id(9_999)
    rows: list[Row] = [{"id": twice, "name": "a"}, {"name": 5}, {"id": twice, "name": "b"}]
    rows.append({"nope": 1})
    report = do_import(admin, "Person", rows)
    assert [error["row"] for error in report["errors"]] == [2, 3, 4]


def test_malformed_lines_are_told_by_number(admin: httpx.Client) -> None:
    text = b'\n{"entity":"Person","row":{"name":"ok"}}\n{oops\n{"entity":"Person"}\n\n[]'
    report = admin.post("/api/import", content=text, headers=LINES).json()
    assert (report["imported"], report["failed"]) == (1, 3)
    assert [(error["row"], error["code"]) for error in report["errors"]] == [
        (3, "INVALID_JSON"),
        (4, "INVALID_DATA"),
        (6, "INVALID_DATA"),
    ]


@pytest.mark.parametrize(
    "text", ["{}", '{"entities":[]}', '{"x":{"Person":[{}]}}', "[]", '"x"', "5"]
)
def test_an_object_without_entities(admin: httpx.Client, text: str) -> None:
    answer = admin.post("/api/import", content=text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MISSING_FIELD")


@pytest.mark.parametrize("text", ["", "]", "x", '{"entities":{"Person":[', "{]", "{}{}"])
def test_text_that_is_no_export(admin: httpx.Client, text: str) -> None:
    answer = admin.post("/api/import", content=text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_JSON")


def test_a_cut_text_says_what_was_imported(admin: httpx.Client) -> None:
    text = '{"entities":{"Person":[{"name":"first"},{"na'
    answer = admin.post("/api/import", content=text)
    assert answer.status_code == 400
    assert answer.json()["error"]["report"]["imported"] == 1


def test_progress_comes_in_lines(admin: httpx.Client) -> None:
    rows = [{"text": "x"} for _ in range(2 * limits.IMPORT_PROGRESS_ROWS + 10)]
    headers = {**LINES, "accept": "application/x-ndjson"}

    def pieces() -> Iterator[bytes]:
        text = as_lines("Comment", rows)
        for start in range(0, len(text), 50_000):
            yield text[start : start + 50_000]

    with admin.stream("POST", "/api/import", content=pieces(), headers=headers) as answer:
        lines = [decode_trusted(line) for line in answer.iter_lines()]
    assert [line["progress"]["rows"] >= limits.IMPORT_PROGRESS_ROWS for line in lines[:-1]]
    assert len(lines) >= 2
    assert lines[-1]["done"] is True
    assert lines[-1]["imported"] == len(rows)
    failed = admin.post("/api/import", content=b"{", headers={"accept": "application/x-ndjson"})
    assert failed.json()["error"]["code"] == "INVALID_JSON"


def test_imports_may_be_larger_than_other_bodies(admin: httpx.Client) -> None:
    rows = [{"text": "x" * 1_000_000} for _ in range(12)]
    answer = admin.post("/api/import", content=as_lines("Comment", rows), headers=LINES)
    assert answer.json()["imported"] == 12
    other = admin.post("/api/batch", content=b" " * (limits.BODY_BYTES_MAX + 1))
    assert other.status_code == 413


async def test_readers_hear_of_imported_rows(server: Server) -> None:
    rows = people(8001, 8002)
    async with (
        websocket(server, server.token_of("ann"), since=await position(server)) as socket,
        server.async_client(ADMIN_TOKEN) as admin,
    ):
        await admin.post("/api/import", json={"entities": {"Person": rows[:1]}})
        await admin.post(
            "/api/import?mode=upsert",
            json={"entities": {"Person": [{**rows[0], "name": "new"}, rows[1]]}},
        )
        answer = await admin.post("/api/entities/Comment", json={"text": "end"})
        events = await until_row(socket, answer.json()["id"])
    assert [(event["kind"], event["data"]) for event in events] == [
        ("insert", rows[0]),
        ("update", {"name": "new"}),
        ("insert", rows[1]),
    ]


async def test_exports_at_once_are_bounded(server: Server) -> None:
    async with server.async_client(ADMIN_TOKEN) as admin:
        # Unread exports larger than what sockets buffer keep their snapshots.
        big = [{"text": "x" * 1_000_000} for _ in range(20)]
        await admin.post("/api/import", content=as_lines("Comment", big), headers=LINES)
        held = [
            await admin.send(admin.build_request("GET", "/api/export"), stream=True)
            for _ in range(limits.SNAPSHOTS_MAX)
        ]
        assert [answer.status_code for answer in held] == [200] * limits.SNAPSHOTS_MAX
        refused = await admin.get("/api/export")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "OVERLOADED")
        for answer in held:
            await answer.aclose()
        for _ in range(200):  # those places are given back once the server sees us gone
            if (await admin.head("/api/export")).status_code == 200:
                break
        for _ in range(limits.SNAPSHOTS_MAX + 1):  # and HEAD keeps none
            assert (await admin.head("/api/export")).status_code == 200
        assert (await admin.get("/api/export/Person")).status_code == 200
