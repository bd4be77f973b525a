"""`pylon backup` and `pylon restore` on a served app, and bundles that must be refused."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import codec
from tests.cli.conftest import RunPylon
from tests.cli.evolving import run_sql, write_app
from tests.server import Server


@pytest.fixture
def app(tmp_path: Path) -> Path:
    uploads = tmp_path / "data" / "uploads" / "a"
    uploads.mkdir(parents=True)
    (uploads / "one.txt").write_text("one")
    return write_app(tmp_path, "title: str")


@pytest.fixture
def server(app: Path, tmp_path: Path) -> Iterator[Server]:
    served = Server(app, tmp_path / "data" / "app.db")
    served.start()
    yield served
    served.stop()


def insert(server: Server, title: str) -> None:
    answer = httpx.post(f"{server.url}/api/entities/Note", json={"title": title}, verify=False)
    assert answer.status_code == 201, answer.text


def titles(server: Server) -> list[str]:
    found = httpx.get(f"{server.url}/api/entities/Note", verify=False).json()["data"]
    return [row["title"] for row in found]


def json_of(result: subprocess.CompletedProcess[str]) -> Any:
    return codec.decode(result.stdout)


def code_of(result: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return result.returncode, json_of(result)[0]["code"]


def test_a_served_app_is_backed_up_and_restored(
    pylon: RunPylon, server: Server, tmp_path: Path
) -> None:
    insert(server, "kept")
    made = json_of(pylon("backup", "bundle", "--db", "data/app.db", "--json"))
    assert made == {
        "ok": True,
        "target": "bundle",
        "db": True,
        "manifest": True,
        "uploaded_files": 1,
    }
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "bundle", capture_output=True, check=False
    )
    assert checked.returncode == 0
    insert(server, "lost")
    pulled = httpx.get(f"{server.url}/api/sync/pull", params={"since": 0}).json()["cursor"]
    restore = ("restore", "bundle", "--db", "data/app.db", "--yes", "--json")
    assert code_of(pylon(*restore)) == (1, "RESTORE_IN_USE")
    assert sorted(titles(server)) == ["kept", "lost"]

    server.stop()
    (tmp_path / "data" / "uploads" / "a" / "one.txt").write_text("changed")
    told = json_of(pylon(*restore))
    assert (told["ok"], told["restored_files"], len(told["kept"])) == (True, 1, 2)
    assert (tmp_path / "data" / "uploads" / "a" / "one.txt").read_text() == "one"
    server.start()
    assert titles(server) == ["kept"]
    since = {"since": pulled["last_seq"]}
    again = httpx.get(f"{server.url}/api/sync/pull", params=since)
    assert again.status_code == 410, "a reader of the lost rows must start anew"


def test_a_bundle_is_not_written_over(pylon: RunPylon, server: Server, tmp_path: Path) -> None:
    assert pylon("backup", "bundle", "--db", "data/app.db").returncode == 0
    result = pylon("backup", "bundle", "--db", "data/app.db", "--json")
    assert code_of(result) == (1, "BACKUP_DIR_EXISTS")
    assert code_of(pylon("backup", "--json")) == (64, "BACKUP_NO_DIR")
    assert code_of(pylon("backup", "b", "--db", "no.db", "--json")) == (1, "BACKUP_NO_DATABASE")
    assert code_of(pylon("restore", "--json")) == (64, "RESTORE_NO_DIR")


def test_a_backup_without_the_app_takes_the_manifest_from_the_ledger(
    pylon: RunPylon, server: Server, app: Path, tmp_path: Path
) -> None:
    app.unlink()
    made = json_of(pylon("backup", "bundle", "--db", "data/app.db", "--json"))
    assert made["manifest"]
    manifest = codec.decode((tmp_path / "bundle" / "manifest.json").read_bytes())
    assert manifest["entities"][0]["name"] == "Note"


def damage(bundle: Path, how: str) -> None:
    database = bundle / "pylon.db"
    if how == "no database":
        database.unlink()
    elif how == "changed database":
        database.write_bytes(database.read_bytes()[:-1] + b"\x01")
    elif how == "damaged database":
        database.write_bytes(b"SQLite format 3\x00" + bytes(5000))
    elif how == "another database":
        database.unlink()
        run_sql(database, "CREATE TABLE t (x)")
    elif how == "missing file":
        (bundle / "uploads" / "a" / "one.txt").unlink()
    elif how == "outside":
        with (bundle / "SHA256SUMS").open("a") as sums:
            sums.write(f"{'0' * 64}  uploads/../../../evil\n")
    elif how == "newer":
        (bundle / "VERSION").write_text("99 pylon 9.9.9\n")
    if how in ("damaged database", "another database"):
        lines = (bundle / "SHA256SUMS").read_text().splitlines()
        digest = hashlib.sha256(database.read_bytes()).hexdigest()
        lines = [f"{digest}  pylon.db" if "pylon.db" in line else line for line in lines]
        (bundle / "SHA256SUMS").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("no database", "RESTORE_NO_DATABASE"),
        ("changed database", "RESTORE_DAMAGED"),
        ("damaged database", "RESTORE_DAMAGED"),
        ("another database", "RESTORE_NO_DATABASE"),
        ("missing file", "RESTORE_INCOMPLETE"),
        ("outside", "RESTORE_DAMAGED"),
        ("newer", "RESTORE_VERSION_UNSUPPORTED"),
    ],
)
def test_a_bad_bundle_changes_nothing(
    pylon: RunPylon, app: Path, tmp_path: Path, how: str, code: str
) -> None:
    db = tmp_path / "data" / "app.db"
    pylon("schema", "push", "--db", str(db))
    run_sql(db, "INSERT INTO Note VALUES ('1', 'a')")
    assert pylon("backup", "bundle", "--db", str(db)).returncode == 0
    damage(tmp_path / "bundle", how)
    result = pylon("restore", "bundle", "--db", str(db), "--yes", "--json")
    assert code_of(result) == (1, code)
    assert run_sql(db, "SELECT id FROM Note") == [("1",)]
    assert (tmp_path / "data" / "uploads" / "a" / "one.txt").read_text() == "one"
    assert not list((tmp_path / "data").glob("*restor*"))
