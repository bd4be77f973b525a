"""Rows over HTTP against the real program: routes, statuses, codes, values, rules (spec 02 4)."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from pylon import limits
from pylon.config import Config
from pylon.schema.model import EntitySpec, Manifest
from pylon.service import Service

HEX_ID = re.compile(r"[0-9a-f]{40}")


def insert(client: httpx.Client, entity: str, data: dict[str, Any]) -> str:
    answer = client.post(f"/api/entities/{entity}", json=data)
    assert answer.status_code == 201, answer.text
    assert list(answer.json()) == ["id"]
    row_id: str = answer.json()["id"]
    return row_id


def get(client: httpx.Client, entity: str, row_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/entities/{entity}/{row_id}")
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """The message of an error of this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["code"] == code, error
    message: str = error["message"]
    return message


# --- the life of a row -----------------------------------------------------------------------


def test_a_row_lives(ann: httpx.Client) -> None:
    row_id = insert(ann, "Strict", {"name": "life", "count": 3})
    assert HEX_ID.fullmatch(row_id)
    row = get(ann, "Strict", row_id)
    made_at = row.pop("madeAt")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made_at)
    assert row == {
        "id": row_id,
        "name": "life",
        "count": 3,
        "done": False,
        "state": "open",
        "score": 1.5,
        "ownerId": "ann",
    }
    path = f"/api/entities/Strict/{row_id}"
    changed = ann.patch(path, json={"done": True, "state": "closed"})
    assert (changed.status_code, changed.json()) == (200, {"updated": True})
    assert get(ann, "Strict", row_id) == {
        **row,
        "done": True,
        "state": "closed",
        "madeAt": made_at,
    }
    gone = ann.delete(path)
    assert (gone.status_code, gone.json()) == (200, {"deleted": True})
    for answer in (ann.get(path), ann.patch(path, json={"count": 1}), ann.delete(path)):
        refused(answer, 404, "NOT_FOUND")


def test_defaults_are_for_fields_left_out_only(nobody: httpx.Client, ann: httpx.Client) -> None:
    row = get(nobody, "Strict", insert(nobody, "Strict", {"name": "anonymous", "count": 0}))
    assert row["ownerId"] is None
    given = {"name": "given", "count": 0, "done": True, "state": "", "score": 0, "ownerId": None}
    row = get(ann, "Strict", insert(ann, "Strict", given))
    assert {name: row[name] for name in given} == given


@pytest.mark.parametrize("missing", ["name", "count"])
@pytest.mark.parametrize("as_null", [True, False])
def test_a_required_field_is_required(ann: httpx.Client, missing: str, as_null: bool) -> None:
    data: dict[str, Any] = {"name": "required", "count": 1}
    data.pop(missing)
    if as_null:
        data[missing] = None
    answer = ann.post("/api/entities/Strict", json=data)
    assert missing in refused(answer, 400, "INSERT_FAILED")


def test_a_required_field_cannot_be_cleared(ann: httpx.Client) -> None:
    row_id = insert(ann, "Strict", {"name": "kept", "count": 1})
    for field in ("name", "done", "madeAt"):
        answer = ann.patch(f"/api/entities/Strict/{row_id}", json={field: None})
        assert field in refused(answer, 400, "UPDATE_FAILED")


def test_a_unique_field_is_unique(ann: httpx.Client) -> None:
    insert(ann, "Strict", {"name": "one", "count": 1})
    other = insert(ann, "Strict", {"name": "two", "count": 1})
    message = refused(
        ann.post("/api/entities/Strict", json={"name": "one", "count": 2}), 400, "INSERT_FAILED"
    )
    assert "name" in message
    path = f"/api/entities/Strict/{other}"
    refused(ann.patch(path, json={"name": "one"}), 400, "UPDATE_FAILED")
    assert ann.patch(path, json={"name": "two"}).status_code == 200
    assert get(ann, "Strict", other)["name"] == "two"


