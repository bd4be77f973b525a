"""The core of an HTTP connection, by bytes and times: order, keep-alive, bad bytes, the end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pylon import limits
from pylon.http.connection_state import ConnectionState
from pylon.http.crowd import Waiting
from pylon.http.ending import NEVER, Ending
from pylon.http.listener import Bounds
from pylon.http.scopes import Facts
from pylon.http.turn import Answer, Turn

START = 1_000.0
BOUNDS = Bounds(
    header_bytes_max=2_000,
    head_read_seconds_max=20.0,
    keep_alive_seconds=75.0,
    linger_seconds_max=5.0,
    stall_seconds_max=60.0,
    stall_bytes_min=1,
)


class Line:
    """What the shell does, without a socket: starts turns, answers them, collects output."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        facts = Facts(client=("1.2.3.4", 5), root_path="", state={"a": 1})
        self.state = ConnectionState(facts, bounds, takes_websockets=True, now=START)
        self.now = START
        self.turns: list[Turn] = []
        self.paths: list[str] = []
        self.output = b""
        self.said = 0  # Bytes that are no app's.

    def receive(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.state.receive(piece, self.now)
            self.look()

    def look(self) -> None:
        turn, self.state.begun = self.state.begun, None
        if turn is not None:
            self.turns.append(turn)
            self.paths.append(turn.take_scope()["path"])
        output = self.state.take_output()
        self.output += output
        self.said += len(output)

    def answer(self, body: bytes = b"") -> None:
        """Answer the active turn, as its app would."""
        turn = self.state.active
        assert turn is not None
        turn.start(200, (), b"\r\ndate: x")
        self.output += b"".join(turn.piece(body, False))
        self.state.finish(turn, self.now)
        self.look()

    def wait(self, seconds: float, *, unsent: int = 0) -> None:
        self.now += seconds
        self.state.pass_time(self.now, unsent)
        self.look()

    @property
    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.output.split(b"HTTP/1.1 ")[1:]]

    def ending(self) -> Ending:  # Not a property: mypy would think that it stays as it was.
        return self.state.ending

    @property
    def is_reading(self) -> bool:
        return self.state.is_reading


def get(path: str = "/", *headers: bytes) -> bytes:
    return b"\r\n".join((f"GET {path} HTTP/1.1".encode(), b"host: x", *headers, b"", b""))


def post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


# --- order ---------------------------------------------------------------------------------------


def test_one_after_another_on_one_connection() -> None:
    line = Line()
    for number in range(3):
        line.receive(get(f"/{number}"))
        assert line.state.deadline == NEVER
        line.answer(b"x")
        assert line.state.is_idle
        assert line.state.deadline == START + 75.0
    assert line.paths == ["/0", "/1", "/2"]
    assert (line.statuses, line.ending()) == ([200] * 3, Ending.NONE)


def test_pipelined_requests_wait_for_their_turn() -> None:
    line = Line()
    line.receive(b"".join(post(f"/{number}", b"%d" % number) for number in range(4)))
    assert line.paths == ["/0"]
    assert not line.is_reading
    for number in range(4):
        turn = line.state.active
        assert turn is not None
        message = turn.receive()
        assert message is not None
        assert message["body"] == b"%d" % number
        line.answer()
    assert line.paths == ["/0", "/1", "/2", "/3"]
    assert line.is_reading


def test_too_many_pipelined_requests_get_their_answers_and_429() -> None:
    line = Line()
    line.receive(get() * (limits.PIPELINED_REQUESTS_MAX + 10))
    while line.state.active is not None:
        line.answer()
    assert line.statuses == [200] * (limits.PIPELINED_REQUESTS_MAX + 1) + [429]
    assert line.ending() is Ending.CLOSE


def test_a_request_that_closes_is_the_last() -> None:
    line = Line()
    line.receive(get("/", b"connection: close") + get("/never"))
    line.answer()
    assert (line.paths, line.ending()) == (["/"], Ending.CLOSE)


def test_a_long_body_pauses_reading_until_the_app_wants_it() -> None:
    line = Line()
    size = limits.REQUEST_BUFFER_BYTES + 1
    line.receive(post("/", b"x" * (2 * size))[: size + 200])
    assert not line.is_reading
    turn = line.state.active
    assert turn is not None
    assert turn.receive() is not None
    assert turn.receive() is None
    line.state.want_body()
    assert line.is_reading


# --- early answers -------------------------------------------------------------------------------


def test_an_early_answer_lets_the_rest_pass_and_goes_on() -> None:
    line = Line()
    body = b"x" * 1_000
    whole = post("/early", body)
    line.receive(whole[:300])
    line.answer()
    assert line.ending() is Ending.NONE
    assert line.state.deadline == START + 5.0
    line.receive(whole[300:800], whole[800:] + get("/next"))
    assert line.paths == ["/early", "/next"]
    line.answer()
    assert line.statuses == [200, 200]


def test_an_early_answer_whose_rest_does_not_come_closes_in_time() -> None:
    line = Line()
    line.receive(post("/early", b"x" * 1_000)[:300])
    line.answer()
    line.wait(4.9)
    assert line.ending() is Ending.NONE
    line.wait(0.1)
    assert line.ending() is Ending.CLOSE


