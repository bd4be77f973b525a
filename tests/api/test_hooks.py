"""Read filters, request hooks and hooks of commits, against the real program over sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from csv import DictReader
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox.streams import event_source, pull, until_row, websocket
from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).with_name("hooks_app.py")

EMPLOYEES = "/api/entities/Employee"
STORED = "4711"
"""The salary of everybody, which nobody but its owner may see, in whatever form."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("hooks") / "app.db") as running:
        yield running


@pytest.fixture(scope="module")
def ids(admin: httpx.Client) -> dict[str, str]:
    """A row of each, by name."""
    found: dict[str, str] = {}
    for name, secret in (("ann", None), ("bob", "fred")):
        row = {"name": name, "salary": f"{STORED} of {name}", "userId": name, "secret": secret}
        answer = admin.post(EMPLOYEES, json=row)
        assert answer.status_code == 201, answer.text
        found[name] = answer.json()["id"]
    note = admin.post("/api/entities/Note", json={"title": "of bob"}).json()["id"]
    admin.patch(f"{EMPLOYEES}/{found['bob']}", json={"noteId": note})
    return {**found, "note": note}


def one_of(rows: list[dict[str, Any]], row_id: str) -> dict[str, Any]:
    (found,) = [row for row in rows if row["id"] == row_id]
    return found


Read = Callable[[httpx.Client, str], dict[str, Any]]

SEARCH = "/api/search/Employee"


def selected(client: httpx.Client) -> str:
    """The fields that the caller may have."""
    is_admin = client.headers.get("authorization") == f"Bearer {ADMIN_TOKEN}"
    return "name,salary,secret" if is_admin else "name,salary"


READS: dict[str, Read] = {
    "get": lambda c, i: dict(c.get(f"{EMPLOYEES}/{i}").json()),
    "list": lambda c, i: one_of(c.get(EMPLOYEES).json()["data"], i),
    "page": lambda c, i: one_of(c.get(f"{EMPLOYEES}/cursor").json()["data"], i),
    "query": lambda c, i: one_of(c.post("/api/query/Employee", json={}).json(), i),
    "list of fields": lambda c, i: one_of(
        c.get(f"{EMPLOYEES}?fields={selected(c)}&sort=-name").json()["data"], i
    ),
    "page in an order": lambda c, i: one_of(
        c.get(f"{EMPLOYEES}/cursor?fields={selected(c)}&sort=-name").json()["data"], i
    ),
    "query of fields": lambda c, i: one_of(
        c.post("/api/query/Employee", json={"$fields": selected(c).split(",")}).json(), i
    ),
    "get of fields": lambda c, i: dict(c.get(f"{EMPLOYEES}/{i}?fields={selected(c)}").json()),
    "table": lambda c, i: one_of(
        list(DictReader(StringIO(c.get(f"{EMPLOYEES}?format=csv&sort=name").text))), i
    ),
    "graph": lambda c, i: one_of(
        c.post("/api/query", json={"Employee": {"include": {"note": {}}}}).json()["Employee"], i
    ),
    "lookup": lambda c, i: dict(c.get(f"/api/lookup/Employee/id/{i}").json()),
    "search": lambda c, i: one_of(c.post(SEARCH, json={}).json()["hits"], i),
    "search by text": lambda c, i: one_of(
        c.post(SEARCH, json={"query": "bob", "highlight": True}).json()["hits"], i
    ),
}


@pytest.mark.parametrize("read", READS)
def test_every_read_shows_what_the_filter_makes_of_a_row(
    ann: httpx.Client, bob: httpx.Client, admin: httpx.Client, ids: dict[str, str], read: str
) -> None:
    row = READS[read](ann, ids["bob"])
    assert (row["salary"], row["name"]) == ("hidden by fred", "bob")
    assert "secret" not in row
    row = READS[read](bob, ids["bob"])
    assert (row["salary"], row["name"]) == (f"{STORED} of bob", "bob")
    assert "secret" not in row
    row = READS[read](admin, ids["bob"])
    assert (row["salary"], row["secret"]) == (f"{STORED} of bob", "fred"), "rows as they are"


