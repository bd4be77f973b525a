"""The access log: batches, both forms, and what it must not contain."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from queue import Queue

import pytest

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
    written: Queue[str] = Queue()
    log = AccessLog(ManualClock(), write=written.put)
    for _ in range(limits.ACCESS_LOG_BATCH):
        log.add(request("/api/x"), 200, 0.0)
    # This holds the loop, so that no timer can have been the reason.
    assert written.get(timeout=60).count("\n") == limits.ACCESS_LOG_BATCH
    log.flush()
    assert written.empty()


async def test_lines_are_in_order_and_complete_when_the_server_stops() -> None:
    written: list[str] = []
    threads: set[str] = set()

    def write(lines: str) -> None:
        threads.add(threading.current_thread().name)
        written.append(lines)

    log = AccessLog(ManualClock(), write=write)
    count = 3 * limits.ACCESS_LOG_BATCH + 5
    for number in range(count):
        log.add(request(f"/api/{number}"), 200, 0.0)
    await log.close()
    paths = [line.split(" ")[4] for line in "".join(written).splitlines()]
    assert paths == [f"/api/{number}" for number in range(count)]
    assert threads == {"pylon-access-log"}
    assert log._thread is not None
    assert not log._thread.is_alive()
    log.add(request("/api/late"), 200, 0.0)
    log.flush()
    assert "/api/late" in written[-1]
    await log.close()


async def test_a_log_that_nobody_reads_keeps_a_bounded_number_of_lines() -> None:
    door, written = threading.Event(), Queue[str]()

    def write(lines: str) -> None:
        door.wait(60)
        written.put(lines)

    log = AccessLog(ManualClock(), write=write)
    batches = limits.ACCESS_LOG_BATCHES_MAX + 3

    def fill() -> None:
        async def add() -> None:
            for _ in range(batches * limits.ACCESS_LOG_BATCH):
                log.add(request("/api/x"), 200, 0.0)
            await log.close()

        asyncio.run(add())

    filling = threading.Thread(target=fill)
    filling.start()
    while not log._batches.full():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert written.empty()
    door.set()
    while filling.is_alive():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert written.qsize() == batches


async def test_a_stop_does_not_wait_forever_for_who_reads_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ACCESS_LOG_CLOSE_SECONDS", 0.01)
    door = threading.Event()

    def write(_: str) -> None:
        door.wait(60)

    log = AccessLog(ManualClock(), write=write)
    for _ in range((limits.ACCESS_LOG_BATCHES_MAX + 1) * limits.ACCESS_LOG_BATCH):
        log.add(request("/api/x"), 200, 0.0)
    log.add(request("/api/x"), 200, 0.0)
    try:
        await log.close()
        assert log._batches.full()
    finally:
        door.set()


async def test_a_closed_stream_does_not_end_the_writing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pylon.access")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log = AccessLog(ManualClock())
    stream.close()
    log.add(request("/api/x"), 200, 0.0)
    log.flush()
    handler.stream = again = io.StringIO()
    log.add(request("/api/y"), 200, 0.0)
    log.flush()
    assert "/api/y" in again.getvalue()
    await log.close()


async def test_a_path_cannot_forge_a_line() -> None:
    written: list[str] = []
    log = AccessLog(ManualClock(), write=written.append)
    log.add(request("/a\n00:00:00 INFO forged"), 200, 0.0)
    log.flush()
    assert written[0].count("\n") == 1