def test_an_early_answer_to_an_expecting_client_ends_by_halves() -> None:
    line = Line()
    line.receive(get("/", b"expect: 100-continue", b"content-length: 9"))
    line.answer()
    assert b"connection: close" in line.output
    assert line.ending() is Ending.HALF
    line.receive(get("/thrown away"))
    line.wait(5.0)
    assert (line.paths, line.ending()) == (["/"], Ending.CLOSE)


# --- bad bytes -----------------------------------------------------------------------------------

BAD = b"\x00\x01\r\n\r\n"


def test_bad_bytes_are_answered_and_then_nothing_is_read() -> None:
    line = Line()
    line.receive(BAD)
    head, _, body = line.output.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "BAD_REQUEST"
    assert line.ending() is Ending.HALF
    line.receive(get())
    assert line.paths == []
    line.wait(5.0)
    assert line.ending() is Ending.CLOSE


def test_bad_bytes_behind_requests_wait_for_the_answers() -> None:
    line = Line()
    line.receive(get("/0") + get("/1") + BAD)
    assert line.output == b""
    assert not line.is_reading
    line.answer()
    line.answer()
    assert (line.statuses, line.ending()) == ([200, 200, 400], Ending.CLOSE)


def test_nothing_is_read_while_the_last_word_waits() -> None:
    line = Line()
    line.receive(get("/0") + BAD)
    assert not line.is_reading
    line.answer()
    assert line.statuses == [200, 400]


def test_a_body_that_goes_bad_before_the_answer_is_told_to_both() -> None:
    line = Line()
    line.receive(
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n"
    )
    assert line.turns[0].receive() == {"type": "http.disconnect"}
    assert line.statuses == [400]


def test_a_body_that_goes_bad_within_the_answer_is_cut() -> None:
    line = Line()
    line.receive(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
    line.turns[0].start(200, (), b"\r\ndate: x")
    line.turns[0].piece(b"begun", True)
    line.receive(b"zz\r\n")
    assert line.ending() is Ending.ABORT
    assert line.output == b""


def test_a_queued_request_that_goes_bad_is_not_run() -> None:
    line = Line()
    line.receive(
        get("/0") + b"POST /1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    )
    line.answer()
    assert (line.paths, line.statuses) == (["/0"], [200, 400])


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/", b"expect: tea"), 417),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (get("/") + get("/ws", b"connection: upgrade", b"upgrade: websocket"), 400),
    ],
)
def test_other_refusals(request_bytes: bytes, status: int) -> None:
    line = Line()
    line.receive(request_bytes)
    while line.state.active is not None:
        line.answer()
    assert line.statuses[-1] == status


def test_an_upgrade_is_given_away() -> None:
    line = Line()
    line.receive(get("/ws", b"connection: upgrade", b"upgrade: websocket") + b"rest")
    assert line.state.has_wishes
    assert line.state.upgrade is not None
    assert line.state.upgrade[1] == b"rest"
    assert line.state.is_idle


# --- time ----------------------------------------------------------------------------------------


def test_a_silent_client_is_closed() -> None:
    line = Line()
    assert line.state.due == START + 20.0
    line.wait(19.9)
    assert line.ending() is Ending.NONE
    line.wait(0.1)
    assert line.ending() is Ending.CLOSE


@pytest.mark.parametrize("is_used", [False, True])
def test_a_head_that_drips_has_one_time_for_all_its_pieces(is_used: bool) -> None:
    line = Line()
    if is_used:
        line.receive(get())
        line.answer()
        line.wait(50.0)
    start = line.now
    for byte in get()[:20]:
        line.receive(bytes((byte,)))
        line.wait(0.9)
    assert line.state.deadline == start + 20.0
    line.wait(2.1)
    assert line.ending() is Ending.CLOSE


def test_a_head_that_has_begun_behind_a_request_is_timed_from_the_answer() -> None:
    line = Line()
    line.receive(get() + get()[:5])
    line.wait(100.0)
    assert line.ending() is Ending.NONE
    line.answer()
    assert line.state.deadline == START + 120.0


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    line = Line()
    line.receive(get())
    line.wait(1_000.0)
    assert line.ending() is Ending.NONE
    line.answer()
    line.wait(74.9)
    assert line.ending() is Ending.NONE
    line.wait(0.1)
    assert line.ending() is Ending.CLOSE


def test_a_client_that_takes_nothing_is_cut_and_a_slow_one_is_not() -> None:
    line = Line()
    line.receive(get())
    line.state.watch_writing(line.now, 1_000)
    for unsent in (999, 500, 499):
        line.wait(60.0, unsent=unsent)
        assert line.ending() is Ending.NONE
        assert line.state.due == line.now + 60.0
    line.wait(60.0, unsent=499)
    assert line.ending() is Ending.ABORT
    line.state.shut_down()
    line.answer()
    assert line.ending() is Ending.ABORT


