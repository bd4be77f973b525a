"""Who gets which core, and what the floor's answer is made from."""

from __future__ import annotations

from pathlib import Path

from bench.load import split_answer
from bench.machine import Cores, divide_cores, file_system_of
from bench.peers.base import spread_over, title_of


def test_sides_get_a_core_each() -> None:
    cores = divide_cores({3, 1, 2})
    assert (cores.server, cores.load) == ({1}, {2})
    assert cores.describe() == "server side on core 1, load side on core 2"


def test_one_core_is_not_divided() -> None:
    assert divide_cores({0}) == Cores(server=frozenset(), load=frozenset())
    assert "not pinned" in divide_cores({0}).describe()


def test_all_cores_for_both_sides() -> None:
    cores = divide_cores({0, 1}, share_all=True)
    assert cores.server == cores.load == {0, 1}


def test_file_system_is_named(tmp_path: Path) -> None:
    assert file_system_of(tmp_path)


def test_rows_are_of_equal_size_and_spread() -> None:
    assert {len(title_of(number)) for number in (0, 99, 999_999)} == {30}
    assert spread_over(list(range(100)), 4) == [0, 25, 50, 75]
    assert spread_over([7], 3) == [7, 7, 7]


def test_answer_is_split() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nX: b: c\r\n\r\n{}"
    assert split_answer(raw) == (200, [("Content-Type", "a"), ("X", "b: c")], b"{}")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert split_answer(chunked)[2] == b"{}"
