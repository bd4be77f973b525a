"""The access log: batches, both forms, and what it must not contain."""

from __future__ import annotations

import json

from pylon import limits
from pylon.clock import ManualClock
from pylon.http.access_log import AccessLog
from tests.http.test_request import request


async def test_lines_are_written_together_and_say_no_secret() -> None:
    written: list[str] = []
    clock = ManualClock(at=1_767_225_600.0)
    log = AccessLog(clock, write=written.append)
    secret = request(
        "/api/x",
        query=b"token=s3cret",
        headers=[(b"authorization", b"Bearer s3cret")],
        started=clock.monotonic(),
    )
    log.add(secret, 200, clock.monotonic() + 0.0125)
    log.add(request("/health"), 200, clock.monotonic())
    log.add(request("/metrics"), 200, clock.monotonic())
    assert written == []
    log.flush()
    assert written == [
        "00:00:00.012 INFO pylon.access GET /api/x 200 12.50ms client=10.0.0.1 request_id=ab\n"
    ]
    log.flush()
    assert len(written) == 1


async def test_json_lines() -> None:
    written: list[str] = []
    clock = ManualClock(at=1_767_225_600.0)
    log = AccessLog(clock, json_lines=True, write=written.append)
    log.add(request("/api/x", started=clock.monotonic()), 404, clock.monotonic() + 0.5)
    log.flush()
    line = json.loads(written[0])
    assert line["logger"] == "pylon.access"
    assert line["request_id"] == "ab"
    assert line["fields"] == {
        "message": "GET /api/x 404",
        "request_id": "ab",
        "method": "GET",
        "path": "/api/x",
        "status": 404,
        "duration_ms": 500.0,
        "client": "10.0.0.1",
    }


async def test_a_full_batch_is_written_at_once() -> None:
    written: list[str] = []
    log = AccessLog(ManualClock(), write=written.append)
    for _ in range(limits.ACCESS_LOG_BATCH):
        log.add(request("/api/x"), 200, 0.0)
    assert len(written) == 1
    assert written[0].count("\n") == limits.ACCESS_LOG_BATCH
    log.flush()


async def test_a_path_cannot_forge_a_line() -> None:
    written: list[str] = []
    log = AccessLog(ManualClock(), write=written.append)
    log.add(request("/a\n00:00:00 INFO forged"), 200, 0.0)
    log.flush()
    assert written[0].count("\n") == 1
