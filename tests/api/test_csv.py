"""CSV out and in, and imports that find rows by a key, against the real program."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).with_name("csv_app.py")
PEOPLE = "/api/entities/Person"
EVERYTHING: list[dict[str, Any]] = [
    {
        "email": "ann@example.com",
        "name": 'Ann, "the\r\nfirst" ',
        "age": 2**53 + 1,
        "score": 0.1,
        "isMember": True,
        "joinedAt": "2026-01-02T03:04:05.678+02:00",
        "friendId": "00000000000000000000000000000000deadbeef",
        "team": "=1+1",
        "secret": "s",
        "ownerId": "ann",
    },
    {"email": "bob@example.com", "name": "", "age": -1, "score": 1e300, "isMember": False},
    {"name": "żółć 雪 \u2028", "team": " a "},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("csv") / "app.db") as running:
        yield running


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[httpx.Client]:
    """The administrator of a server without rows."""
    with serving(APP, tmp_path / "app.db") as running, running.client(ADMIN_TOKEN) as client:
        yield client


def put(client: httpx.Client, text: str | bytes, entity: str = "Person", **asked: str) -> Any:
    """The report of an import."""
    answer = client.post(
        "/api/import",
        params={"entity": entity, **asked},
        content=text if isinstance(text, bytes) else text.encode(),
        headers={"content-type": "text/csv"},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def done(report: Any) -> tuple[int, int, int, int]:
    return report["imported"], report["updated"], report["skipped"], report["failed"]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


# --- out and in ------------------------------------------------------------------------------


def test_every_value_comes_back(admin: httpx.Client, tmp_path: Path) -> None:
    for row in EVERYTHING:
        assert admin.post(PEOPLE, json=row).status_code == 201
    expected = admin.get(PEOPLE).json()["data"]
    answer = admin.get("/api/export/Person?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert admin.get("/api/export/Person", headers={"accept": "text/csv"}).text == answer.text
    assert table(answer.text)[0] == list(expected[0])
    with serving(APP, tmp_path / "other.db") as other, other.client(ADMIN_TOKEN) as client:
        assert done(put(client, answer.content)) == (3, 0, 0, 0)
        assert client.get(PEOPLE).json()["data"] == expected
        assert done(put(client, answer.content)) == (0, 0, 3, 0), "it can be repeated"
        assert client.get("/api/export/Person?format=csv").text == answer.text


def test_a_list_is_a_table_of_what_the_caller_sees(server: Server) -> None:
    with server.client(ADMIN_TOKEN) as admin, server.client(server.token_of("ann")) as ann:
        for n in range(3):
            row = {"name": f"n{n}", "age": n, "ownerId": "ann" if n else "bob", "secret": "s"}
            assert admin.post(PEOPLE, json=row).status_code == 201
        answer = ann.get(PEOPLE, params={"format": "csv", "sort": "-age", "fields": "name,age"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows = table(answer.text)
        assert rows[0] == ["id", "name", "age"]
        assert [row[1:] for row in rows[1:]] == [["n2", "2"], ["n1", "1"]]
        assert "secret" not in table(ann.get(f"{PEOPLE}?format=csv").text)[0]
        assert len(table(ann.get(f"{PEOPLE}?format=csv&limit=1&offset=1").text)) == 2
        assert ann.get(f"{PEOPLE}?format=json").json() == ann.get(PEOPLE).json()
        for wrong in ("format=xml", "format=csv&count=exact", "spreadsheet=1", "format=csv&sort=x"):
            assert ann.get(f"{PEOPLE}?{wrong}").status_code == 400
        assert refusal(ann.get(f"{PEOPLE}?format=csv&fields=secret")) == (400, "INVALID_COLUMN")
        with server.client() as nobody:
            assert refusal(nobody.get(f"{PEOPLE}?format=csv")) == (403, "POLICY_DENIED")


def test_a_spreadsheet_is_given_no_formulas(admin: httpx.Client) -> None:
    assert admin.post(PEOPLE, json=EVERYTHING[0]).status_code == 201
    for path in ("/api/export/Person", PEOPLE):
        plain = admin.get(f"{path}?format=csv").content
        assert b",=1+1," in plain
        guarded = admin.get(f"{path}?format=csv&spreadsheet=true").content
        assert guarded.startswith(b"\xef\xbb\xbfid,")
        assert b",'=1+1," in guarded


def test_a_large_table_is_written_in_pieces(admin: httpx.Client) -> None:
    count = limits.LIST_ROWS_MAX + 500
    text = "name,age\n" + "".join(f"n{n},{n}\n" for n in range(count))
    assert done(put(admin, text)) == (count, 0, 0, 0)
    for path in ("/api/export/Person?format=csv", f"{PEOPLE}?format=csv&sort=age"):
        rows = table(admin.get(path, timeout=60).text)
        assert [row[3] for row in rows[1:]] == [str(n) for n in range(count)]


def test_every_type_comes_back(tmp_path: Path) -> None:
    types = APP.parents[1] / "blackbox" / "types_app.py"
    rows: list[dict[str, Any]] = [
        {"name": "abc", "state": "old", "size": "l", "price": "12.5", "weight": 1.25},
        {"name": "def", "day": "2026-01-31", "tags": ["x", "5", ""], "nums": [1, 2], "count": 10},
        {"name": "ghi", "mail": "a@b.co", "link": "https://x.org/a?b=c", "code": "ABC-12"},
    ]
    some_json: list[Any] = ["5", 5, "", {"a": [None]}, [], True]
    rows += [{"name": "json", "meta": value} for value in some_json]
    with serving(types, tmp_path / "a.db") as one, one.client(ADMIN_TOKEN) as admin:
        for row in rows:
            assert admin.post("/api/entities/Item", json=row).status_code == 201
        expected = admin.get("/api/entities/Item").json()["data"]
        text = admin.get("/api/export/Item?format=csv").content
        assert admin.get("/api/entities/Item?format=csv").content == text
        assert done(put(admin, text, entity="Item")) == (0, 0, len(rows), 0)
        bad = put(admin, 'name,tags,meta\nabc,a b,\nabc,,"{"\n', entity="Item")
        assert [each["code"] for each in bad["errors"]] == ["INVALID_CSV", "INVALID_CSV"]
    with serving(types, tmp_path / "b.db") as two, two.client(ADMIN_TOKEN) as admin:
        assert done(put(admin, text, entity="Item")) == (len(rows), 0, 0, 0)
        assert admin.get("/api/entities/Item").json()["data"] == expected


# --- files as they come ----------------------------------------------------------------------


def test_cells_are_read_as_the_types_of_the_fields(admin: httpx.Client) -> None:
    text = '\ufeffname;age;score;isMember;team\r\n007;007;7;TRUE;\r\nb;1.0;1e3;0;""\r\n'
    assert done(put(admin, text)) == (2, 0, 0, 0)
    rows = admin.get(f"{PEOPLE}?fields=name,age,score,isMember,team").json()["data"]
    assert [list(row.values())[1:] for row in rows] == [
        ["007", 7, 7.0, True, "none"],
        ["b", 1, 1000.0, False, ""],
    ]


def test_a_bad_line_is_told_by_its_number_and_costs_no_other(admin: httpx.Client) -> None:
    text = 'name,age\na,1\nb,old\n"c\nd",2\ne,"3\n,4\nf,5,6\ng,7\n'
    report = put(admin, text.replace('"3', "1_0"))
    assert done(report) == (3, 0, 0, 4)
    assert [(each["row"], each["code"]) for each in report["errors"]] == [
        (3, "INVALID_DATA"),
        (6, "INVALID_DATA"),
        (7, "INSERT_FAILED"),
        (8, "INVALID_CSV"),
    ]
    assert "Person.age" in report["errors"][0]["message"]
    names = [row["name"] for row in admin.get(PEOPLE).json()["data"]]
    assert names == ["a", "c\nd", "g"]


def test_a_file_that_breaks_tells_what_was_read(admin: httpx.Client) -> None:
    answer = admin.post("/api/import?format=csv&entity=Person", content='name\na\n"b\nc\n')
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "INVALID_CSV")
    assert "line 3" in error["message"]
    assert error["report"]["imported"] == 1


@pytest.mark.parametrize(
    ("query", "text", "code"),
    [
        ("format=csv", "name\n", "INVALID_QUERY"),
        ("format=csv&entity=Nope", "name\n", "ENTITY_NOT_FOUND"),
        ("format=csv&entity=Person", "nmae\n", "INVALID_COLUMN"),
        ("format=csv&entity=Person", "", "MISSING_FIELD"),
        ("format=json&entity=Person", "{}", "INVALID_QUERY"),
        ("format=csv&entity=Person&key=name", "name\n", "INVALID_QUERY"),
        ("format=csv&entity=Person&key=nope", "name\n", "INVALID_COLUMN"),
        ("format=csv&entity=Person&key=email,name", "name\n", "INVALID_QUERY"),
        ("format=csv&entity=Seat&key=hall", "hall\n", "INVALID_QUERY"),
        ("format=csv&entity=Seat&key=label", "label\n", "INVALID_QUERY"),
        ("key=email", '{"entities":{}}', "INVALID_QUERY"),
        ("format=csv&entity=Person&mode=merge", "name\n", "INVALID_QUERY"),
    ],
)
def test_what_cannot_be_imported(server: Server, query: str, text: str, code: str) -> None:
    with server.client(ADMIN_TOKEN) as admin:
        assert refusal(admin.post(f"/api/import?{query}", content=text)) == (400, code)


def test_csv_is_of_one_entity_and_for_administrators(server: Server) -> None:
    with server.client(ADMIN_TOKEN) as admin, server.client(server.token_of("ann")) as ann:
        assert refusal(admin.get("/api/export?format=csv")) == (400, "INVALID_QUERY")
        assert refusal(admin.get("/api/export/Person?spreadsheet=1")) == (400, "INVALID_QUERY")
        assert refusal(ann.get("/api/export/Person?format=csv")) == (403, "FORBIDDEN")
        assert refusal(ann.post("/api/import?format=csv&entity=Person")) == (403, "FORBIDDEN")


# --- keys ------------------------------------------------------------------------------------


def test_an_import_without_ids_is_repeatable_by_a_key(admin: httpx.Client) -> None:
    text = "email,name,age\na@x,Ann,1\nb@x,Bob,2\n"
    assert done(put(admin, text, key="email")) == (2, 0, 0, 0)
    before = admin.get(PEOPLE).json()["data"]
    assert done(put(admin, text, key="email")) == (0, 0, 2, 0)
    changed = text.replace("Bob,2", "Bob,3") + "c@x,Cy,4\n"
    assert done(put(admin, changed, key="email", mode="keep")) == (1, 0, 2, 0)
    assert admin.get(PEOPLE).json()["data"][:2] == before
    report = put(admin, changed, key="email", mode="skip")
    assert done(report) == (0, 0, 2, 1)
    assert report["errors"][0]["code"] == "IMPORT_CONFLICT"
    assert "age" in report["errors"][0]["message"]
    assert done(put(admin, changed, key="email", mode="insert")) == (0, 0, 0, 3)
    assert done(put(admin, changed, key="email")) == (0, 1, 2, 0)
    after = admin.get(PEOPLE).json()["data"]
    assert [row["age"] for row in after] == [1, 3, 4]
    assert [row["id"] for row in after[:2]] == [row["id"] for row in before]


def test_a_key_may_have_several_fields_and_be_of_any_format(admin: httpx.Client) -> None:
    seats = [{"hall": hall, "number": n, "label": f"{hall}{n}"} for hall in "ab" for n in (1, 2)]
    asked = {"entity": "Seat", "key": "number, hall"}
    for label, expected in (("x", (4, 0, 0, 0)), ("y", (0, 4, 0, 0)), ("y", (0, 0, 4, 0))):
        rows = [{**seat, "label": f"{seat['label']}{label}"} for seat in seats]
        body = {"entities": {"Seat": rows, "Person": [{"name": "by no key"}]}}
        report = admin.post("/api/import", json=body, params=asked).json()
        (counts,) = [each for each in report["by_entity"] if each["entity"] == "Seat"]
        assert tuple(counts[k] for k in ("inserted", "updated", "skipped", "failed")) == expected
    assert len(admin.get(PEOPLE).json()["data"]) == 3


def test_a_key_compares_as_its_field_does(admin: httpx.Client) -> None:
    assert done(put(admin, "email,name\na@x,Ann\n", key="email")) == (1, 0, 0, 0)
    assert done(put(admin, "email,name\nA@X,Ann\n", key="email")) == (0, 1, 0, 0)
    (row,) = admin.get(PEOPLE, params={"sort": "email", "fields": "email"}).json()["data"]
    assert row["email"] == "A@X"


def test_rows_of_a_file_find_one_another(admin: httpx.Client) -> None:
    report = put(admin, "email,name\na@x,Ann\na@x,Anna\n", key="email")
    assert done(report) == (1, 1, 0, 0)
    (row,) = admin.get(PEOPLE).json()["data"]
    assert row["name"] == "Anna"


def test_a_row_without_its_key_or_with_another_id_is_refused(admin: httpx.Client) -> None:
    assert done(put(admin, "email,name\na@x,Ann\n", key="email")) == (1, 0, 0, 0)
    report = put(admin, f"id,email,name\n,,Bob\n{'1' * 40},a@x,Ann\n", key="email")
    assert done(report) == (0, 0, 0, 2)
    assert [each["code"] for each in report["errors"]] == ["INVALID_DATA", "IMPORT_CONFLICT"]
    (row,) = admin.get(PEOPLE).json()["data"]
    same = put(admin, f"id,email,name\n{row['id']},a@x,Anna\n", key="email")
    assert done(same) == (0, 1, 0, 0)
