"""The core of a WebSocket, by bytes and times alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol
from websockets.protocol import OPEN as WIRE_OPEN

from pylon import limits
from pylon.http.asgi import Message
from pylon.http.deflate import compressed_text_frame
from pylon.http.ending import NEVER, Ending
from pylon.http.heads import error_response
from pylon.http.listener import Bounds
from pylon.http.websocket_state import Phase, WebSocketState

REQUEST = (
    b"GET /ws?since=3 HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
BOUNDS = Bounds(
    handshake_seconds_max=10.0, ping_seconds=25.0, close_seconds_max=5.0, message_bytes_max=10_000
)
START = 1_000.0


# Functions, since mypy thinks that an attribute once looked at stays as it was.
MASK = b"\x01\x02\x03\x04"


def phase(state: WebSocketState) -> Phase:
    return state.phase


def reads(state: WebSocketState) -> bool:
    return state.is_reading


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    # A mask that is always the same: tests are named after their bytes.
    masked = bytearray(Frame(opcode, data, fin).serialize(mask=True))
    start = len(masked) - len(data) - len(MASK)
    masked[start:] = MASK + bytes(byte ^ MASK[place % 4] for place, byte in enumerate(data))
    return bytes(masked)


def text(data: bytes) -> bytes:
    return frame(Opcode.TEXT, data)


CLOSE = frame(Opcode.CLOSE, b"\x03\xe8bye")


def asked(bounds: Bounds = BOUNDS, *, request: bytes = REQUEST) -> WebSocketState:
    state = WebSocketState(bounds, START)
    state.receive(request, START)
    assert phase(state) is Phase.ASKED
    return state


def opened(bounds: Bounds = BOUNDS, *, request: bytes = REQUEST) -> WebSocketState:
    state = asked(bounds, request=request)
    assert state.take() == {"type": "websocket.connect"}
    state.accept(b"101", START)
    assert state.take_output() == b"101"
    return state


def frames_of(output: bytes) -> list[tuple[Opcode, bytes]]:
    """What a client reads of our bytes."""
    client = Protocol(CLIENT, state=WIRE_OPEN, max_size=None)
    client.receive_data(output)
    assert client.parser_exc is None
    found = [event for event in client.events_received() if isinstance(event, Frame)]
    return [(one.opcode, bytes(one.data)) for one in found]


def close_code(output: bytes) -> int:
    opcode, data = frames_of(output)[-1]
    assert opcode is Opcode.CLOSE
    return int.from_bytes(data[:2], "big")


def received(state: WebSocketState, now: float = START) -> list[Message]:
    """All that an app that receives now would see."""
    messages: list[Message] = []
    while (message := state.take()) is not None:
        state.go_on(now)
        messages.append(message)
        if message["type"] == "websocket.disconnect":
            break
    return messages


# --- handshake -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, len(REQUEST)))
def test_the_request_may_come_in_two_pieces(cut: int) -> None:
    state = WebSocketState(BOUNDS, START)
    state.receive(REQUEST[:cut], START)
    assert phase(state) is Phase.HANDSHAKE
    assert not state.has_news
    state.receive(REQUEST[cut:], START)
    assert phase(state) is Phase.ASKED
    assert state.upgrade is not None
    assert state.upgrade.target == "/ws?since=3"
    assert (b"host", b"x") in state.upgrade.headers
    answer = state.upgrade.accepted("chosen", [(b"x-own", b"1")])
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nsec-websocket-protocol: chosen\r\nx-own: 1\r\n\r\n" in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (REQUEST.replace(b"MDEyMzQ1Njc4OWFiY2RlZg==", b"short"), 400),
        (REQUEST.replace(b"version: 13", b"version: 8"), 400),
        (b"nonsense\r\n\r\n", 400),
        (REQUEST.replace(b"GET", b"PUT"), 405),
    ],
)
def test_a_bad_request_is_answered_and_ends(request_bytes: bytes, status: int) -> None:
    state = WebSocketState(BOUNDS, START)
    state.receive(request_bytes, START)
    assert state.take_output().startswith(b"HTTP/1.1 %d " % status)
    assert (state.phase, state.ending) == (Phase.ENDED, Ending.CLOSE)
    assert state.upgrade is None


def test_an_app_that_does_not_answer_is_503_at_its_time() -> None:
    state = asked()
    assert state.due == START + 10.0
    state.pass_time(START + 9.9)
    assert state.take_output() == b""
    state.pass_time(START + 10.0)
    assert state.take_output().startswith(b"HTTP/1.1 503 ")
    assert [m["type"] for m in received(state)] == ["websocket.connect", "websocket.disconnect"]


def test_frames_before_the_101_wait() -> None:
    state = asked()
    state.receive(text(b"early") + frame(Opcode.PING, b"p"), START)
    assert not reads(state)
    assert received(state) == [{"type": "websocket.connect"}]
    state.accept(b"", START)
    assert reads(state)
    assert received(state) == [{"type": "websocket.receive", "text": "early"}]
    assert frames_of(state.take_output()) == [(Opcode.PONG, b"p")]


def test_a_refusal_drops_what_came_behind() -> None:
    state = asked()
    state.receive(text(b"early"), START)
    state.start_refusal()
    assert not reads(state)
    state.refuse(error_response(429, "X", "y"), START)
    assert state.take_output().startswith(b"HTTP/1.1 429 ")
    assert (state.is_reading, state.ending) == (True, Ending.CLOSE)
    assert received(state)[-1]["code"] == 1006


# --- messages ------------------------------------------------------------------------------------

TALK = (
    text("hä".encode())
    + frame(Opcode.TEXT, b"a", fin=False)
    + frame(Opcode.PING, b"between")
    + frame(Opcode.CONT, b"", fin=False)
    + frame(Opcode.CONT, b"b")
    + frame(Opcode.BINARY, b"\x00" * 200)
    + text(b"")
    + CLOSE
)
HEARD: list[Message] = [
    {"type": "websocket.receive", "text": "hä"},
    {"type": "websocket.receive", "text": "ab"},
    {"type": "websocket.receive", "bytes": b"\x00" * 200},
    {"type": "websocket.receive", "text": ""},
    {"type": "websocket.disconnect", "code": 1000, "reason": "bye"},
]


def assert_heard(state: WebSocketState) -> None:
    assert received(state) == HEARD
    assert frames_of(state.take_output()) == [
        (Opcode.PONG, b"between"),
        (Opcode.CLOSE, b"\x03\xe8bye"),
    ]
    assert (state.phase, state.ending) == (Phase.ENDED, Ending.CLOSE)


@pytest.mark.parametrize("cut", range(1, len(TALK)))
def test_pieces_cut_anywhere_are_the_same_talk(cut: int) -> None:
    state = opened()
    state.receive(TALK[:cut], START)
    state.receive(TALK[cut:], START)
    assert_heard(state)


@given(st.lists(st.integers(1, 60), max_size=40))
def test_many_pieces_are_the_same_talk(sizes: list[int]) -> None:
    state = opened()
    rest = TALK
    for size in sizes:
        state.receive(rest[:size], START)
        rest = rest[size:]
    state.receive(rest, START)
    assert_heard(state)


def test_compressed_messages_are_agreed_on_and_inflated() -> None:
    extension = b"sec-websocket-extensions: permessage-deflate\r\n\r\n"
    state = opened(request=REQUEST[:-2] + extension)
    assert state.deflates
    sent = compressed_text_frame(b"x" * 2_000, 4)
    head, payload = sent[:2], sent[2:]
    assert head[1] < 126
    state.receive(bytes((head[0], head[1] | 0x80)) + b"\x00\x00\x00\x00" + payload, START)
    assert received(state) == [{"type": "websocket.receive", "text": "x" * 2_000}]
    assert not opened().deflates
    assert not opened(Bounds(deflate_level=0), request=REQUEST[:-2] + extension).deflates


@pytest.mark.parametrize(
    ("data", "code", "ending"),
    [
        (text(b"\xff"), 1007, Ending.NONE),
        (text(b"x" * 10_001), 1009, Ending.HALF),
        (frame(Opcode.CONT, b""), 1002, Ending.HALF),
        (b"\x81\x01x", 1002, Ending.HALF),
    ],
)
def test_bad_bytes_get_their_code_and_the_rest_is_thrown_away(
    data: bytes, code: int, ending: Ending
) -> None:
    state = opened()
    state.receive(data + text(b"never heard"), START)
    state.receive(text(b"nor this") * 1_000, START)
    assert close_code(state.take_output()) == code
    assert (state.phase, state.ending) == (Phase.CLOSING, ending)
    assert reads(state)
    (goodbye,) = received(state)
    assert goodbye["code"] == code
    assert state.due == START + 5.0
    state.pass_time(START + 5.0)
    assert state.ending is Ending.ABORT


# --- bounds --------------------------------------------------------------------------------------


def test_the_inbox_stops_the_client_at_one_mark_and_lets_it_go_on_at_the_other() -> None:
    state = opened()
    count = 5_000
    state.receive(text(b"x") * count, START)
    assert not reads(state)
    waiting = len(state.inbox)
    assert limits.SOCKET_INBOX_MESSAGES_MAX <= waiting < 500
    assert state.take_output() == b""
    while len(state.inbox) > limits.SOCKET_INBOX_MESSAGES_MAX // 2 + 1:
        state.take()
        state.go_on(START)
        assert not reads(state)
    state.take()
    state.go_on(START)
    assert len(state.inbox) > limits.SOCKET_INBOX_MESSAGES_MAX
    left = len(received(state))
    assert left + waiting - limits.SOCKET_INBOX_MESSAGES_MAX // 2 == count
    assert reads(state)


def test_what_comes_after_the_stop_is_kept_in_order() -> None:
    state = opened()
    count = 600
    for number in range(count):
        state.receive(text(b"%d" % number), START)
    assert not reads(state)
    assert [int(message["text"]) for message in received(state)] == list(range(count))


def test_one_large_message_fills_the_inbox() -> None:
    state = opened(Bounds())
    state.receive(frame(Opcode.BINARY, b"x" * limits.SOCKET_INBOX_BYTES_MAX), START)
    state.receive(text(b"later"), START)
    assert (state.is_reading, len(state.inbox)) == (False, 1)
    assert len(received(state)) == 2
    assert reads(state)


@pytest.mark.parametrize(
    "minor",
    [
        frame(Opcode.PING, b""),
        frame(Opcode.PONG, b""),
        frame(Opcode.CONT, b"", fin=False),
    ],
)
def test_a_flood_that_says_nothing_rests_until_its_time(minor: bytes) -> None:
    state = opened()
    state.receive(frame(Opcode.TEXT, b"", fin=False), START)
    state.receive(minor * (limits.SOCKET_MINOR_FRAMES_BURST + 1_000), START)
    assert not reads(state)
    rests_until = state.due
    assert START < rests_until < START + 25.0
    state.pass_time(rests_until - 0.001)
    assert not reads(state)
    now = rests_until
    for _ in range(10):
        state.pass_time(now)
        if reads(state):
            break
        now = state.due
    assert reads(state)
    expected = 1_000 / limits.SOCKET_MINOR_FRAMES_PER_SECOND
    assert now - START == pytest.approx(expected, rel=0.5)


def test_a_client_that_takes_no_pongs_may_not_ask_for_more() -> None:
    state = opened()
    state.pause_writing()
    state.receive(frame(Opcode.PING, b"1"), START)
    assert (state.is_reading, state.take_output()) == (False, b"")
    state.resume_writing(START)
    assert frames_of(state.take_output()) == [(Opcode.PONG, b"1")]
    assert reads(state)


# --- time and the end ----------------------------------------------------------------------------


def test_silence_is_pinged_and_then_closed() -> None:
    state, now = opened(), START
    for _ in range(limits.SOCKET_PONGS_MISSED_MAX):
        now += 25.0
        assert state.due == now
        state.pass_time(now)
        assert frames_of(state.take_output()) == [(Opcode.PING, b"")]
    state.pass_time(now + 25.0)
    assert close_code(state.take_output()) == 1011
    assert received(state)[-1]["code"] == 1011


def test_any_byte_is_a_sign_of_life() -> None:
    state, now = opened(), START
    for byte in text(b"x" * 20)[: 5 * limits.SOCKET_PONGS_MISSED_MAX]:
        now += 25.0
        state.pass_time(now)
        state.receive(bytes((byte,)), now)
    assert phase(state) is Phase.OPEN


def test_who_is_left_unread_is_not_to_blame_for_silence() -> None:
    state, now = opened(), START
    state.receive(text(b"x") * 5_000, START)
    assert not reads(state)
    for _ in range(5 * limits.SOCKET_PONGS_MISSED_MAX):
        now += 25.0
        state.pass_time(now)
    received(state, now)  # From now on what it says is read, and a ping has its time.
    now += 25.0
    state.pass_time(now)
    assert phase(state) is Phase.OPEN
    state.pause_writing()  # Now it is to blame: it does not take what we write.
    for _ in range(2 * limits.SOCKET_PONGS_MISSED_MAX):
        now += 25.0
        state.pass_time(now)
    assert phase(state) is Phase.CLOSING


def test_our_close_awaits_theirs() -> None:
    state = opened()
    state.close(1013, "é" * 200, START)
    (answer,) = frames_of(state.take_output())
    assert answer == (Opcode.CLOSE, (1013).to_bytes(2, "big") + "é".encode() * 61)
    state.close(1000, "", START)
    assert state.take_output() == b""
    state.receive(text(b"too late"), START)
    assert (state.phase, state.ending) == (Phase.CLOSING, Ending.NONE)
    state.receive(frame(Opcode.CLOSE, (1013).to_bytes(2, "big")), START)
    assert (state.phase, state.ending) == (Phase.ENDED, Ending.CLOSE)
    assert received(state) == [
        {"type": "websocket.disconnect", "code": 1013, "reason": "é" * 200},
    ]


def test_a_close_that_nobody_answers_is_cut_at_its_time() -> None:
    state = opened()
    state.close(1000, "", START + 3.0)
    assert state.due == START + 8.0
    state.pass_time(START + 8.0)
    assert state.ending is Ending.ABORT
    assert state.due == NEVER


def test_a_code_that_must_not_be_sent() -> None:
    state = opened()
    with pytest.raises(ValueError, match="1005"):
        state.close(1005, "", START)
    assert phase(state) is Phase.OPEN


def test_messages_before_a_loss_are_still_received() -> None:
    state = opened()
    state.receive(text(b"last") + text(b"half")[:-1], START)
    state.lose()
    assert received(state) == [
        {"type": "websocket.receive", "text": "last"},
        {"type": "websocket.disconnect", "code": 1006, "reason": ""},
    ]
    assert (state.phase, state.due) == (Phase.ENDED, NEVER)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_stop_is_1001_or_503(is_open: bool) -> None:
    state = opened() if is_open else asked()
    state.shut_down(START)
    output = state.take_output()
    if is_open:
        assert close_code(output) == 1001
    else:
        assert output.startswith(b"HTTP/1.1 503 ")
    state.shut_down(START)
    assert state.take_output() == b""


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40).map(lambda data: ("receive", data)),
            st.sampled_from([TALK[:40], text(b"x") * 40, CLOSE]).map(lambda d: ("receive", d)),
            st.sampled_from(["take", "wait", "close", "pause", "resume", "stop", "lose"]).map(
                lambda word: (word, b"")
            ),
        ),
        max_size=30,
    )
)
def test_any_history_ends_once_and_forwards_only(steps: list[tuple[str, bytes]]) -> None:
    order = list(Ending)
    state, now = opened(), START
    for word, data in steps:
        before = state.phase, state.ending
        wishes, due = (state.phase, state.is_reading, state.ending), state.due
        state.has_wishes = False
        if word == "receive":
            state.receive(data, now)
        elif word == "take":
            state.take()
            state.go_on(now)
        elif word == "wait":
            now = min(state.due, now + 100.0)
            state.pass_time(now)
        elif word == "close":
            state.close(1000, "", now)
        elif word == "pause":
            state.pause_writing()
        elif word == "resume":
            state.resume_writing(now)
        elif word == "stop":
            state.shut_down(now)
        else:
            state.lose()
        assert list(Phase).index(state.phase) >= list(Phase).index(before[0])
        assert order.index(state.ending) >= order.index(before[1])
        assert state.due > now or state.due == NEVER
        if state.phase is Phase.OPEN:
            assert state.ending is Ending.NONE
        output = state.take_output()
        if not state.has_wishes:
            assert (state.phase, state.is_reading, state.ending) == wishes
            assert output == b""
            assert state.due >= due
    if state.phase is not Phase.OPEN:
        assert received(state, now)[-1]["type"] == "websocket.disconnect"