# --- ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chosen",
    [
        "c03d553f-bddf-4f02-9c4f-a0efd8d9765a",
        "018f4d6e-7a2b-7c3d-9e4f-0123456789ab",
        "9154F696-8872-4A7B-AA2E-E22B63EC197E",
        "d02caa9346b24e4db5aeb571f2899bed00000001",
    ],
)
def test_a_client_may_choose_a_well_formed_id(ann: httpx.Client, chosen: str) -> None:
    assert insert(ann, "Mark", {"id": chosen, "n": 1}) == chosen
    refused(ann.post("/api/entities/Mark", json={"id": chosen, "n": 2}), 409, "ID_TAKEN")
    assert get(ann, "Mark", chosen)["n"] == 1
    assert ann.delete(f"/api/entities/Mark/{chosen}").status_code == 200
    assert insert(ann, "Mark", {"id": chosen, "n": 3}) == chosen, "a freed id may be used again"


@pytest.mark.parametrize(
    "chosen",
    ["", "1", "A" * 40, "861c48aa-eafa-11f1-8eb0-02fc00000001", 7, None, ["x"], "../../etc/passwd"],
)
def test_any_other_id_is_replaced(ann: httpx.Client, chosen: Any) -> None:
    row_id = insert(ann, "Mark", {"id": chosen, "n": 1})
    assert HEX_ID.fullmatch(row_id)
    assert row_id != chosen


def test_an_id_in_a_patch_is_ignored(ann: httpx.Client) -> None:
    row_id = insert(ann, "Mark", {"n": 1})
    path = f"/api/entities/Mark/{row_id}"
    assert ann.patch(path, json={"id": "0" * 40, "n": 2}).status_code == 200
    assert get(ann, "Mark", row_id) == {"id": row_id, "n": 2, "text": None}
    for hollow in ({}, {"id": "0" * 40}):
        refused(ann.patch(path, json=hollow), 404, "NOT_FOUND")


