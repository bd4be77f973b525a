"""Answers that nobody takes: what is kept of them, by its own counts, and over sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.clock import ManualClock
from pylon.config import Config
from pylon.errors import PylonError
from pylon.http.connection import HttpConnection
from pylon.http.unsent import Held, Unsent
from tests.http.kernel import DEV, Kernel, served

ANN, BOB = "1.1.1.1", "2.2.2.2"


class Answers:
    """Answers on their way, and those that were ended."""

    def __init__(self, *, total_max: int = 1_000, per_address_max: int = 400) -> None:
        self.clock = ManualClock()
        self.unsent = Unsent(self.clock, total_max=total_max, per_address_max=per_address_max)
        self.ended: list[str] = []

    def take(self, address: str, size: int, name: str = "") -> Held:
        return self.unsent.take(address, size, lambda: self.ended.append(name))

    def refused(self, address: str, size: int) -> PylonError:
        with pytest.raises(PylonError) as caught:
            self.take(address, size)
        return caught.value


def test_what_is_given_back_is_free_again() -> None:
    answers = Answers()
    first, second = answers.take(ANN, 300), answers.take(ANN, 100)
    assert (answers.unsent.bytes, answers.unsent.of(ANN)) == (400, 400)
    answers.unsent.give_back(first)
    answers.unsent.give_back(first)
    assert (answers.unsent.bytes, answers.unsent.of(ANN)) == (100, 100)
    answers.unsent.give_back(second)
    assert (answers.unsent.bytes, answers.unsent.of(ANN)) == (0, 0)
    assert not answers.unsent._by_address


def test_what_becomes_smaller_makes_room() -> None:
    answers = Answers()
    first = answers.take(ANN, 300)
    answers.unsent.shrink(first, 100)
    second = answers.take(ANN, 300)
    answers.unsent.shrink(second, 0)
    assert (answers.unsent.bytes, answers.unsent.of(ANN)) == (100, 100)
    answers.unsent.give_back(second)
    answers.unsent.give_back(first)
    answers.unsent.shrink(first, 500)
    assert (answers.unsent.bytes, answers.unsent.of(ANN)) == (0, 0)


def test_an_address_has_its_share_and_others_theirs() -> None:
    answers = Answers()
    answers.take(ANN, 300)
    refusal = answers.refused(ANN, 101)
    assert (refusal.status, refusal.code) == (503, "OVERLOADED")
    assert refusal.extra == {"retry_after_secs": limits.UNSENT_RETRY_SECONDS}
    answers.take(ANN, 100)
    answers.take(BOB, 400)
    assert answers.unsent.refused == 1


def test_one_answer_may_always_be_on_its_way() -> None:
    answers = Answers()
    huge = answers.take(ANN, 5_000)
    answers.refused(ANN, 1)
    answers.refused(BOB, 1)
    answers.unsent.give_back(huge)
    answers.take(BOB, 5_000)


def test_when_all_is_full_the_oldest_are_ended() -> None:
    answers = Answers()
    for number in range(10):
        answers.take(f"3.3.3.{number}", 100, str(number))
        answers.clock.advance(1.0)
    answers.refused(ANN, 150)
    assert answers.ended == [], "one has had its time, and two would have to go"
    answers.clock.advance(limits.UNSENT_SECONDS_SAFE - 8.5)
    answers.take(ANN, 150)
    assert answers.ended == ["0", "1"]
    answers.refused(BOB, 100)
    assert (answers.unsent.cut, answers.unsent.refused) == (2, 2)
    assert answers.unsent.bytes == 950


def test_what_keeps_nothing_is_not_ended() -> None:
    answers = Answers()
    small = answers.take(BOB, 50, "small")
    answers.unsent.shrink(small, 0)
    answers.take(ANN, 400, "ann")
    answers.clock.advance(limits.UNSENT_SECONDS_SAFE)
    answers.take("3.3.3.3", 900)
    assert answers.ended == ["ann"]


def test_a_bound_of_0_is_none() -> None:
    answers = Answers(total_max=0, per_address_max=0)
    for _ in range(100):
        answers.take(ANN, 1_000)
    assert answers.unsent.bytes == 100_000


def test_a_network_of_one_subscriber_is_one_address() -> None:
    answers = Answers()
    answers.take("2001:db8::1", 400)
    answers.refused("2001:db8::2", 1)
    answers.take("2001:db8:0:1::1", 1)


@given(st.lists(st.tuples(st.sampled_from([ANN, BOB, "::1"]), st.integers(-5, 500)), max_size=60))
def test_any_history_adds_up(steps: list[tuple[str, int]]) -> None:
    answers = Answers()
    held: list[Held] = []
    for address, size in steps:
        answers.clock.advance(3.0)
        if size <= 0:
            if held:
                answers.unsent.give_back(held.pop(size % len(held)))
            continue
        try:
            held.append(answers.take(address, size))
        except PylonError:
            continue
        assert answers.unsent.bytes <= 1_000
        assert answers.unsent.of(address) <= max(400, size)
    kept = list(answers.unsent._held)
    assert answers.unsent.bytes == sum(each.size for each in kept)
    assert sum(map(answers.unsent.of, (ANN, BOB, "::1"))) == answers.unsent.bytes
    assert len(kept) + answers.unsent.cut >= len(held)


# --- over sockets --------------------------------------------------------------------------------

MB = 1_000_000
SIZE = 20 * MB
"""More than the buffers of the system take."""

Serve = Callable[..., Kernel]


@pytest.fixture
def serving() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(http: object = HttpConnection, **settings: int) -> Kernel:
            config: Config = replace(DEV, gzip_level=0, **settings)  # type: ignore[arg-type]
            return stack.enter_context(served(config, http=http))

        yield start


class Client:
    """A connection that reads when it is told to."""

    def __init__(self, kernel: Kernel) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", kernel.port))

    def ask(self, path: str, *lines: str) -> None:
        head = "".join(f"{line}\r\n" for line in lines)
        request = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n"
        self.socket.sendall(request.encode())

    def answer(self) -> tuple[int, bytes, bytes]:
        """Status, head and body, as far as it came."""
        parts = []
        try:
            while part := self.socket.recv(1 << 20):
                parts.append(part)
        except ConnectionError:
            pass
        head, _, body = b"".join(parts).partition(b"\r\n\r\n")
        return int(head.split()[1]), head, body

    def close(self) -> None:
        self.socket.close()


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


@pytest.mark.parametrize("http", ["httptools", HttpConnection], ids=["uvicorn", "ours"])
@pytest.mark.parametrize("path", [f"/api/large/x?size={SIZE}", f"/api/stream/rows?size={SIZE}"])
def test_unread_answers_are_bounded_for_an_address(serving: Serve, http: object, path: str) -> None:
    kernel = serving(http, unsent_bytes_per_address_max=130_000)
    whole = 70_000 if "stream" in path else SIZE
    with closing(Client(kernel)) as first, closing(Client(kernel)) as second:
        first.ask(path)
        until(lambda: kernel.unsent.bytes == whole)
        for _ in range(3):
            with closing(Client(kernel)) as more:
                more.ask(path)
                status, head, body = more.answer()
                assert status == 503
                assert b"retry-after: 2" in head
                assert json.loads(body)["error"]["code"] == "OVERLOADED"
        second.ask("/api/who")
        assert second.answer()[0] == 200, "small answers are not affected"
        assert kernel.unsent.bytes == whole
        assert len(first.answer()[2]) >= SIZE
        until(lambda: kernel.unsent.bytes == 0)
    with closing(Client(kernel)) as third:
        third.ask(path)
        assert third.answer()[0] == 200


def test_who_leaves_gives_back(serving: Serve) -> None:
    kernel = serving()
    for path in (f"/api/large/x?size={SIZE}", f"/api/stream/rows?size={SIZE}"):
        with closing(Client(kernel)) as client:
            client.ask(path)
            until(lambda: kernel.unsent.bytes > 0)
        until(lambda: kernel.unsent.bytes == 0)


def test_the_oldest_answer_is_cut_for_a_newer_one(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNSENT_SECONDS_SAFE", 0.0)
    kernel = serving(unsent_bytes_max=30 * MB, unsent_bytes_per_address_max=0)
    path = f"/api/large/x?size={SIZE}"
    with closing(Client(kernel)) as slow, closing(Client(kernel)) as quick:
        slow.ask(path)
        until(lambda: kernel.unsent.bytes == SIZE)
        quick.ask(path)
        assert len(quick.answer()[2]) == SIZE
        assert len(slow.answer()[2]) < SIZE, "and it sees that it is not whole"
        assert kernel.unsent.cut == 1
        until(lambda: kernel.unsent.bytes == 0)


def test_addresses_are_those_behind_the_proxy(serving: Serve) -> None:
    kernel = serving(unsent_bytes_per_address_max=130_000, trusted_proxy_hops=1)
    path = f"/api/large/x?size={SIZE}"
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(Client(kernel))) for _ in range(3)]
        for client, address in zip(clients, (ANN, BOB, ANN), strict=True):
            before = kernel.unsent.bytes + kernel.unsent.refused
            client.ask(path, f"x-forwarded-for: 9.9.9.9, {address}")
            until(lambda before=before: kernel.unsent.bytes + kernel.unsent.refused > before)  # type: ignore[misc]
        assert (kernel.unsent.of(ANN), kernel.unsent.of(BOB)) == (SIZE, SIZE)
        assert clients[2].answer()[0] == 503


def test_answers_to_head_are_not_kept(serving: Serve) -> None:
    kernel = serving(unsent_bytes_per_address_max=1)
    with closing(Client(kernel)) as client:
        client.socket.sendall(
            b"HEAD /api/large/x?size=1000000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        status, head, body = client.answer()
        assert (status, body) == (200, b"")
        assert b"content-length: 1000000" in head
    assert (kernel.unsent.bytes, kernel.unsent.refused) == (0, 0)
