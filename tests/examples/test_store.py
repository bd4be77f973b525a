"""The store example as a visitor uses it: seed, search, order, and nothing of anybody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.served import EXAMPLES
from tests.server import ADMIN_TOKEN, Server, serving

STORE = EXAMPLES / "store"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(STORE, tmp_path_factory.mktemp("store") / "store.db") as server:
        yield server


def run(script: str, server: Server, *words: str) -> str:
    environment = {**os.environ, "PYLON_URL": server.url, "PYLON_ADMIN_TOKEN": ADMIN_TOKEN}
    command = [sys.executable, str(STORE / script), *words]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_seed_search_and_order(store: Server) -> None:
    assert "200 products added" in run("seed.py", store)
    assert "0 products added, 0 refused" in run("seed.py", store)
    said = run("order.py", store, "red", "bag")
    assert "products match 'red bag'" in said
    assert "placed, 3 lines" in said


def test_an_owner_may_only_call_off_what_is_not_packed(store: Server) -> None:
    with store.client(store.token_of("customer")) as customer, store.client(ADMIN_TOKEN) as admin:
        home = dict.fromkeys(("name", "street", "city", "zip", "country"), "x")
        address = customer.post("/api/entities/Address", json=home).json()["id"]
        placed = {"total": 1.0, "addressId": address}
        order = customer.post("/api/entities/Order", json=placed).json()
        path = f"/api/entities/Order/{order['id']}"
        for change in ({"status": "delivered"}, {"userId": "somebody else"}):
            assert customer.patch(path, json=change).status_code == 403
        assert admin.patch(path, json={"status": "packed"}).status_code == 200
        assert customer.patch(path, json={"status": "cancelled"}).status_code == 403
        kept = customer.delete(f"/api/entities/Address/{address}")
        assert (kept.status_code, kept.json()["error"]["code"]) == (409, "ROW_REFERENCED")


def test_the_examples_are_listed() -> None:
    readme = (Path(STORE).parents[1] / "README.md").read_text("utf-8")
    for folder in EXAMPLES.iterdir():
        if (folder / "app.py").exists():
            assert f"examples/{folder.name}" in readme