def test_ids_rise(ann: httpx.Client) -> None:
    ids = [insert(ann, "Mark", {"n": n}) for n in range(20)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 20


def test_strange_ids_are_just_absent(ann: httpx.Client) -> None:
    for strange in ("x", "a/b/c", "%00", "%20", "%F0%9F%98%80", "'", "..%2f..", "a" * 4000):
        for answer in (
            ann.get(f"/api/entities/Mark/{strange}"),
            ann.patch(f"/api/entities/Mark/{strange}", json={"n": 1}),
            ann.delete(f"/api/entities/Mark/{strange}"),
        ):
            refused(answer, 404, "NOT_FOUND")


# --- what is refused -------------------------------------------------------------------------


def test_an_unknown_entity_is_told(ann: httpx.Client) -> None:
    for answer in (
        ann.get("/api/entities/Strixt"),
        ann.post("/api/entities/Strixt", json={}),
        ann.patch("/api/entities/Strixt/1", json={}),
        ann.delete("/api/entities/Strixt/1"),
        ann.get("/api/entities/strict"),
        ann.get("/api/entities/_pylon_changes"),
        ann.get("/api/entities/sqlite_master"),
    ):
        refused(answer, 400, "ENTITY_NOT_FOUND")
    for path in ("Strixt/1", "strict/1", "Strixt/cursor?limit=1"):
        refused(ann.get(f"/api/entities/{path}"), 404, "ENTITY_NOT_FOUND")
    assert ann.get("/api/entities/Strixt").json()["error"]["hint"] == 'Did you mean "Strict"?'


def test_an_unknown_field_is_named_before_anything_is_written(ann: httpx.Client) -> None:
    row_id = insert(ann, "Mark", {"n": 1})
    for answer in (
        ann.post("/api/entities/Mark", json={"n": 1, "txt": "x"}),
        ann.patch(f"/api/entities/Mark/{row_id}", json={"n": 2, "txt": "x"}),
    ):
        assert "txt" in refused(answer, 400, "INVALID_COLUMN")
        assert answer.json()["error"]["hint"] == 'Did you mean "text"?'
    assert get(ann, "Mark", row_id)["n"] == 1


@pytest.mark.parametrize("data", [b"[]", b"[{}]", b'"text"', b"1", b"true", b"null"])
def test_data_is_an_object(ann: httpx.Client, data: bytes) -> None:
    row_id = insert(ann, "Mark", {"n": 1})
    refused(ann.post("/api/entities/Mark", content=data), 400, "INVALID_DATA")
    refused(ann.patch(f"/api/entities/Mark/{row_id}", content=data), 400, "INVALID_DATA")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nul",
        b'{"n":1}x',
        b"{'n':1}",
        b'{"n":01}',
        b'{"n":NaN}',
        b'{"n":1,}',
        b'{"text":"\xff"}',
        b'{"text":"\xed\xa0\x80"}',
        b'{"text":"\\ud800"}',
        b'{"text":"\\ude00\\ud83d"}',
        b'{"text":"\n"}',
        b'\xef\xbb\xbf{"n":1}',
        b"\x00",
        b"[" * 100_000,
        b'{"n":' * 100_000,
        b"1" * 1_000_000 + b".",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_json(ann: httpx.Client, body: bytes) -> None:
    row_id = insert(ann, "Mark", {"n": 1})
    headers = {"content-type": "application/json"}
    for answer in (
        ann.post("/api/entities/Mark", content=body, headers=headers),
        ann.patch(f"/api/entities/Mark/{row_id}", content=body, headers=headers),
    ):
        refused(answer, 400, "INVALID_JSON")
    assert get(ann, "Mark", row_id)["n"] == 1


WRONG = {
    "text": [1, True, 1.5, [], {}],
    "number": ["1", True, False, 1.5, 2**63, -(2**63) - 1, 1e19, [], {}],
    "ratio": ["1.5", True, [], {}, 10**400],
    "flag": ["true", "1", 2, -1, 0.5, [], {}],
    "at": ["yesterday", "", "2026-13-01", "2026-01-01T25:00:00Z", 1_767_225_600, True, []],
    "body": [1, False, ["x"], {}],
    "link": [1, True, [], {"id": "x"}],
}


@pytest.mark.parametrize("field", WRONG)
def test_a_value_of_another_type_is_refused(ann: httpx.Client, field: str) -> None:
    row_id = insert(ann, "Sample", {})
    for value in WRONG[field]:
        codes = ("INVALID_DATA", "INVALID_JSON") if value == 10**400 else ("INVALID_DATA",)
        for answer in (
            ann.post("/api/entities/Sample", json={field: value}),
            ann.patch(f"/api/entities/Sample/{row_id}", json={field: value}),
        ):
            assert answer.status_code == 400, (value, answer.text)
            assert answer.json()["error"]["code"] in codes
    assert get(ann, "Sample", row_id)[field] is None


def test_a_private_field_is_not_the_callers_to_write(ann: httpx.Client) -> None:
    row_id = insert(ann, "Note", {"ownerId": "ann"})
    for answer in (
        ann.post("/api/entities/Note", json={"ownerId": "ann", "secret": "x"}),
        ann.patch(f"/api/entities/Note/{row_id}", json={"secret": "x"}),
    ):
        refused(answer, 400, "INVALID_COLUMN")


def test_methods_that_a_path_does_not_take(ann: httpx.Client) -> None:
    row_id = insert(ann, "Mark", {"n": 1})
    rows, row = "/api/entities/Mark", f"/api/entities/Mark/{row_id}"
    for method, path in (
        ("PUT", rows),
        ("PATCH", rows),
        ("DELETE", rows),
        ("PUT", row),
        ("POST", row),
    ):
        answer = ann.request(method, path, json={"n": 2})
        refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert get(ann, "Mark", row_id)["n"] == 1


def test_options_is_204_everywhere(nobody: httpx.Client) -> None:
    for path in ("/api/entities/Mark", "/api/entities/Mark/1", "/api/nowhere", "/"):
        answer = nobody.options(path)
        assert (answer.status_code, answer.content) == (204, b"")


def test_a_body_beyond_the_limit_is_413(ann: httpx.Client) -> None:
    largest = b'{"text":"%b"}' % (b"x" * (limits.BODY_BYTES_MAX - len(b'{"text":""}')))
    assert len(largest) == limits.BODY_BYTES_MAX
    answer = ann.post("/api/entities/Mark", content=largest)
    assert answer.status_code == 201
    assert len(get(ann, "Mark", answer.json()["id"])["text"]) == len(largest) - 11
    assert ann.delete(f"/api/entities/Mark/{answer.json()['id']}").status_code == 200
    refused(ann.post("/api/entities/Mark", content=largest + b" "), 413, "PAYLOAD_TOO_LARGE")


# --- lists -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numbered(admin: httpx.Client) -> list[str]:
    """Ids of 130 rows of Shown in order; every third is hidden from all but the administrator."""
    return [insert(admin, "Shown", {"n": n, "shown": n % 3 != 0}) for n in range(130)]


def test_a_list_is_by_id_with_limit_and_offset(nobody: httpx.Client, numbered: list[str]) -> None:
    seen = [row_id for n, row_id in enumerate(numbered) if n % 3 != 0]
    path = "/api/entities/Shown"
    whole = nobody.get(path).json()
    assert [row["id"] for row in whole["data"]] == seen
    assert (whole["count"], whole["offset"], whole["limit"]) == (len(seen), 0, None)
    part = nobody.get(path, params={"limit": 5, "offset": 3}).json()
    assert part == {"data": whole["data"][3:8], "count": 5, "offset": 3, "limit": 5}
    assert nobody.get(path, params={"limit": 0}).json()["data"] == []
    assert nobody.get(path, params={"offset": 10_000}).json()["count"] == 0


async def test_a_list_that_was_cut_says_so_in_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIST_ROWS_MAX", 3)
    note = EntitySpec(name="Note", fields=(), indexes=())
    manifest = Manifest(name="lists", version="1", entities=(note,), routes=())
    service = Service(manifest, Config.from_env({}, dev_mode=True, in_memory=True))
    await service.start()
    transport = httpx.ASGITransport(service)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for _ in range(4):
            await client.post("/api/entities/Note", json={})
        for asked, told in ((None, 3), (3, 3), (1_000, 3), (2, 2)):
            params = {} if asked is None else {"limit": asked}
            answer = (await client.get("/api/entities/Note", params=params)).json()
            assert (answer["count"], answer["limit"]) == (told, told)
    await service.stop()


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "²", "0x10", "null", "undefined"])
@pytest.mark.parametrize("name", ["limit", "offset"])
def test_a_limit_or_offset_that_is_no_number_is_refused(
    nobody: httpx.Client, name: str, value: str
) -> None:
    for path in ("/api/entities/Shown", "/api/entities/Shown/cursor"):
        if name == "limit" or not path.endswith("cursor"):
            message = refused(nobody.get(path, params={name: value}), 400, "INVALID_QUERY")
            assert name in message
            assert value in message


