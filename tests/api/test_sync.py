"""`GET /api/sync/pull` of the real program: shape, pages, cursors (spec 03 section 3.1).

That replicas converge is held by tests/sync; who may see what by tests/blackbox/test_leaks.py.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, serving

PATH = "/api/sync/pull"


def page(client: httpx.Client, since: object = None) -> dict[str, Any]:
    answer = client.get(PATH, params={} if since is None else {"since": str(since)})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert list(told) == ["changes", "cursor", "has_more"]
    assert list(told["cursor"]) == ["last_seq"]
    return told


def newest(client: httpx.Client) -> int:
    since: int = 0
    while True:
        told = page(client, since)
        since = told["cursor"]["last_seq"]
        if not told["has_more"]:
            return since


def test_an_empty_server(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server, server.client() as client:
        empty = {"changes": [], "cursor": {"last_seq": 0}, "has_more": False}
        assert client.get(PATH).json() == empty
        assert client.get(PATH, params={"since": 0}).json() == empty


def test_a_row_as_it_is_now_under_its_latest_change(admin: httpx.Client) -> None:
    since = newest(admin)
    row_id = admin.post("/api/entities/Mark", json={"n": 1}).json()["id"]
    (event,) = page(admin, since)["changes"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event.pop("timestamp"))
    row = {"id": row_id, "n": 1, "text": None}
    head = {"entity": "Mark", "row_id": row_id}
    assert event == {"seq": since + 1, **head, "kind": "insert", "data": row}
    for n in (2, 3):
        admin.patch(f"/api/entities/Mark/{row_id}", json={"n": n})
    (event,) = page(admin, since)["changes"]
    assert (event["seq"], event["kind"], event["data"]) == (since + 3, "insert", {**row, "n": 3})
    (event,) = page(admin, since + 1)["changes"]
    assert (event["seq"], event["kind"], event["data"]) == (since + 3, "update", {**row, "n": 3})
    admin.delete(f"/api/entities/Mark/{row_id}")
    (event,) = page(admin, since + 1)["changes"]
    assert list(event) == ["seq", "entity", "row_id", "kind", "timestamp"]
    assert (event["seq"], event["kind"]) == (since + 4, "delete")
    assert page(admin, since)["cursor"]["last_seq"] == since + 4
    assert page(admin, since + 4) == {
        "changes": [],
        "cursor": {"last_seq": since + 4},
        "has_more": False,
    }


@pytest.mark.parametrize("since", ["-1", "banana", "1.5", "²", "0x1", "1e3", "NaN", "undefined"])
def test_a_cursor_that_is_no_number_is_refused(admin: httpx.Client, since: str) -> None:
    error = admin.get(PATH, params={"since": since}).json()["error"]
    assert error["code"] == "INVALID_QUERY"
    assert f'"{since}"' in error["message"]


def test_no_cursor_is_zero(admin: httpx.Client) -> None:
    assert page(admin, "") == page(admin, 0) == page(admin)


def test_what_clients_send_beside_the_cursor_is_taken(admin: httpx.Client) -> None:
    for beside in ({"limit": 0}, {"snapshot_after": "x"}, {"_": 17}):
        answer = admin.get(PATH, params={"since": 0, **beside})
        assert answer.json() == page(admin, 0)


@pytest.mark.parametrize("ahead", [1, 1_000, 2**53, 2**63, 10**30])
def test_a_cursor_of_another_life_is_410(admin: httpx.Client, ahead: int) -> None:
    now = newest(admin)
    answer = admin.get(PATH, params={"since": now + ahead})
    assert answer.status_code == 410, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["oldest_seq"]) == ("RESYNC_REQUIRED", now + 1)


async def test_pages_are_bounded_and_their_cursors_rise(tmp_path: Path) -> None:
    """More rows than one page holds."""
    path = "/api/entities/Mark"
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server:
        async with server.async_client(ADMIN_TOKEN) as client:
            count = limits.PULL_ROWS_MAX + 50
            numbers = iter(range(count))
            expected: set[str] = set()

            async def insert() -> None:
                for n in numbers:
                    expected.add((await client.post(path, json={"n": n})).json()["id"])

            await asyncio.gather(*(insert() for _ in range(32)))
            since: int = 0
            ids: list[str] = []
            while True:
                told = (await client.get(PATH, params={"since": since})).json()
                ids += [event["row_id"] for event in told["changes"]]
                assert len(told["changes"]) <= limits.PULL_ROWS_MAX
                assert told["cursor"]["last_seq"] == told["changes"][-1]["seq"]
                if not told["has_more"]:
                    break
                assert told["cursor"]["last_seq"] > since
                since = told["cursor"]["last_seq"]
        assert since > 0, "more than one page"
        assert len(ids) == count
        assert set(ids) == expected
        assert len(expected) == count


def test_other_parameters_and_methods(admin: httpx.Client) -> None:
    error = admin.get(PATH, params={"xsince": 5, "since": 0}).json()["error"]
    assert error["code"] == "INVALID_QUERY"
    assert '"xsince"' in error["message"]
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert admin.request(method, PATH).status_code in (404, 405)


def test_cursors_hold_over_a_restart(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server:
        with server.client(ADMIN_TOKEN) as client:
            for n in range(3):
                client.post("/api/entities/Mark", json={"n": n})
            before = page(client, 1)
        server.stop()
        server.start()
        with server.client(ADMIN_TOKEN) as client:
            assert page(client, 1) == before
            client.post("/api/entities/Mark", json={"n": 3})
            assert [e["seq"] for e in page(client, 3)["changes"]] == [4]
