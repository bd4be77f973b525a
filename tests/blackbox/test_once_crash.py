"""SIGKILL right after a commit: who repeats the write with its key finds it done."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.server import ADMIN_TOKEN, Server

ROUNDS = 4


def test_a_write_whose_answer_was_lost_with_the_server_is_done_once(tmp_path: Path) -> None:
    end = tmp_path / "end"
    app = Path(__file__).with_name("once_app.py")
    server = Server(app, tmp_path / "app.db", env={"ONCE_END": str(end)})
    lost = 0
    try:
        for number in range(ROUNDS):
            server.start()
            headers = {"idempotency-key": f'"{number}"'}
            known: str | None = None
            end.touch()
            with server.client(ADMIN_TOKEN) as client:
                try:
                    body = {"title": str(number)}
                    answer = client.post("/api/entities/Note", json=body, headers=headers)
                    known = answer.json()["id"]
                except httpx.TransportError:
                    lost += 1
            assert server.child is not None
            server.child.wait(60)
            server.kill()
            server.start()
            with server.client(ADMIN_TOKEN) as client:
                again = client.post("/api/entities/Note", json=body, headers=headers)
                assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
                assert known in (None, again.json()["id"])
                rows = client.get("/api/entities/Note").json()["data"]
                assert [row["title"] for row in rows].count(str(number)) == 1
            server.stop()
    finally:
        server.stop()