def test_an_empty_limit_or_offset_is_none(nobody: httpx.Client, numbered: list[str]) -> None:
    whole = nobody.get("/api/entities/Shown").json()
    assert nobody.get("/api/entities/Shown?limit=&offset=&_=17").json() == whole


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, 2**64, 10**20 - 1])
def test_huge_limits_and_offsets_are_answered(
    nobody: httpx.Client, numbered: list[str], value: int
) -> None:
    rows = nobody.get("/api/entities/Shown", params={"limit": value})
    assert rows.status_code == 200
    assert rows.json()["count"] == 86
    none = nobody.get("/api/entities/Shown", params={"offset": value})
    assert none.status_code == 200, none.text
    assert none.json()["count"] == 0


@pytest.mark.parametrize("limit", [1, 7, 86, 87, 100, 1000])
def test_a_cursor_walks_over_every_visible_row_once(
    nobody: httpx.Client, numbered: list[str], limit: int
) -> None:
    seen: list[str] = []
    after = ""
    for _ in range(200):
        page = nobody.get(
            "/api/entities/Shown/cursor", params={"after": after, "limit": limit}
        ).json()
        assert list(page) == ["data", "next_cursor", "has_more"]
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        assert len(page["data"]) == min(limit, limits.CURSOR_ROWS_MAX), "only the last is not full"
        assert page["next_cursor"] == seen[-1]
        after = page["next_cursor"]
    assert seen == [row_id for n, row_id in enumerate(numbered) if n % 3 != 0]


