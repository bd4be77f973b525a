"""Request bytes, the wrk script and its result; our own generator against a real socket."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from bench.generator import STAMP, Run, percentile
from bench.load import Plan, check_plan, lua_escape, lua_script, parse_result, request_bytes
from bench.processes import REPOSITORY, BenchError

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


def test_request_with_a_body_says_its_length() -> None:
    request = request_bytes("POST", "/a", headers={"X": "1"}, body=b'{"a":1}')
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /a HTTP/1.1"
    assert b"X: 1" in head
    assert b"Content-Length: 7" in head
    assert body == b'{"a":1}'


def test_lua_literal_escapes_what_lua_reads() -> None:
    assert lua_escape(b'a"\\\r\n\xff') == "a\\034\\092\\013\\010\\255"
    assert '"GET / HTTP/1.1\\013\\010' in lua_script([request_bytes("GET", "/")])


def test_result_is_the_line_of_json() -> None:
    line = '{"requests":300,"seconds":2.0,"p50_us":1500,"p99_us":9000,"errors":1}'
    sample = parse_result(f"Running 2s test\n{line}\n")
    assert (sample.rate, sample.p50_ms, sample.p99_ms, sample.errors) == (150.0, 1.5, 9.0, 1)
    assert sample.user_us == 0
    assert parse_result(line, used_seconds=0.03).user_us == pytest.approx(100)
    with pytest.raises(BenchError, match="reported nothing"):
        parse_result("unable to connect")


def test_percentile() -> None:
    assert percentile([], 0.5) == 0
    assert percentile(list(range(100)), 0.99) == 99
    assert percentile([1, 2, 3], 0.5) == 2


def test_once_ends_after_the_last_request() -> None:
    run = Run([b"a", b"b"], once=True, stamp=False)
    assert [run.next_request() for _ in range(3)] == [b"a", b"b", None]


def test_stamp_keeps_the_length() -> None:
    run = Run([b"x" + STAMP], once=False, stamp=True)
    stamped = run.next_request()
    assert stamped is not None
    assert len(stamped) == 20
    assert stamped[1:].isdigit()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            if b"Connection: close" in request:
                break
    except asyncio.IncompleteReadError:
        pass
    writer.close()


async def test_generator_sends_each_request_once(tmp_path: Path) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps([request_bytes("GET", "/").decode()] * 50))
    async with server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.generator", "--port", str(port), "--plan", str(plan)),
            *("--connections", "4", "--once", "--seconds", "20"),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    result = json.loads(output)
    assert (result["requests"], result["acknowledged"], result["errors"]) == (50, 50, 0)


async def test_a_wrong_answer_is_no_figure() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        plan = Plan(name="p", port=port, requests=(request_bytes("GET", "/"),))
        with pytest.raises(BenchError, match="expected 200"):
            await asyncio.to_thread(check_plan, plan)
