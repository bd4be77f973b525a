"""`pylon export` and `pylon import` as users run them, against a running server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.codec import decode_trusted
from tests.cli.conftest import RunPylon
from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).parent.parent / "api" / "bulk_app.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("commands") / "app.db") as running:
        yield running


@pytest.mark.parametrize("name", ["rows.ndjson", "rows.json"])
def test_out_and_in_again(server: Server, pylon: RunPylon, tmp_path: Path, name: str) -> None:
    rows = [{"text": f"{name} {n}"} for n in range(1_000)]
    there = ("--url", server.url, "--token", ADMIN_TOKEN)
    with server.client(ADMIN_TOKEN) as admin:
        admin.post("/api/import", json={"entities": {"Comment": rows}})
        before = admin.get("/api/export").json()["entities"]
    told = pylon("export", name, *there)
    assert (told.returncode, told.stderr) == (0, "")
    file = tmp_path / name
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [name]
    with serving(APP, tmp_path / "other.db") as other:
        done = pylon("import", name, "--url", other.url, PYLON_ADMIN_TOKEN=ADMIN_TOKEN)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(" inserted, 0 updated, 0 there already, 0 failed\n")
        with other.client(ADMIN_TOKEN) as admin:
            assert admin.get("/api/export").json()["entities"] == before
        again = pylon("import", name, "--json", "--url", other.url, "--token", ADMIN_TOKEN)
        report = decode_trusted(again.stdout)
        assert (report["code"], report["imported"]) == ("IMPORT_OK", 0)


def test_a_table_out_and_in_by_a_key(pylon: RunPylon, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("email,name,age\na@x,Ann,1\nb@x,Bob,2\n")
    with serving(APP.with_name("csv_app.py"), tmp_path / "app.db") as server:
        there = ("--entity", "Person", "--url", server.url, "--token", ADMIN_TOKEN)
        for told in ("2 inserted, 0 updated, 0 there", "0 inserted, 0 updated, 2 there"):
            done = pylon("import", "people.csv", "--key", "email", *there)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith(told)
        table = pylon("export", "--format", "csv", *there).stdout
        assert table.splitlines()[0].startswith("id,email,name,age")
        assert pylon("export", "out.csv", "--spreadsheet", *there).returncode == 0
        assert (tmp_path / "out.csv").read_bytes() == b"\xef\xbb\xbf" + table.encode().replace(
            b"\n", b"\r\n"
        ).replace(b"\r\r", b"\r")
        (tmp_path / "bad.csv").write_text("email,name\nc@x\n")
        bad = pylon("import", "bad.csv", *there)
        assert (bad.returncode, "row 2: INVALID_CSV: The line has 1" in bad.stderr) == (1, True)
        for arguments in (("import", "bad.csv"), ("export", "x.csv")):
            refused = pylon(*arguments, "--url", server.url, "--token", ADMIN_TOKEN)
            assert "error[ENTITY_MISSING]" in refused.stderr


def test_to_stdout_one_entity(server: Server, pylon: RunPylon) -> None:
    told = pylon("export", "--entity", "Person", "--url", server.url, "--token", ADMIN_TOKEN)
    assert (told.returncode, told.stdout) == (0, "")


def test_rows_that_fail_are_told(server: Server, pylon: RunPylon, tmp_path: Path) -> None:
    lines = ['{"entity":"Person","row":{"name":7}}\n'] * 12
    (tmp_path / "bad.ndjson").write_text("".join(lines))
    told = pylon("import", "bad.ndjson", "--url", server.url, "--token", ADMIN_TOKEN)
    assert told.returncode == 1
    assert told.stderr.count("INVALID_DATA: Person.name must be a string.") == 10
    assert told.stderr.endswith("and 2 more\n")


def test_what_goes_wrong(server: Server, pylon: RunPylon, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("[]")
    for arguments, code in (
        (("export", "x", "--url", server.url), "TOKEN_MISSING"),
        (("export", "x", "--url", server.url, "--token", "wrong"), "FORBIDDEN"),
        (("export", "x", "--url", "http://127.0.0.1:1", "--token", "t"), "SERVER_UNREACHABLE"),
        (("export", "x", "--url", "ftp://x", "--token", "t"), "URL_INVALID"),
        (("import", "empty.json", "--url", server.url, "--token", ADMIN_TOKEN), "MISSING_FIELD"),
    ):
        told = pylon(*arguments)
        assert told.returncode == 1, arguments
        assert f"error[{code}]" in told.stderr, told.stderr
    nowhere = pylon("export", "no/x", "--url", server.url, "--token", ADMIN_TOKEN)
    assert "the folder no is not there" in nowhere.stderr
    assert not list(tmp_path.glob("x*"))