def test_a_filtered_field_orders_and_filters_no_list(ann: httpx.Client) -> None:
    for asked in ({"sort": "salary"}, {"filter": '{"salary": null}'}, {"fields": "secret"}):
        for path in (EMPLOYEES, f"{EMPLOYEES}/cursor"):
            answer = ann.get(path, params=asked)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_COLUMN")


ASKED_BY = [
    ("/api/query/Employee", {"salary": f"{STORED} of bob"}),
    ("/api/query/Employee", {"salary": {"$like": f"{STORED}%"}}),
    ("/api/query/Employee", {"$order": {"salary": "asc"}}),
    ("/api/query", {"Employee": {"where": {"salary": None}}}),
    ("/api/aggregate/Employee", {"max": ["salary"]}),
    ("/api/aggregate/Employee", {"count": "*", "groupBy": ["salary"]}),
    ("/api/aggregate/Employee", {"count": "*", "where": {"salary": None}}),
    (SEARCH, {"where": {"salary": None}}),
]


@pytest.mark.parametrize(("path", "body"), ASKED_BY)
def test_nobody_but_administrators_asks_by_a_filtered_field(
    ann: httpx.Client, admin: httpx.Client, ids: dict[str, str], path: str, body: dict[str, Any]
) -> None:
    answer = ann.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_COLUMN")
    assert admin.post(path, json=body).status_code == 200


def test_what_is_hidden_is_not_found_by_searching(
    ann: httpx.Client, admin: httpx.Client, ids: dict[str, str]
) -> None:
    def total(client: httpx.Client, body: dict[str, Any]) -> int:
        return int(client.post(SEARCH, json=body).json()["total"])

    for query in (STORED, f"{STORED} bob"):
        assert total(admin, {"query": query}) > 0
        assert total(ann, {"query": query}) == 0
    assert len(admin.post("/api/query/Employee", json={"$search": STORED}).json()) == 2
    assert ann.post("/api/query/Employee", json={"$search": STORED}).json() == []
    assert len(ann.post("/api/query/Employee", json={"$search": "bob"}).json()) == 1
    found = ann.post(SEARCH, json={"facets": ["salary"], "sort": ["salary", "asc"]})
    assert found.status_code == 200
    assert "of bob" not in found.text
    # Facets and filters that are not configured are passed over, those hidden too.
    assert total(ann, {"filters": {"salary": "none"}}) == 2
    lookup = ann.get(f"/api/lookup/Employee/salary/{STORED} of bob")
    assert (lookup.status_code, lookup.json()["error"]["code"]) == (400, "INVALID_COLUMN")


def test_a_search_whose_texts_are_all_hidden_passes_over_its_text(
    ann: httpx.Client, admin: httpx.Client
) -> None:
    assert admin.post("/api/entities/Payslip", json={"amount": STORED}).status_code == 201
    search = "/api/search/Payslip"
    assert admin.post(search, json={"query": STORED}).json()["total"] == 1
    for query in (STORED, "something else"):
        assert ann.post(search, json={"query": query}).json()["total"] == 1
    (row,) = ann.post(search, json={}).json()["hits"]
    assert list(row) == ["id"], "a filter may leave a field out"
    refused = ann.post("/api/query/Payslip", json={"$search": STORED})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_QUERY")


async def test_rows_that_are_filtered_are_not_synced(server: Server, ids: dict[str, str]) -> None:
    """Nobody can hold a copy of what each reader sees otherwise."""
    token = server.token_of("ann")
    async with (
        server.async_client(token) as ann,
        server.async_client(ADMIN_TOKEN) as admin,
    ):
        for client in (ann, admin):
            events, _ = await pull(client, 0)
            assert {event["entity"] for event in events} == {"Note"}
        async with (
            websocket(server, token) as socket,
            event_source(server, token) as source,
            websocket(server, ADMIN_TOKEN) as of_admin,
        ):
            streams = (socket, source, of_admin)
            await admin.patch(f"{EMPLOYEES}/{ids['bob']}", json={"salary": f"{STORED} more"})
            last = (await admin.post("/api/entities/Note", json={"title": "last"})).json()["id"]
            for stream in streams:
                before = await until_row(stream, last)
                assert {event["entity"] for event in before} <= {"Note"}
            await admin.patch(f"{EMPLOYEES}/{ids['bob']}", json={"salary": f"{STORED} of bob"})