def test_a_row_called_cursor_is_read_at_its_address(
    admin: httpx.Client, nobody: httpx.Client
) -> None:
    path = "/api/entities/Shown/cursor"
    pages = [nobody.get(path, params=each).json() for each in ({}, {"limit": 1}, {"after": ""})]
    assert all("next_cursor" in page for page in pages)
    row = {"id": "cursor", "n": 7, "shown": True}
    assert admin.post("/api/import", json={"entities": {"Shown": [row]}}).json()["imported"] == 1
    try:
        assert nobody.get(path).json()["id"] == "cursor"
        for asked in ({"limit": "1"}, {"after": ""}, {"limit": "100", "after": ""}):
            assert "next_cursor" in nobody.get(path, params=asked).json()
        assert admin.patch(path, json={"n": 8}).status_code == 200
        assert nobody.get(path).json()["n"] == 8
    finally:
        assert admin.delete(path).status_code == 200
    assert "next_cursor" in nobody.get(path).json()


def test_a_cursor_page_without_a_limit(nobody: httpx.Client, numbered: list[str]) -> None:
    path = "/api/entities/Shown/cursor"
    assert len(nobody.get(path).json()["data"]) == limits.CURSOR_ROWS_DEFAULT
    assert len(nobody.get(path, params={"limit": 0}).json()["data"]) == 1, "clamped, never a loop"
    end = nobody.get(path, params={"after": max(numbered)}).json()
    assert end == {"data": [], "next_cursor": None, "has_more": False}


@pytest.mark.parametrize("after", ["g", "banana", "0", "0" * 39, "0" * 41, "undefined"])
def test_a_cursor_that_no_page_has_given_is_refused(
    nobody: httpx.Client, numbered: list[str], after: str
) -> None:
    path = "/api/entities/Shown/cursor"
    assert "next_cursor" in refused(nobody.get(path, params={"after": after}), 400, "INVALID_QUERY")


def test_a_cursor_of_a_row_that_has_gone_goes_on(
    admin: httpx.Client, nobody: httpx.Client, numbered: list[str]
) -> None:
    """Also where imported ids are texts like any other: their cursors say that they are some."""
    path = "/api/entities/Shown/cursor"
    ids = [f"row-{n}" for n in range(4)]
    rows = [{"id": each, "n": 1, "shown": True} for each in ids]
    assert admin.post("/api/import", json={"entities": {"Shown": rows}}).json()["imported"] == 4
    try:
        page = nobody.get(path, params={"after": ids[0], "limit": 1}).json()
        assert [row["id"] for row in page["data"]] == ids[1:2], "the id of a row is one too"
        assert admin.delete(f"/api/entities/Shown/{ids[1]}").status_code == 200
        page = nobody.get(path, params={"after": page["next_cursor"]}).json()
        assert [row["id"] for row in page["data"]] == ids[2:]
        assert admin.delete(f"/api/entities/Shown/{ids[3]}").status_code == 200
        end = nobody.get(path, params={"after": page["next_cursor"]}).json()
        assert end == {"data": [], "next_cursor": None, "has_more": False}
    finally:
        for each in ids:
            admin.delete(f"/api/entities/Shown/{each}")
    gone = insert(admin, "Shown", {"n": 1, "shown": True})
    assert admin.delete(f"/api/entities/Shown/{gone}").status_code == 200
    assert nobody.get(path, params={"after": gone}).json()["data"] == []


# --- rules -----------------------------------------------------------------------------------


def test_null_owns_nothing(nobody: httpx.Client, ann: httpx.Client, admin: httpx.Client) -> None:
    """An anonymous caller's null user id is not equal to a row's null owner (design 4.5)."""
    ownerless = insert(admin, "Note", {"text": "nobody's"})
    refused(nobody.get(f"/api/entities/Note/{ownerless}"), 404, "NOT_FOUND")
    assert ownerless not in [row["id"] for row in nobody.get("/api/entities/Note").json()["data"]]
    refused(
        nobody.patch(f"/api/entities/Note/{ownerless}", json={"text": "x"}), 403, "POLICY_DENIED"
    )
    refused(nobody.post("/api/entities/Note", json={"text": "x"}), 403, "POLICY_DENIED")
    refused(nobody.delete(f"/api/entities/Note/{ownerless}"), 403, "POLICY_DENIED")
    refused(ann.get(f"/api/entities/Note/{ownerless}"), 404, "NOT_FOUND")
    # No row whatever could pass for a caller without a user id, so even a list is a plain no.
    for path in ("/api/entities/Mine", "/api/entities/Mine/cursor", "/api/entities/Mine/1"):
        refused(nobody.get(path), 403, "POLICY_DENIED")
    assert get(admin, "Note", ownerless)["text"] == "nobody's"


