"""The routes of pairing codes, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server import ADMIN_TOKEN, ORIGIN, Server, bearer, serving

APP = Path(__file__).parent / "contract_app.py"
OFFER, REDEEM = "/api/auth/pair", "/api/auth/pair/redeem"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("pairing") / "app.db") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as http:
        yield http


def test_a_guest_joins_on_a_second_device_and_each_signs_out_alone(client: httpx.Client) -> None:
    guest = client.post("/api/auth/guest").json()
    offered = client.post(OFFER, headers=bearer(guest["token"]))
    assert offered.status_code == 201
    assert set(offered.json()) == {"code", "expires_at"}

    made = client.post(REDEEM, json={"code": offered.json()["code"]}, headers={"origin": ORIGIN})
    assert made.status_code == 201
    assert made.json() == {
        "token": made.json()["token"],
        "user_id": guest["user_id"],
        "guest": True,
    }
    assert "set-cookie" not in made.headers, "no page may put its visitor into another account"

    joined = bearer(made.json()["token"])
    assert len(client.get("/api/auth/sessions", headers=joined).json()) == 2
    client.delete("/api/auth/session", headers=bearer(guest["token"]))
    assert client.get("/api/auth/me", headers=joined).json()["user_id"] == guest["user_id"]


def test_a_code_is_good_once(client: httpx.Client) -> None:
    token = client.post("/api/auth/guest").json()["token"]
    code = client.post(OFFER, headers=bearer(token)).json()["code"]
    assert client.post(REDEEM, json={"code": code}).status_code == 201
    again = client.post(REDEEM, json={"code": code})
    assert (again.status_code, again.json()["error"]["code"]) == (400, "PAIRING_CODE_INVALID")


@pytest.mark.parametrize("body", [{}, [], {"code": 7}, {"code": None}, {"code": "x"}])
def test_what_is_no_code_is_refused(client: httpx.Client, body: object) -> None:
    answer = client.post(REDEEM, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "PAIRING_CODE_INVALID")


@pytest.mark.parametrize("token", [None, "unknown", ADMIN_TOKEN])
def test_only_a_session_is_given_a_code(client: httpx.Client, token: str | None) -> None:
    answer = client.post(OFFER, headers=bearer(token))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AUTH_REQUIRED")


def test_redeeming_counts_as_the_making_of_guests_does(tmp_path: Path) -> None:
    with (
        serving(APP, tmp_path / "app.db") as running,
        httpx.Client(base_url=running.url) as client,
    ):
        answers = {client.post(REDEEM, json={"code": "x"}).status_code for _ in range(201)}
        assert answers == {400, 429}
        assert client.post("/api/auth/guest").status_code == 429
