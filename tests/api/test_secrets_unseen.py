"""Secrets that clients send, wherever they put them, are in no log, error or metric."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server import ADMIN_TOKEN, Server, bearer, serving

APP = """
from pylon import App, Entity

app = App("unseen")


@app.entity
class Note(Entity):
    text: str
    apiKey: str | None = None

    class policy:
        allow = True


async def explode(tx, identity, entity, before, data):
    if data.get("text") == "explode":
        raise ValueError(f"cannot take {data['apiKey']}, Bearer {data['apiKey']}")


app.hooks.before_insert.append(explode)
"""

ENV = {"PYLON_ACCESS_LOG": "1", "PYLON_LOG": "debug"}


@pytest.mark.parametrize("log_format", ["compact", "json"])
def test_no_secret_is_seen(tmp_path: Path, log_format: str) -> None:
    app = tmp_path / "app.py"
    app.write_text(APP)
    env = {**ENV, "PYLON_LOG_FORMAT": log_format}
    with serving(app, tmp_path / "app.db", env=env, traceback_is_fine=True) as server:
        token = server.token_of("ann")
        unknown = "pylon_" + "5c" * 32
        seen = "".join(answer for secret in (token, unknown) for answer in ask(server, secret))
        seen += "".join(ask(server, ADMIN_TOKEN))
        with server.client(ADMIN_TOKEN) as admin:
            for accept in ("application/json", "text/plain"):
                seen += admin.get("/metrics", headers={"accept": accept}).text
    log = server.stderr()
    assert "/api/nowhere/" in log, "the access log has these requests"
    assert "cannot take" in log, "and the log the failure of the hook"
    for secret in (token, unknown):
        assert secret not in seen
        assert secret not in log
    # A path in words is told to who asked for it; in the log nobody reads the token.
    assert ADMIN_TOKEN not in log


def ask(server: Server, secret: str) -> list[str]:
    """The bodies and headers of answers to requests with the secret in every place."""
    answers = []
    with server.client() as client:
        for headers in (
            bearer(secret),
            {"cookie": f"unseen_session={secret}"},
            {"referer": f"https://app.example/?token={secret}"},
            {"x-request-id": secret},
        ):
            for path in ("/api/entities/Note", "/api/nowhere", "/api/auth/me"):
                answers.append(client.get(path, headers=headers))
                answers.append(client.post(path, headers=headers, content=b"{"))
        for path in (
            f"/api/nowhere/{secret}",
            f"/api/auth/verify/{secret}",
            f"/{secret}",
            f"/api/auth/me?token={secret}&code={secret}",
            f"/events/{secret}?access_token={secret}",
        ):
            answers += [client.get(path), client.post(path, json={}), client.delete(path)]
        key = {
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-protocol": f"bearer.{secret}",
        }
        for path in (f"/ws/{secret}", f"/nowhere?token={secret}"):
            answers.append(client.get(path, headers=key))
        body = {"text": "explode", "apiKey": secret}
        failed = client.post("/api/entities/Note", json=body)
        assert failed.status_code == 500
        answers += [failed, client.post("/api/entities/Note", json={"text": {"key": secret}})]
    return [f"{answer.headers}{answer.text}" for answer in answers]
