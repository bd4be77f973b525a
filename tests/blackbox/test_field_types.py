"""Every type and constraint of a field at every door of a real server."""

# The stubs of loro leave its constructors without types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from loro import ExportMode, LoroDoc, VersionVector

from pylon.codec import decode, encode
from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).parent / "types_app.py"

GOOD: dict[str, Any] = {
    "name": "abc",
    "state": "old",
    "size": "l",
    "price": "12.5",
    "weight": 1.25,
    "day": "2026-01-31",
    "meta": {"b": [1, 2.0, {"x": None}], "a": "é"},
    "tags": ["x", "y"],
    "nums": [1, 2],
    "mail": "a@b.co",
    "link": "https://x.org/a?b=c",
    "code": "ABC-12",
    "count": 10,
}
SHOWN = {**GOOD, "price": "12.50", "weight": "1.250", "meta": {"a": "é", "b": [1, 2, {"x": None}]}}

LINES = {"content-type": "application/x-ndjson"}

BAD = {
    "name": ("a", "TOO_SHORT"),
    "state": ("x", "NOT_A_CHOICE"),
    "size": ("m", "NOT_A_CHOICE"),
    "price": ("-0.01", "TOO_SMALL"),
    "weight": ("1.2345", "WRONG_TYPE"),
    "day": ("2026-02-30", "WRONG_TYPE"),
    "tags": (["a", "b", "c", "d"], "TOO_LONG"),
    "nums": ([1, "2"], "WRONG_TYPE"),
    "mail": ("a@", "NOT_AN_EMAIL"),
    "link": ("javascript:alert(1)", "NOT_A_URL"),
    "code": ("abc-1", "PATTERN_MISMATCH"),
    "count": (11, "TOO_LARGE"),
    "nope": (1, "UNKNOWN_FIELD"),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("types") / "app.db") as server:
        yield server


@pytest.fixture
def client(running: Server) -> Iterator[httpx.Client]:
    with running.client(running.token_of("ann")) as client:
        yield client


@pytest.fixture
def admin(running: Server) -> Iterator[httpx.Client]:
    with running.client(ADMIN_TOKEN) as client:
        yield client


@pytest.fixture(params=["Item", "Plain"])
def entity(request: pytest.FixtureRequest) -> str:
    """With documents, and without."""
    return str(request.param)