def test_a_row_that_may_not_be_read_is_not_there(ann: httpx.Client, bob: httpx.Client) -> None:
    hidden = insert(ann, "Note", {"ownerId": "ann"})
    shared = insert(ann, "Note", {"ownerId": "ann", "public": True})
    for answer in (
        bob.get(f"/api/entities/Note/{hidden}"),
        bob.patch(f"/api/entities/Note/{hidden}", json={"text": "x"}),
        bob.delete(f"/api/entities/Note/{hidden}"),
    ):
        refused(answer, 404, "NOT_FOUND")
    assert get(bob, "Note", shared)["ownerId"] == "ann"
    refused(bob.patch(f"/api/entities/Note/{shared}", json={"text": "x"}), 403, "POLICY_DENIED")
    refused(bob.delete(f"/api/entities/Note/{shared}"), 403, "POLICY_DENIED")


def test_a_row_cannot_be_handed_over_or_put_upon_another(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    row_id = insert(ann, "Note", {"ownerId": "ann", "text": "mine"})
    path = f"/api/entities/Note/{row_id}"
    refused(ann.patch(path, json={"ownerId": "bob"}), 403, "POLICY_DENIED")
    refused(bob.post("/api/entities/Note", json={"ownerId": "ann"}), 403, "POLICY_DENIED")
    assert get(ann, "Note", row_id)["ownerId"] == "ann"


def test_private_fields_are_the_administrators(
    admin: httpx.Client, ann: httpx.Client, bob: httpx.Client
) -> None:
    row_id = insert(admin, "Note", {"ownerId": "ann", "public": True, "secret": "s3cret"})
    assert get(admin, "Note", row_id)["secret"] == "s3cret"
    for client in (ann, bob):
        for path in (f"/{row_id}", "", "/cursor?limit=100"):
            answer = client.get(f"/api/entities/Note{path}")
            assert row_id in answer.text
            assert "secret" not in answer.text
    users = admin.post("/api/entities/User", json={"email": "a@b.co", "passwordHash": "x"})
    assert users.status_code in (201, 400)
    if users.status_code == 201:
        assert "passwordHash" in get(admin, "User", users.json()["id"])


def test_an_entity_without_a_policy_is_closed_in_production(
    nobody: httpx.Client, ann: httpx.Client, admin: httpx.Client
) -> None:
    row_id = insert(admin, "Undeclared", {"n": 1})
    for client in (nobody, ann):
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/cursor", None),
            ("GET", f"/{row_id}", None),
            ("POST", "", {"n": 2}),
            ("PATCH", f"/{row_id}", {"n": 2}),
            ("DELETE", f"/{row_id}", None),
        ):
            answer = client.request(method, f"/api/entities/Undeclared{path}", json=body)
            refused(answer, 403, "POLICY_DENIED")
    assert get(admin, "Undeclared", row_id)["n"] == 1


def test_a_list_shows_exactly_what_a_get_does(
    admin: httpx.Client, ann: httpx.Client, bob: httpx.Client, nobody: httpx.Client
) -> None:
    rows = [
        {"text": f"{owner}{public}", "ownerId": owner, "public": public}
        for owner in ("ann", "bob", "", None)
        for public in (True, False, None)
    ]
    ids = [insert(admin, "Note", row) for row in rows]
    for client in (ann, bob, nobody, admin):
        gets = {
            row_id: answer.json()
            for row_id in ids
            if (answer := client.get(f"/api/entities/Note/{row_id}")).status_code == 200
        }
        listed = {row["id"]: row for row in client.get("/api/entities/Note").json()["data"]}
        assert {row_id: row for row_id, row in listed.items() if row_id in ids} == gets
        assert len(gets) == {ann: 6, bob: 6, nobody: 4, admin: 12}[client]