def test_a_client_that_takes_drops_is_cut_as_one_that_takes_nothing() -> None:
    line = Line(replace(BOUNDS, stall_bytes_min=1_000))
    line.receive(get())
    line.state.watch_writing(line.now, 5_000)
    for unsent in (4_000, 2_900, 1_900, 900):
        line.wait(60.0, unsent=unsent)
        assert line.ending() is Ending.NONE
    line.wait(60.0, unsent=1)
    assert line.ending() is Ending.ABORT, "the last of it must be taken whole"
    line = Line(replace(BOUNDS, stall_bytes_min=1_000))
    line.receive(get())
    line.state.watch_writing(line.now, 5_000)
    line.wait(60.0, unsent=4_001)
    assert line.ending() is Ending.ABORT


def test_who_has_caught_up_is_watched_no_more() -> None:
    line = Line()
    line.receive(get())
    line.state.watch_writing(line.now, 1_000)
    line.state.resume_writing()
    line.wait(600.0, unsent=1_000)
    assert line.ending() is Ending.NONE


def test_the_last_answer_must_be_taken_in_time_too() -> None:
    line = Line()
    line.receive(get("/", b"connection: close"))
    line.answer()
    line.state.watch_writing(line.now, 10)  # as a shell does when it closes
    line.state.resume_writing()
    line.wait(60.0, unsent=10)
    assert line.ending() is Ending.ABORT


# --- the end -------------------------------------------------------------------------------------


def test_a_stop_closes_idle_connections_at_once_and_busy_ones_after_their_answers() -> None:
    idle, busy = Line(), Line()
    busy.receive(get("/0") + get("/1"))
    for line in (idle, busy):
        line.state.shut_down()
    assert (idle.ending(), busy.ending()) == (Ending.CLOSE, Ending.NONE)
    busy.answer()
    assert busy.ending() is Ending.CLOSE
    assert busy.output.count(b"connection: close") == 1


def test_a_loss_is_told_to_the_app() -> None:
    line = Line()
    line.receive(post("/", b"xx")[:-1] + b"")
    line.state.lose()
    (turn,) = line.turns
    assert turn.disconnected
    assert line.state.due == NEVER
    line.receive(get())
    assert len(line.turns) == 1


SCRAPS = [
    get("/a"),
    get("/b")[:9],
    post("/c", b"body"),
    post("/d", b"body")[:-2],
    b"\r\n",
    BAD,
    b"POST /e HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    get("/f", b"connection: close"),
    get("/g", b"connection: upgrade", b"upgrade: websocket"),
]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(SCRAPS),
            st.binary(max_size=12),
            st.sampled_from(["answer", "wait", "stop", "lose", "want", "pause", "resume"]),
        ),
        max_size=25,
    )
)
def test_any_history_answers_in_order_and_ends_forwards(steps: list[bytes | str]) -> None:
    line = Line()
    for step in steps:
        before = line.ending()
        wishes, said = (line.state.is_reading, line.state.upgrade), line.said
        line.state.has_wishes = False
        if isinstance(step, bytes):
            line.receive(step)
        elif step == "answer":
            turn = line.state.active
            if turn is not None and not turn.disconnected:
                line.answer(b"x")
                assert turn.answer is Answer.COMPLETE
        elif step == "wait":
            line.wait(min(line.state.due, line.now + 100.0) - line.now)
        elif step == "stop":
            line.state.shut_down()
        elif step == "lose":
            line.state.lose()
        elif step == "want":
            line.state.want_body()
        elif step == "pause":
            line.state.watch_writing(line.now, 1)
        else:
            line.state.resume_writing()
        assert line.ending() >= before
        if not line.state.has_wishes:
            assert (line.state.is_reading, line.state.upgrade) == wishes
            assert (line.ending(), line.said) == (before, said)
        assert line.state.active is None or line.state.active in line.turns
    bad = [status for status in line.statuses if status != 200]
    assert len(bad) <= 1
    assert line.statuses[len(line.statuses) - len(bad) :] == bad, "what is refused comes last"


# --- who is waited for ----------------------------------------------------------------------------


def test_it_tells_who_is_waited_for() -> None:
    line = Line()

    def waiting() -> Waiting:
        return line.state.waiting

    assert waiting() is Waiting.REQUEST
    line.receive(get()[:20])
    assert waiting() is Waiting.REQUEST, "half a head"
    line.receive(get()[20:])
    assert waiting() is Waiting.US
    line.answer()
    assert waiting() is Waiting.REQUEST, "idle"
    body = b"x" * (2 * limits.REQUEST_BUFFER_BYTES)
    line.receive(post("/", body)[:100])
    assert waiting() is Waiting.CLIENT, "half a body"
    line.receive(post("/", body)[100:-1])
    assert waiting() is Waiting.US, "the app does not take what has come of it"
    turn = line.state.active
    assert turn is not None
    turn.receive()
    line.state.want_body()
    assert waiting() is Waiting.CLIENT
    line.receive(b"x")
    assert waiting() is Waiting.US
    line.state.watch_writing(line.now, 100_000)
    assert waiting() is Waiting.CLIENT, "the answer is not taken"
    line.state.resume_writing()
    assert waiting() is Waiting.US