def make(client: httpx.Client, entity: str, **data: Any) -> str:
    answer = client.post(f"/api/entities/{entity}", json={**GOOD, **data})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def row(client: httpx.Client, entity: str, row_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/entities/{entity}/{row_id}").json()
    return found


def found(client: httpx.Client, entity: str, query: dict[str, Any]) -> list[str]:
    answer = client.post(f"/api/query/{entity}", json=query)
    assert answer.status_code == 200, answer.text
    return [str(each["name"]) for each in answer.json()]


def wrong_fields(error: dict[str, Any]) -> dict[str, str]:
    return {each["field"]: each["code"] for each in error["fields"]}


# --- values ----------------------------------------------------------------------------------


def test_values_come_back_at_every_read(client: httpx.Client, entity: str) -> None:
    row_id = make(client, entity)
    stored = row(client, entity, row_id)
    assert {**stored, **SHOWN} == stored
    listed = client.get(f"/api/entities/{entity}").json()["data"]
    pulled = client.get("/api/sync/pull?since=0").json()["changes"]
    graph = client.post("/api/query", json={entity: {"where": {"id": row_id}}}).json()[entity]
    some = client.get(f"/api/entities/{entity}/{row_id}?fields=meta,price").json()
    assert stored in listed
    assert stored in [each["data"] for each in pulled] or stored in [
        {"id": each["row_id"], **each["data"]} for each in pulled
    ]
    assert graph == [stored]
    assert some == {"id": row_id, "price": "12.50", "meta": stored["meta"]}


def test_every_wrong_field_is_told_at_every_door(
    client: httpx.Client, admin: httpx.Client, entity: str
) -> None:
    data = {name: value for name, (value, _) in BAD.items()}
    wanted = {name: code for name, (_, code) in BAD.items()}
    row_id = make(client, entity)
    path = f"/api/entities/{entity}"
    operation = {"op": "insert", "entity": entity, "data": data}
    errors = [
        client.post(path, json=data).json()["error"],
        client.patch(f"{path}/{row_id}", json=data).json()["error"],
        client.post("/api/transact", json=[operation]).json()["results"][0],
        client.post("/api/batch", json={"operations": [operation]}).json()["results"][0],
    ]
    for error in errors:
        assert (error["code"], wrong_fields(error)) == ("INVALID_COLUMN", wanted)
    pushed = client.post(
        "/api/sync/push",
        json={"changes": [{"entity": entity, "row_id": "x", "kind": "insert", "data": data}]},
    ).json()
    for name in BAD:
        assert name in pushed["errors"][0]
    line = encode({"entity": entity, "row": {**data, "id": "imported"}})
    imported = admin.post("/api/import", content=line, headers=LINES).text
    assert '"failed":1' in imported
    for name in BAD:
        assert name in imported


def test_one_wrong_value_has_its_own_code(client: httpx.Client, entity: str) -> None:
    row_id = make(client, entity)
    answer = client.patch(f"/api/entities/{entity}/{row_id}", json={"count": 11})
    assert answer.json()["error"] == {
        "code": "INVALID_VALUE",
        "message": f"{entity}.count must be at most 10.",
        "fields": [{"field": "count", "code": "TOO_LARGE", "message": "must be at most 10"}],
    }
    missing = client.post(f"/api/entities/{entity}", json={"count": -1}).json()["error"]
    assert wrong_fields(missing) == {"count": "TOO_SMALL", "name": "REQUIRED"}


def test_filters_and_orders_go_by_value(client: httpx.Client, entity: str) -> None:
    prices = {"p9": "9", "p10": "10", "p100": "100.5", "p0": "0.05"}
    for name, price in prices.items():
        make(client, entity, name=name, price=price, tags=[name, "all"], meta=[name])
    mine = {"tags": {"$contains": "all"}, "name": {"$startsWith": "p"}}
    ordered = ["p0", "p9", "p10", "p100"]
    assert found(client, entity, {**mine, "$order": {"price": "asc"}}) == ordered
    assert found(client, entity, {**mine, "$order": {"price": "desc"}}) == ordered[::-1]
    above = {**mine, "price": {"$gt": 9.999}, "$order": {"price": "asc"}}
    assert found(client, entity, above) == ["p10", "p100"]
    assert found(client, entity, {**mine, "price": {"$in": ["9.00", 10, 9.001]}}) == ["p9", "p10"]
    assert found(client, entity, {**mine, "price": {"$ne": 9}}) == ["p10", "p100", "p0"]
    assert found(client, entity, {**mine, "price": 9.001}) == []
    after = {**mine, "$order": {"price": "asc"}, "$after": {"price": "9.00", "id": "g"}}
    assert found(client, entity, after) == ["p10", "p100"]
    assert found(client, entity, {"tags": {"$contains": "p9"}}) == ["p9"]
    assert found(client, entity, {"meta": {"$eq": ["p9"]}}) == ["p9"]
    assert found(client, entity, {"name": {"$startsWith": "p"}, "day": {"$gt": "2026-01-31"}}) == []
    sums = {"sum": ["price"], "min": ["price"], "max": ["price"], "where": mine}
    (total,) = client.post(f"/api/aggregate/{entity}", json=sums).json()["rows"]
    assert total == {"sum_price": "119.55", "min_price": "0.05", "max_price": "100.50"}
    sort = {"query": "", "sort": ["price", "desc"], "where": mine}
    hits = client.post(f"/api/search/{entity}", json=sort).json()["hits"]
    assert [hit["name"] for hit in hits] == ordered[::-1]


@pytest.mark.parametrize(
    "query",
    [
        {"meta": {"$gt": 1}},
        {"tags": ["x"]},
        {"$order": {"meta": "asc"}},
        {"price": "x"},
        {"price": {"$like": "1"}},
        {"day": "soon"},
        {"day": {"$gt": "2026"}},
        {"tags": {"$contains": ["x"]}},
    ],
)
def test_what_means_nothing_is_refused(client: httpx.Client, query: dict[str, Any]) -> None:
    answer = client.post("/api/query/Plain", json=query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_QUERY")


def test_an_export_can_be_imported_again(
    client: httpx.Client, admin: httpx.Client, entity: str
) -> None:
    row_id = make(client, entity, name="exported")
    before = row(client, entity, row_id)
    text = admin.get(f"/api/export/{entity}").content
    lines = [line for line in text.splitlines() if row_id.encode() in line or b"manifest" in line]
    assert client.delete(f"/api/entities/{entity}/{row_id}").status_code == 200
    answer = admin.post("/api/import", content=b"\n".join(lines))
    assert answer.status_code == 200, answer.text
    assert row(client, entity, row_id) == before


# --- stamps ----------------------------------------------------------------------------------


def test_stamps_are_the_servers_at_every_door(
    client: httpx.Client, admin: httpx.Client, entity: str
) -> None:
    old = "2000-01-01T00:00:00Z"
    row_id = make(client, entity, createdAt=old, updatedAt=old)
    made = row(client, entity, row_id)
    assert made["createdAt"] == made["updatedAt"] > old
    path = f"/api/entities/{entity}/{row_id}"

    def reset() -> None:  # Administrators may set them.
        assert admin.patch(path, json={"updatedAt": old}).status_code == 200
        assert row(client, entity, row_id)["updatedAt"] == old

    change = {"count": 1, "updatedAt": "1999-01-01T00:00:00Z", "createdAt": old}
    for write in (
        lambda: client.patch(path, json=change),
        lambda: client.post(
            "/api/sync/push",
            json={
                "changes": [{"entity": entity, "row_id": row_id, "kind": "update", "data": change}]
            },
        ),
        lambda: client.post(
            "/api/transact",
            json=[{"op": "update", "entity": entity, "id": row_id, "data": change}],
        ),
        lambda: admin.post(
            "/api/import?mode=upsert",
            content=encode({"entity": entity, "row": {"id": row_id, "count": 2}}),
            headers=LINES,
        ),
    ):
        reset()
        assert write().status_code == 200
        now = row(client, entity, row_id)
        assert now["createdAt"] == made["createdAt"]
        assert now["updatedAt"] > old


def test_documents_have_the_types_and_the_stamps(running: Server) -> None:
    with running.client(running.token_of("ann")) as client:
        row_id = make(client, "Item")
        doc = LoroDoc()
        fields = doc.get_map("row")
        for count in range(100):  # Later than what the server wrote, by the document's own clock.
            fields.insert("count", count % 5)
        fields.insert("meta", {"z": [1, "two"]})
        fields.insert("updatedAt", "1999-01-01T00:00:00Z")
        fields.insert("price", "3.5")
        doc.commit()
        update = doc.export(ExportMode.Updates(VersionVector())).hex()
        answer = client.post(f"/api/crdt/Item/{row_id}", json={"update": update})
        assert answer.status_code == 200, answer.text
        now = row(client, "Item", row_id)
        assert (now["meta"], now["price"]) == ({"z": [1, "two"]}, "3.50")
        assert now["updatedAt"] > "2000"
        fields.insert("count", 11)
        doc.commit()
        update = doc.export(ExportMode.Updates(VersionVector())).hex()
        answer = client.post(f"/api/crdt/Item/{row_id}", json={"update": update})
        assert wrong_fields(answer.json()["error"]) == {"count": "TOO_LARGE"}


# --- what is told of them --------------------------------------------------------------------


def test_clients_of_the_reference_see_types_that_they_know(client: httpx.Client) -> None:
    (item, *_) = client.get("/api/manifest").json()["entities"]
    types = {each["name"]: each["type"] for each in item["fields"]}
    assert {types[name] for name in GOOD if name != "count"} == {"string"}
    assert (types["count"], types["createdAt"]) == ("int", "datetime")


def test_openapi_tells_what_is_taken(client: httpx.Client) -> None:
    shapes = decode(client.get("/api/openapi.json").content)["components"]["schemas"]
    (name,) = [each for each in shapes if each.endswith("Plain.Insert")]
    taken = shapes[name]["properties"]
    assert taken["name"] == {"type": "string", "minLength": 2, "maxLength": 10}
    assert taken["state"]["enum"] == ["new", "old"]
    assert taken["count"]["maximum"] == 10
    assert taken["mail"]["format"] == "email"
    assert taken["day"]["format"] == "date"
    assert taken["tags"]["items"] == {"type": "string"}
    assert taken["code"]["pattern"] == "^(?:[A-Z]{3}-[0-9]+)$"
