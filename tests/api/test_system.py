"""What the real program says of itself, who a caller is over restarts, and the pipeline's stages
as they meet (spec 01 sections 3 and 4, spec 04)."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, ORIGIN, Server, bearer, serving

COOKIE = "blackbox_session"


# --- the manifest, health, metrics -----------------------------------------------------------


def test_rules_are_shown_to_the_administrator_only(
    admin: httpx.Client, ann: httpx.Client, nobody: httpx.Client
) -> None:
    full = admin.get("/api/manifest").json()
    assert {policy["entity"] for policy in full["policies"]} >= {"Note", "Mine", "Shown"}
    assert "auth.userId == data.ownerId" in admin.get("/api/manifest").text
    for client in (ann, nobody):
        answer = client.get("/api/manifest")
        assert "auth.userId" not in answer.text
        shown = [
            {**entity, "fields": [each for each in entity["fields"] if not each.get("private")]}
            for entity in full["entities"]
        ]
        assert shown != full["entities"]
        assert answer.json()["entities"] == shown


def test_health_and_metrics(admin: httpx.Client, nobody: httpx.Client, ann: httpx.Client) -> None:
    health = nobody.get("/health").json()
    assert health["status"] == "ok"
    assert {"version", "uptime_secs"} <= set(health)
    assert nobody.get("/metrics").status_code == 401
    assert ann.get("/metrics").status_code == 401
    assert admin.get("/metrics").status_code == 200
    told = admin.get("/metrics", headers={"accept": "text/plain"})
    assert told.status_code == 200


# --- who a caller is -------------------------------------------------------------------------


def me(server: Server, **headers: str) -> dict[str, object]:
    answer = httpx.get(
        f"{server.url}/api/auth/me", headers=headers, trust_env=False, verify=False, timeout=60
    )
    assert answer.status_code == 200
    told: dict[str, object] = answer.json()
    return told


NOBODY: dict[str, object] = {"user_id": None, "is_admin": False, "roles": []}


def test_anonymous_guest_user_and_administrator(server: Server, nobody: httpx.Client) -> None:
    assert me(server) == NOBODY
    assert me(server, authorization="Bearer wrong") == NOBODY
    guest = nobody.post("/api/auth/guest").json()
    told = me(server, **bearer(guest["token"]))
    assert (told["user_id"], told["is_guest"]) == (guest["user_id"], True)
    assert me(server, **bearer(server.token_of("ann")))["user_id"] == "ann"
    admin = me(server, **bearer(ADMIN_TOKEN))
    assert (admin["user_id"], admin["is_admin"], admin["roles"]) == ("__admin__", True, ["admin"])


def test_the_admin_token_counts_as_a_bearer_only(server: Server) -> None:
    assert me(server, cookie=f"{COOKIE}={ADMIN_TOKEN}") == NOBODY
    for near in (ADMIN_TOKEN[:-1], ADMIN_TOKEN + "x", ADMIN_TOKEN.upper(), "x"):
        assert me(server, authorization=f"Bearer {near}") == NOBODY


def test_a_cookie_is_a_session_unless_there_is_a_bearer(server: Server) -> None:
    token = server.token_of("ann")
    assert me(server, cookie=f"x=y; {COOKIE}={token}")["user_id"] == "ann"
    assert me(server, cookie=f"{COOKIE}={token}", authorization="Bearer wrong") == NOBODY


def test_minting_is_the_administrators_in_production(
    nobody: httpx.Client, ann: httpx.Client
) -> None:
    for client in (nobody, ann):
        answer = client.post("/api/auth/session", json={"user_id": "eve"})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "FORBIDDEN"


def test_minting_is_open_on_this_machine_in_dev(tmp_path: Path) -> None:
    env = {"PYLON_DEV_MODE": "1"}
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=env) as server, server.client() as client:
        minted = client.post("/api/auth/session", json={"user_id": "eve"})
        assert minted.status_code == 201
        assert me(server, **bearer(minted.json()["token"]))["user_id"] == "eve"
        proxied = {"x-forwarded-for": "203.0.113.9"}
        body = {"user_id": "eve"}
        assert client.post("/api/auth/session", json=body, headers=proxied).status_code == 403
        # What no policy mentions is open in dev.
        assert client.post("/api/entities/Undeclared", json={"n": 1}).status_code == 201


def test_a_session_ends_with_its_sign_out(server: Server) -> None:
    token, other = server.token_of("ann"), server.token_of("ann")
    with server.client(token) as client:
        assert client.delete("/api/auth/session").json() == {"revoked": True}
        assert client.get("/api/auth/me").json() == NOBODY
        assert client.get("/api/entities/Mine").status_code == 403
    assert me(server, **bearer(other))["user_id"] == "ann"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_sessions_and_rows_survive_a_restart(tmp_path: Path, end: str) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server:
        with server.client() as client:
            guest = client.post("/api/auth/guest").json()
        kept, ended = server.token_of("ann"), server.token_of("ann")
        with server.client(ended) as client:
            client.delete("/api/auth/session")
        with server.client(kept) as client:
            data = {"ownerId": "ann", "text": "kept"}
            row_id = client.post("/api/entities/Mine", json=data).json()["id"]
        getattr(server, end)()
        server.start()
        assert me(server, **bearer(kept))["user_id"] == "ann"
        assert me(server, **bearer(guest["token"]))["user_id"] == guest["user_id"]
        assert me(server, **bearer(ended)) == NOBODY
        with server.client(kept) as client:
            assert client.get(f"/api/entities/Mine/{row_id}").json()["text"] == "kept"


def test_tokens_are_not_in_the_database(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server:
        token = server.token_of("ann")
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("app.db*"))
    assert token.encode() not in stored
    assert token.removeprefix("pylon_").encode() not in stored
    assert bytes.fromhex(token.removeprefix("pylon_")) not in stored
    assert ADMIN_TOKEN.encode() not in stored


# --- the stages ------------------------------------------------------------------------------


def test_a_foreign_page_cannot_write_with_the_visitors_cookie(server: Server) -> None:
    cookie = {"cookie": f"{COOKIE}={server.token_of('ann')}"}
    with server.client() as client:
        for origin, status in (("https://evil.example", 403), ("null", 403), (ORIGIN, 201)):
            headers = {**cookie, "origin": origin}
            answer = client.post("/api/entities/Mark", json={"n": 1}, headers=headers)
            assert answer.status_code == status, origin
            if status == 403:
                assert answer.json()["error"]["code"].startswith("CSRF_")
        assert client.post("/api/entities/Mark", json={"n": 1}, headers=cookie).status_code == 201


def test_cors_and_security_headers_are_on_every_answer(nobody: httpx.Client) -> None:
    for path, status in (
        ("/api/entities/Mark", 200),
        ("/api/entities/Mine", 403),
        ("/api/entities/Nope", 400),
        ("/api/nowhere", 404),
        ("/health", 200),
    ):
        answer = nobody.get(path, headers={"origin": ORIGIN})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]
        foreign = nobody.get(path, headers={"origin": "https://evil.example"})
        assert foreign.headers.get("access-control-allow-origin") != "https://evil.example"


def test_the_rate_limit_comes_first_and_spares_the_administrator(tmp_path: Path) -> None:
    env = {"PYLON_RATE_LIMIT_MAX": "5", "PYLON_RATE_LIMIT_WINDOW": "3600"}
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=env) as server, server.client() as client:
        found = [client.get("/api/entities/Mine").status_code for _ in range(8)]
        assert found == [403] * 5 + [429] * 3
        limited = client.get("/api/entities/Mine")
        assert limited.json()["error"]["code"] == "RATE_LIMITED"
        assert int(limited.headers["retry-after"]) >= 1
        foreign = {"origin": "https://evil.example"}
        assert client.post("/api/entities/Mark", headers=foreign).status_code == 429
        assert client.get("/health").status_code == 200
        assert client.options("/api/entities/Mine").status_code == 204
        with server.client(ADMIN_TOKEN) as admin:
            assert admin.get("/api/entities/Mine").status_code == 200


def test_a_request_in_flight_is_finished_by_a_stop(tmp_path: Path) -> None:
    """A body that is half sent when SIGTERM comes is still taken, written and acknowledged."""
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server:
        body = b'{"n":7}'
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(
                b"POST /api/entities/Mark HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body[:3])
            )
            # The server has the head once it answers on another connection that came later.
            with server.client() as client:
                assert client.get("/health").status_code == 200
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            wait_until_refused(server.port)
            connection.sendall(body[3:])
            answer = connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 201")
            stopping.join()
        server.start()
        with server.client() as client:
            assert [row["n"] for row in client.get("/api/entities/Mark").json()["data"]] == [7]


def wait_until_refused(port: int) -> None:
    """Until the server takes no new connections."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionResetError:
            continue  # it knocked at the moment of closing
        except ConnectionRefusedError:
            return
    raise AssertionError("it goes on taking connections")
