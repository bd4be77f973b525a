"""Who gets which core, and what the floor's answer is made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import split_answer
from bench.machine import describe_machine, divide_cores, file_system_of
from bench.peers.base import spread_over, title_of


def test_pinned_gives_the_sides_a_core_each_and_free_pins_nobody() -> None:
    pinned, free = divide_cores({3, 1, 2})
    assert (pinned.name, pinned.server, pinned.load) == ("pinned", {1}, {2})
    assert pinned.describe() == "pinned: servers on core 1, load on core 2"
    assert (free.name, free.server, free.load) == ("free", set(), set())
    assert free.describe() == "free: both sides on all cores"


def test_one_core_is_not_divided() -> None:
    assert [cores.name for cores in divide_cores({0})] == ["free"]
    assert [cores.name for cores in divide_cores(frozenset())] == ["free"]


def test_file_system_is_named(tmp_path: Path) -> None:
    assert file_system_of(tmp_path)


def test_a_missing_wrk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = divide_cores({0, 1})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in describe_machine(tmp_path, layouts)["generator"]
    wrk = tmp_path / "wrk"
    wrk.touch(mode=0o755)
    facts = describe_machine(tmp_path, layouts)
    assert facts["generator"] == "wrk"
    assert (
        facts["cores"] == "pinned: servers on core 0, load on core 1; free: both sides on all cores"
    )


def test_rows_are_of_equal_size_and_spread() -> None:
    assert {len(title_of(number)) for number in (0, 99, 999_999)} == {30}
    assert spread_over(list(range(100)), 4) == [0, 25, 50, 75]
    assert spread_over([7], 3) == [7, 7, 7]


def test_answer_is_split() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nX: b: c\r\n\r\n{}"
    assert split_answer(raw) == (200, [("Content-Type", "a"), ("X", "b: c")], b"{}")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert split_answer(chunked)[2] == b"{}"