def test_rows_that_are_filtered_have_no_documents_for_users(
    ann: httpx.Client, ids: dict[str, str]
) -> None:
    answer = ann.post(f"/api/crdt/Employee/{ids['bob']}", json={"update": "00"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "NOT_SUPPORTED")


def test_exports_hold_what_is_stored(admin: httpx.Client, ids: dict[str, str]) -> None:
    exported = admin.get("/api/export/Employee").json()["entities"]["Employee"]
    assert one_of(exported, ids["bob"])["salary"] == f"{STORED} of bob"


def test_a_request_hook_refuses_when_the_caller_is_known(
    ann: httpx.Client, admin: httpx.Client
) -> None:
    headers = {"x-refuse-me": "1"}
    refused = ann.get("/api/entities/Note", headers=headers)
    assert refused.status_code == 418
    assert refused.json()["error"] == {
        "code": "TEAPOT",
        "message": "GET /api/entities/Note is not for you.",
    }
    assert admin.get("/api/entities/Note", headers=headers).status_code == 200
    assert ann.get("/api/entities/Note").status_code == 200
    assert ann.get("/health", headers=headers).status_code == 200, "probes are answered before"


def test_metrics_tell_of_hooks_of_commits(admin: httpx.Client, ids: dict[str, str]) -> None:
    told = admin.get("/metrics", headers={"accept": "text/plain"}).text
    for name in ("waiting", "told_total", "dead_total"):
        assert f'pylon_hook_commits_{name}{{hook="tests.told"}}' in told
    assert 'pylon_hook_failures_total{hook="tests.told"} 0' in told


# --- sessions --------------------------------------------------------------------------------


def test_hooks_of_sessions_hear_what_becomes_of_them(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with serving(APP, tmp_path / "app.db", env={"HOOKS_SESSIONS": str(told)}) as server:
        with server.client() as nobody:
            guest = nobody.post("/api/auth/guest").json()["token"]
        eve = server.token_of("eve")
        with server.client(guest) as client:
            assert client.post("/api/auth/refresh").status_code == 200, "is not told"
            assert client.delete("/api/auth/session").status_code == 200
        server.token_of("ann")
        with server.client(ADMIN_TOKEN) as admin:
            assert admin.delete("/api/admin/users/ann/purge").json()["sessions_revoked"] == 1
            figures = admin.get("/metrics", headers={"accept": "text/plain"}).text
        assert "pylon_session_hook_events_lost_total 0" in figures
        with server.client(eve) as of_eve:
            assert of_eve.get("/api/auth/me").json()["user_id"] == "eve", "the session is there"
        server.token_of("last")
        server.stop(traceback_is_fine=True)
        assert server.stderr().count("ValueError: eve is here") == 1
    lines = [line.split(" ", 1) for line in told.read_text().splitlines()]
    assert [what for _, what in lines] == [
        "started a guest",
        "ended a guest",
        "started ann",
        "ended ann",
        "started last",
    ], "what waits at a stop is told"
    ids = [session_id for session_id, _ in lines]
    assert ids[0] == ids[1] != ids[2] == ids[3]


# --- hooks that do not end -------------------------------------------------------------------


def test_a_hook_that_computes_without_end_is_ended_alone(admin: httpx.Client) -> None:
    for _ in range(2):
        refused = admin.post("/api/entities/Note", json={"title": "spin"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "FN_TIMEOUT")
        assert admin.post("/api/entities/Note", json={"title": "after it"}).status_code == 201
    kept = admin.post("/api/query/Note", json={"title": "spin"}).json()
    assert kept == []
