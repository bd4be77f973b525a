"""The empty apps send what our server sends, over both connections, and say when they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import check_plan, request_bytes, send_raw, split_answer
from bench.peers.floors import AsgiFloor
from bench.processes import BenchError, Fleet

ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-frame-options: DENY\r\n"
    b"content-length: 8\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nconnection: close\r\n\r\n"
    b'{"id":1}'
)


@pytest.mark.parametrize("own", [False, True])
def test_an_empty_app_sends_the_given_answer(tmp_path: Path, own: bool) -> None:
    with Fleet(tmp_path) as fleet:
        floor = AsgiFloor(fleet, ANSWER, own_connection=own, cores=frozenset())
        plan = floor.plan((request_bytes("GET", "/any/path"),))
        assert split_answer(check_plan(plan))[2] == b'{"id":1}'
        names = {
            name.lower() for name, _ in split_answer(send_raw(floor.port, plan.requests[0]))[1]
        }
        assert {"x-frame-options", "content-length", "date"} <= names
        assert plan.pid == floor.child.pid


def test_a_header_that_the_floor_does_not_send_ends_the_run(tmp_path: Path) -> None:
    chunked = ANSWER.replace(b"date: Mon, 01 Jan 2024 00:00:00 GMT\r\n", b"")
    with Fleet(tmp_path) as fleet, pytest.raises(BenchError, match="sends"):
        AsgiFloor(fleet, chunked, cores=frozenset())
