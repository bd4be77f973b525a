"""Taking requests apart, by bytes alone: cuts anywhere, bounds, upgrades, bad bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylon import limits
from pylon.http.asgi import Header
from pylon.http.request_reader import Reading, RefusedError, RequestReader

REQUESTS = (
    b"GET /a?q=%20 HTTP/1.1\r\nHost: x\r\nX-A:  b \r\n\r\n"
    b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
    b"POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\ntrailer: t\r\n\r\n"
    b"GET http://X:80/d?e HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
)
READ = [
    ["GET", b"/a?q=%20", [(b"host", b"x"), (b"x-a", b"b")], True, b"", "end"],
    ["POST", b"/b", [(b"host", b"x"), (b"content-length", b"5")], True, b"hello", "end"],
    ["POST", b"/c", [(b"host", b"x"), (b"transfer-encoding", b"chunked")], True, b"abcde", "end"],
    ["GET", b"/d?e", [(b"host", b"x"), (b"connection", b"close")], False, b"", "end"],
]


class Heard:
    """A sink that writes down what it hears."""

    def __init__(self) -> None:
        self.requests: list[list[object]] = []
        self.body = b""
        self.refusal: RefusedError | None = None

    def take_head(
        self, method: str, http_version: str, target: bytes, headers: list[Header], keep_alive: bool
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.body = b""
        self.requests.append([method, target, headers, keep_alive])

    def take_upgrade(self) -> None:
        self.requests.append(["upgrade"])
        if self.refusal is not None:
            raise self.refusal

    def take_body(self, body: bytes) -> None:
        assert body
        self.body += body

    def take_end(self) -> None:
        self.requests[-1] += [self.body, "end"]


def reading(
    *, header_bytes_max: int = 2_000, takes_websockets: bool = True
) -> tuple[RequestReader, Heard]:
    heard = Heard()
    reader = RequestReader(
        heard, header_bytes_max=header_bytes_max, takes_websockets=takes_websockets
    )
    return reader, heard


def feed_in_pieces(reader: RequestReader, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])


@pytest.mark.parametrize("cut", range(len(REQUESTS) + 1))
def test_requests_cut_anywhere_are_the_same(cut: int) -> None:
    reader, heard = reading()
    reader.feed(REQUESTS[:cut])
    reader.feed(REQUESTS[cut:])
    assert heard.requests == READ
    assert reader.reading is Reading.IDLE


@given(st.lists(st.integers(1, 80), max_size=60))
def test_requests_in_many_pieces_are_the_same(sizes: list[int]) -> None:
    reader, heard = reading()
    rest = REQUESTS
    for size in sizes:
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.feed(rest)
    assert heard.requests == READ


def test_reading_says_what_the_next_bytes_belong_to() -> None:
    reader, _ = reading()
    seen = [reader.reading]
    for piece in (
        b"POST / HT",
        b"TP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n",
        b"a",
        b"b",
        b"G",
    ):
        reader.feed(piece)
        seen.append(reader.reading)
    reader.stop()
    names = [each.name for each in [*seen, reader.reading]]
    assert names == ["IDLE", "HEAD", "BODY", "BODY", "IDLE", "HEAD", "OVER"]


HOST = b"host: x\r\n"
LENGTH = b"content-length: 4\r\n"
LINES = st.sampled_from(
    [
        *(
            b"GET /a HTTP/1.1\r\n",
            b"GET /b?c=%20 HTTP/1.1\r\n",
            b"GET /" + b"d" * 300 + b" HTTP/1.1\r\n",
        ),
        *(b"POST /a HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"\r\nGET / HTTP/1.1\r\n"),
        *(
            b"GET /a HTTP/1.0\r\n",
            b"GET /a HTTP/1.1\n",
            b"GET /a#b HTTP/1.1\r\n",
            b"GET /\xc3 HTTP/1.1\r\n",
        ),
        *(b"GET http://x/a HTTP/1.1\r\n", b"GETS / HTTP/1.1\r\n", b"GET  / HTTP/1.1\r\n"),
    ]
)
RESTS = st.sampled_from(
    [
        *(HOST + b"\r\n", HOST + LENGTH + b"\r\nbody", HOST + LENGTH + b"\r\nBODY"),
        *(
            HOST + LENGTH + b"\r\nbody\r\n",
            HOST + LENGTH + b"\r\nbo",
            HOST + LENGTH + b"\r\n\r\n\r\n",
        ),
        *(
            HOST + LENGTH + b"\nbody\r\n",
            HOST + LENGTH + b"\n\r\n\r\n\r\n",
            HOST + b"\n\r\n",
            b"host: x\n\r\n",
        ),
        *(
            HOST + b"x-a: b\r\n c\r\n\r\n",
            HOST + b"expect: 100-continue\r\n" + LENGTH + b"\r\nbody",
        ),
        HOST + b"transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        *(
            HOST + b"connection: close\r\n\r\n",
            b"\r\n",
            HOST + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n",
        ),
        *(
            b"host: y\r\n\r\n",
            b"HOST: x\r\n\r\n",
            HOST + HOST + b"\r\n",
            HOST + LENGTH + LENGTH + b"\r\nbody",
        ),
    ]
)
TIMES = st.integers(1, 3)


def heard_of(pieces: list[bytes]) -> tuple[list[list[object]], int | None, Reading]:
    reader, heard = reading(header_bytes_max=200)
    try:
        for piece in pieces:
            reader.feed(piece)
    except RefusedError as refusal:
        return heard.requests, refusal.status, reader.reading
    return heard.requests, None, reader.reading


@settings(max_examples=400)
@given(st.lists(st.tuples(LINES, RESTS, TIMES), min_size=1, max_size=4))
def test_requests_that_are_known_by_their_bytes_are_those_that_the_parser_reads(
    sent: list[tuple[bytes, bytes, int]],
) -> None:
    chunks = [line + rest for line, rest, times in sent for _ in range(times)]
    assert heard_of(chunks) == heard_of(in_two(chunks))


@settings(max_examples=400)
@given(st.lists(st.tuples(LINES, TIMES), min_size=2, max_size=6), RESTS)
def test_the_same_heads_with_other_targets_are_those_that_the_parser_reads(
    lines: list[tuple[bytes, int]], rest: bytes
) -> None:
    chunks = [line + rest for line, times in lines for _ in range(times)]
    assert heard_of(chunks) == heard_of(in_two(chunks))


BODIES = st.sampled_from(
    [
        *(b"body", b"BODY", b"bo", b"", b"body\r\n", b"\r\n\r\n", b"bodies"),
        b"bodyGET / HTTP/1.1\r\nhost: x\r\n\r\n",
    ]
)


@settings(max_examples=400)
@given(st.lists(BODIES, max_size=4))
def test_the_same_heads_with_other_bodies_are_those_that_the_parser_reads(
    bodies: list[bytes],
) -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n"
    chunks = [head + body for body in (b"body", b"body", *bodies)]
    assert heard_of(chunks) == heard_of(in_two(chunks))


def in_two(chunks: list[bytes]) -> list[bytes]:
    """No request of these is a chunk of its own, so each is parsed."""
    return [piece for chunk in chunks for piece in (chunk[:1], chunk[1:])]


class Counting(RequestReader):
    """Counts the heads that were parsed."""

    parsed = 0

    def on_headers_complete(self) -> None:
        self.parsed += 1
        super().on_headers_complete()


def test_a_known_request_is_not_parsed_and_has_headers_of_its_own() -> None:
    heard = Heard()
    reader = Counting(heard, header_bytes_max=2_000, takes_websockets=True)
    for name in (b"a", b"b", b"c", b"d"):
        reader.feed(b"GET /" + name + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert reader.parsed == 2  # What comes once is not worth remembering.
    lists = [each[2] for each in heard.requests]
    assert lists == [[(b"host", b"x")]] * 4
    assert len({id(each) for each in lists}) == 4
    assert [each[1] for each in heard.requests] == [b"/a", b"/b", b"/c", b"/d"]


def test_a_refusal_of_a_known_request_ends_the_reading() -> None:
    reader, heard = reading()
    for _ in range(3):
        reader.feed(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    heard.refusal = RefusedError(429, "TOO_MANY_PIPELINED", "of the sink's making")
    with pytest.raises(RefusedError):
        reader.feed(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert reader.reading is Reading.OVER
    heard.refusal = None
    reader.feed(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert len(heard.requests) == 3


HEAD_START = b"GET / HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD_START + b"x: " + b"y" * 2_000 + b"\r\n\r\n",
        HEAD_START + b"x: " + b"y" * 2_000,
        HEAD_START + b"y" * 2_000,
        b"GET /" + b"y" * 2_000,
        HEAD_START + b"a:\r\n" * (limits.HEADER_COUNT_MAX + 1),
        HEAD_START + b"a:\r\n" * limits.HEADER_COUNT_MAX + b"\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_large_heads_are_refused_in_any_pieces(data: bytes, size: int) -> None:
    reader, heard = reading()
    with pytest.raises(RefusedError) as caught:
        feed_in_pieces(reader, data, size)
    assert caught.value.status == 431
    assert heard.requests == []
    assert reader.reading is Reading.OVER


def test_the_bound_of_a_head_counts_no_neighbours() -> None:
    """What came in one chunk with it belongs to other requests."""
    reader, heard = reading()
    large = HEAD_START + b"x: " + b"y" * 1_800 + b"\r\n\r\n"
    body = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n" + b"b" * 5_000
    reader.feed(body + large + body + large[:1_000])
    reader.feed(large[1_000:])
    assert len(heard.requests) == 4


@pytest.mark.parametrize("tail", [b"0\r\nx: ", b"1;"])
def test_framing_without_end_is_refused(tail: bytes) -> None:
    reader, _ = reading()
    reader.feed(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + tail)
    with pytest.raises(RefusedError) as caught:
        feed_in_pieces(reader, b"y" * 10_000, 100)
    assert caught.value.status == 400


def test_a_long_body_is_not_framing() -> None:
    reader, heard = reading()
    reader.feed(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
    for _ in range(1_000):
        reader.feed(b"b" * 100)
    assert heard.requests[0][-1] == "end"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n"
            b"transfer-encoding: chunked\r\n\r\n",
            400,
        ),
    ],
)
def test_bad_bytes_are_refused_and_the_rest_ignored(data: bytes, status: int) -> None:
    reader, heard = reading()
    with pytest.raises(RefusedError) as caught:
        reader.feed(data)
    assert caught.value.status == status
    before = list(heard.requests)
    reader.feed(HEAD_START + b"\r\n")
    assert heard.requests == before


@pytest.mark.parametrize("is_behind_an_upgrade", [False, True])
def test_the_sink_may_refuse_a_head(is_behind_an_upgrade: bool) -> None:
    reader, heard = reading()
    heard.refusal = RefusedError(417, "CODE", "message")
    upgrade = b"connection: upgrade\r\nupgrade: h2c\r\n" if is_behind_an_upgrade else b""
    with pytest.raises(RefusedError) as caught:
        reader.feed(HEAD_START + upgrade + b"\r\n")
    assert caught.value is heard.refusal


def test_a_fault_of_the_sink_is_no_fault_of_the_client() -> None:
    reader, heard = reading()
    heard.requests = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        reader.feed(HEAD_START + b"\r\n")


WEBSOCKET = b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\r\n"


@pytest.mark.parametrize("cut", range(1, len(WEBSOCKET) + 1))
def test_an_upgrade_to_a_websocket_ends_the_reading(cut: int) -> None:
    reader, heard = reading()
    data = WEBSOCKET + b"\x81\x80rest"
    reader.feed(data[:cut])
    if reader.upgrade is None:
        reader.feed(data[cut:])
    assert heard.requests == [["upgrade"]]
    assert reader.upgrade is not None
    head, rest = reader.upgrade
    assert head == WEBSOCKET
    assert rest == (b"" if cut == len(WEBSOCKET) else b"\x81\x80rest")
    assert reader.reading is Reading.OVER


def test_an_upgrade_may_be_refused() -> None:
    reader, heard = reading()
    heard.refusal = RefusedError(400, "CODE", "message")
    with pytest.raises(RefusedError):
        reader.feed(WEBSOCKET)
    assert reader.upgrade is None


@pytest.mark.parametrize("takes_websockets", [False, True])
@pytest.mark.parametrize("cut", [10, 60, 88, 100, 200])
def test_other_upgrades_are_ordinary_requests(takes_websockets: bool, cut: int) -> None:
    reader, heard = reading(takes_websockets=takes_websockets)
    offer = b"h2c" if takes_websockets else b"websocket"
    data = (
        b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: " + offer + b"\r\n"
        b"content-length: 2\r\n\r\nhi" + HEAD_START + b"\r\n"
    )
    reader.feed(data[:cut])
    reader.feed(data[cut:])
    assert [request[1] for request in heard.requests] == [b"/a", b"/"]
    assert heard.requests[0][4:] == [b"hi", "end"]


# --- for whom, and how far ------------------------------------------------------------------------


def refusal_of(
    lines: bytes, *, target: bytes = b"/", version: bytes = b"1.1", upgrade: bytes = b""
) -> tuple[int, str] | None:
    """Status and code with which a request is refused; None for one that is taken."""
    reader, heard = reading()
    offer = b"connection: upgrade\r\nupgrade: %b\r\n" % upgrade if upgrade else b""
    try:
        reader.feed(b"POST %b HTTP/%b\r\n%b%b\r\n" % (target, version, offer, lines))
    except RefusedError as refusal:
        assert reader.reading is Reading.OVER
        assert not heard.requests
        assert reader.upgrade is None
        return refusal.status, refusal.code
    assert heard.requests
    return None


BAD = (400, "BAD_REQUEST")


@pytest.mark.parametrize("upgrade", [b"", b"websocket", b"h2c"])
@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"host: x\r\nhost: x\r\n",
        b"host: x\r\nHOST: evil\r\n",
        b"host:\r\n",
        b"host: x, evil\r\n",
        b"host: x/evil\r\n",
        b"host: x evil\r\n",
        b"host: user@x\r\n",
        b"host: x%2eevil\r\n",
        b"host: http://x\r\n",
        b"host: x?y\r\n",
        b"host: x:\r\n",
        b"host: x:65536\r\n",
        b"host: x:80:80\r\n",
        b"host: [::1\r\n",
        b"host: [x]\r\n",
        b"host: .x\r\n",
        b"host: \xc3\xa4\r\n",
    ],
)
def test_a_request_names_one_host(lines: bytes, upgrade: bytes) -> None:
    assert refusal_of(lines, upgrade=upgrade) == BAD


@pytest.mark.parametrize(
    "host",
    [b"x", b"x:4321", b"a-b.c_d.example.", b"127.0.0.1:80", b"[::1]:8080", b"[::FFFF:1.2.3.4]"],
)
def test_hosts_that_are_hosts(host: bytes) -> None:
    assert refusal_of(b"host: %b\r\n" % host) is None


def test_a_host_is_looked_at_in_every_request_of_a_connection() -> None:
    reader, heard = reading()
    reader.feed(HEAD_START + b"\r\n")
    with pytest.raises(RefusedError):
        reader.feed(b"GET / HTTP/1.1\r\nhost: x/evil\r\n\r\n")
    reader, heard = reading()
    reader.feed(HEAD_START + b"\r\n")
    with pytest.raises(RefusedError):
        reader.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert len(heard.requests) == 1


def test_what_a_version_allows_is_not_remembered_for_the_other() -> None:
    chunked = b"host: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    for first, second in (
        (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        (b"POST / HTTP/1.1\r\n" + chunked, b"POST / HTTP/1.0\r\n" + chunked),
    ):
        reader, heard = reading()
        with pytest.raises(RefusedError):
            reader.feed(first + second)
        assert len(heard.requests) == 1


def test_http_1_0_may_name_no_host_but_not_two() -> None:
    assert refusal_of(b"", version=b"1.0") is None
    assert refusal_of(b"host: x\r\n", version=b"1.0") is None
    assert refusal_of(b"host: x\r\nhost: x\r\n", version=b"1.0") == BAD
    assert refusal_of(b"host: x y\r\n", version=b"1.0") == BAD


@pytest.mark.parametrize(
    ("target", "is_fine"),
    [
        (b"http://x/a", True),
        (b"http://X:80/a", True),
        (b"https://x:443", True),
        (b"http://x?q", True),
        (b"http://evil/a", False),
        (b"http://x:81/a", False),
        (b"http://x:443/a", False),
        (b"http://user@x/a", False),
        (b"http://x@evil/a", False),
        (b"http://x%2eevil/a", False),
        (b"http:///a", False),
        (b"ftp://x/a", False),
        (b"*", False),
    ],
)
@pytest.mark.parametrize("upgrade", [b"", b"websocket"])
def test_an_absolute_target_names_the_same_host(
    target: bytes, is_fine: bool, upgrade: bytes
) -> None:
    found = refusal_of(b"host: x\r\n", target=target, upgrade=upgrade)
    assert found == (None if is_fine else BAD)


def test_a_websocket_by_an_absolute_target_is_one_by_its_path() -> None:
    reader, _ = reading()
    reader.feed(WEBSOCKET.replace(b"/ws", b"http://x/ws"))
    assert reader.upgrade == (WEBSOCKET, b"")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (b"transfer-encoding: chunked\r\n", None),
        (b"transfer-encoding: \tCHUNKED \r\n", None),
        (b"transfer-encoding: gzip, chunked\r\n", (501, "TRANSFER_ENCODING_UNKNOWN")),
        (
            b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            (501, "TRANSFER_ENCODING_UNKNOWN"),
        ),
        (b"transfer-encoding: identity, chunked\r\n", (501, "TRANSFER_ENCODING_UNKNOWN")),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", BAD),
        (b"transfer-encoding: chunked, chunked\r\n", BAD),
        (b"transfer-encoding: , chunked\r\n", BAD),
        (b"transfer-encoding: chunked, identity\r\n", BAD),
        (b"transfer-encoding: gzip\r\n", BAD),
        (b"transfer-encoding: xchunked\r\n", BAD),
        (b"transfer-encoding: \x0bchunked\r\n", BAD),
        (b"transfer-encoding: \x0cchunked\r\n", BAD),
        (b"transfer-encoding: chunked\x0b\r\n", BAD),
        (b'transfer-encoding: "chunked"\r\n', BAD),
        (b"transfer-encoding: chunked;q=1\r\n", BAD),
        (b"content-length: 3\r\ntransfer-encoding: chunked\r\n", BAD),
        (b"content-length: 3\r\ncontent-length: 3\r\n", BAD),
        (b"content-length: 3, 3\r\n", BAD),
        (b"content-length: +3\r\n", BAD),
        (b"x: y\r\n folded: z\r\n", BAD),
        (b"x: y\r\n\tz\r\n", BAD),
        (b"x : y\r\n", BAD),
        (b"x: y\n", BAD),
    ],
)
def test_where_a_request_ends_is_said_once(lines: bytes, found: tuple[int, str] | None) -> None:
    assert refusal_of(b"host: x\r\n" + lines) == found


def test_http_1_0_has_no_chunks() -> None:
    lines = b"host: x\r\ntransfer-encoding: chunked\r\n"
    assert refusal_of(lines, version=b"1.0") == BAD
