"""One HTTP request: the ASGI scope read once, everything else parsed when asked for.

Built for every request, so the constructor does as little as possible. Not here: routing, who is
asking (`identity` is set by a stage), what the body means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from pylon import codec, limits
from pylon.errors import PylonError
from pylon.http.asgi import Header, Receive, Scope
from pylon.http.errors import ClientDisconnected, HttpError
from pylon.http.forwarding import began_on_this_machine
from pylon.identity import ANONYMOUS, Identity

if TYPE_CHECKING:
    from pylon.http.body_room import BodyRoom, Place

INT64_MAX = 2**63 - 1
"""The largest number that a database takes."""

_FLAGS = {"0": False, "false": False, "1": True, "true": True}

_DIGITS_MAX = 20
"""A number of more digits is beyond any maximum, or written with zeros in front by nobody."""


class Request:
    """A request on its way through the pipeline.

    `path` is the path as sent, still percent-encoded and without the mount point; the router
    decodes each segment. `headers` has lower-case names; of a repeated header the last value
    counts. `client` is the caller's address behind the trusted proxies, `peer` that of the
    socket. `started` is monotonic seconds. `request_id` is the id as bytes, `id` as text.
    `body_bytes_max` is what this caller may send here, and `room` where larger bodies are kept;
    the stage `body_limit` sets both. `place` is the room that its body has there. `answer_headers`
    are what stages have to say with its answer, whatever that is.
    """

    __slots__ = (
        "_body",
        "_query",
        "_state",
        "answer_headers",
        "body_bytes_max",
        "client",
        "headers",
        "identity",
        "method",
        "path",
        "peer",
        "place",
        "query_string",
        "receive",
        "request_id",
        "room",
        "scope",
        "started",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        *,
        request_id: bytes = b"",
        started: float = 0.0,
        trusted_proxy_hops: int = 0,
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.method: str = scope.get("method", "GET")  # a WebSocket handshake names none
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.query_string: bytes = scope.get("query_string", b"")
        path: str = scope["path"]
        root = scope.get("root_path", "")
        raw = scope.get("raw_path")
        if root or (raw is not None and b"%" in raw):
            path = _path_below_root(path, raw, root)
        self.path = path
        address = scope.get("client")
        self.peer: str = address[0] if address else ""
        self.client = self.peer
        if trusted_proxy_hops:
            self.client = _forwarded_client(scope, self.peer, trusted_proxy_hops)
        self.request_id = request_id
        self.started = started
        self.identity: Identity = ANONYMOUS
        self.body_bytes_max = limits.BODY_BYTES_MAX
        self.room: BodyRoom | None = None
        self._body: bytes | None = None
        self.place: Place | None = None
        self._query: dict[str, list[str]] | None = None
        self._state: dict[str, object] | None = None
        self.answer_headers: list[Header] | None = None

    @property
    def id(self) -> str:
        """The request's id as it stands in `X-Request-Id`, in the log and in `INTERNAL` errors."""
        return self.request_id.decode("ascii")

    @property
    def state(self) -> dict[str, object]:
        """What stages and handlers leave for one another; made on first use."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def is_local(self) -> bool:
        """Whether the socket's peer is this machine and no proxy spoke for someone else."""
        return began_on_this_machine(self.peer, self.scope["headers"])

    def header(self, name: bytes) -> str | None:
        """A header's value as text (Latin-1, which never fails); `name` in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer <token>`, verbatim (spec 04 section 3)."""
        value = self.headers.get(b"authorization")
        if value is None or not value.startswith(b"Bearer "):
            return None
        return value[7:].decode("latin-1")

    def cookie(self, name: str) -> str | None:
        """The first cookie of that name, verbatim: no unquoting (spec 04 section 3)."""
        if b"cookie" not in self.headers:
            return None
        pairs: list[Header] = self.scope["headers"]
        for header, value in pairs:
            if header == b"cookie":
                for pair in value.decode("latin-1").split(";"):
                    key, separator, text = pair.strip().partition("=")
                    if separator and key == name:
                        return text
        return None

    def query(self, name: str) -> str | None:
        """The first query value of that name, decoded; None when it is absent."""
        if not self.query_string:
            return None
        values = self.query_values().get(name)
        return None if values is None else values[0]

    def query_int(
        self,
        name: str,
        *,
        default: int | None,
        minimum: int = 0,
        maximum: int = INT64_MAX,
    ) -> int | None:
        """An unsigned integer of the query, brought into `minimum..maximum`.

        One that is absent or empty gives `default`; anything else is 400 `INVALID_QUERY`, where the
        reference takes it for absent: a client that asks for something else must not get an answer.
        """
        text = self.query(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit():
            raise PylonError(
                400,
                "INVALID_QUERY",
                f'{name} takes a whole number that is not negative, not "{text[:100]}".',
            )
        if len(text) > _DIGITS_MAX:
            return maximum
        return min(max(int(text), minimum), maximum)

    def query_flag(self, name: str) -> bool:
        """Whether the query says `1` or `true`; absent or empty, `0` and `false` are no, anything
        else is 400 `INVALID_QUERY`."""
        text = self.query(name) or "0"
        if text not in _FLAGS:
            raise PylonError(400, "INVALID_QUERY", f'{name} is true or false, not "{text[:100]}".')
        return _FLAGS[text]

    def query_values(self) -> dict[str, list[str]]:
        """Every name of the query string with its values, decoded; parsed when first asked for."""
        if self._query is None:
            sent = self.query_string
            if sent.count(b"&") >= limits.QUERY_FIELDS_MAX:
                raise PylonError(
                    400,
                    "INVALID_QUERY",
                    f"The query string has more than {limits.QUERY_FIELDS_MAX} fields",
                )
            text = sent.decode("utf-8", "replace")
            if b"%" in sent or b"+" in sent:
                self._query = parse_qs(text, keep_blank_values=True)
            else:
                self._query = _plain_fields(text)
        return self._query

    def allow_large_body(self) -> None:
        """The route takes what administrators may send of callers with a session, too."""
        if self.identity.user_id is not None:
            self.body_bytes_max = max(self.body_bytes_max, limits.BODY_BYTES_MAX)

    async def body(self, *, bytes_max: int | None = None) -> bytes:
        """The whole body, read once and kept until `forget_body`.

        413 `PAYLOAD_TOO_LARGE` beyond `body_bytes_max` or `bytes_max`, 408 `REQUEST_TIMEOUT` when
        it does not arrive in `limits.BODY_READ_SECONDS_MAX`, `ClientDisconnected` when the client
        goes first; 429 and 503 as `BodyRoom.take` where there is no room for it.
        """
        if self._body is None:
            most = self.body_bytes_max
            bytes_max = most if bytes_max is None else min(bytes_max, most)
            declared = self.refuse_declared_length(bytes_max)
            if declared > limits.BODY_BYTES_FREE and self.room is not None:
                self.place = await self.room.take(self.client, declared)
            elif (whole := self._whole()) is not None:
                if len(whole) > bytes_max:  # in chunks: nothing was declared
                    raise self._too_large(bytes_max)
                self._body = whole
                return whole
            try:
                async with asyncio.timeout(limits.BODY_READ_SECONDS_MAX) as timeout:
                    self._body = await self._read(bytes_max, timeout)
            except TimeoutError as error:
                raise _too_slow() from error
        return self._body

    def _whole(self) -> bytes | None:
        """The body, if it is short and has come already: most have, and neither a coroutine nor a
        timer is made for them."""
        take = getattr(getattr(self.receive, "__self__", None), "take_whole", None)
        return None if take is None else take()

    def forget_body(self) -> None:
        """The request is answered: give the room back that its body had in memory."""
        if self.place is not None:
            self._body = None
            self.place.give_back()
            self.place = None

    async def stream(self, *, bytes_max: int) -> AsyncIterator[bytes]:
        """The body piece by piece as it arrives, for bodies too large to be kept; once.

        The next piece is taken from the socket when it is asked for. 413 `PAYLOAD_TOO_LARGE` beyond
        `bytes_max`, 408 `REQUEST_TIMEOUT` when no piece arrives for
        `limits.BODY_READ_SECONDS_MAX`, `ClientDisconnected` when the client goes first.
        """
        if self._body is not None:
            yield self._body
            return
        self.refuse_declared_length(bytes_max)
        size, more_body = 0, True
        while more_body:
            try:
                async with asyncio.timeout(limits.BODY_READ_SECONDS_MAX):
                    message = await self.receive()
            except TimeoutError as error:
                raise _too_slow() from error
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk: bytes = message.get("body", b"")
            more_body = message.get("more_body", False)
            size += len(chunk)
            if size > bytes_max:
                raise self._too_large(bytes_max)
            if chunk:
                yield chunk

    async def json(self, outline: codec.Outline | None = None) -> Any:
        """The body as JSON in strict UTF-8; anything else, and no body, is 400 `INVALID_JSON`.

        413 `PAYLOAD_TOO_LARGE` for more values than `codec.decoding` takes. `outline` is for routes
        whose bodies may be long lists.
        """
        body = await self.body()
        if len(body) <= limits.JSON_STEP_BYTES:
            return codec.decode(body)
        steps = codec.decoding(body) if outline is None else outline.decoding(body)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value
            await asyncio.sleep(0)

    async def text(self) -> str:
        """The body as text; 400 `INVALID_UTF8` when it is not UTF-8."""
        try:
            return (await self.body()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise PylonError(400, "INVALID_UTF8", "The body is not text in UTF-8") from error

    def refuse_declared_length(self, bytes_max: int = limits.BODY_BYTES_MAX) -> int:
        """What `Content-Length` announces, 0 where there is none; 413 when it is more than
        `bytes_max`, before a byte is read."""
        declared = self.headers.get(b"content-length")
        if declared is None:
            return 0
        # A number of more digits is too large anyway, and Python reads no more than 4300.
        if not declared.isdigit() or len(declared) > 19 or int(declared) > bytes_max:
            raise self._too_large(bytes_max)
        return int(declared)

    async def _read(self, bytes_max: int, timeout: asyncio.Timeout) -> bytes:
        chunks: list[bytes] = []
        size = 0
        place = self.place
        if place is not None:
            place.begin(timeout)
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > bytes_max:
                raise self._too_large(bytes_max)
            if size > limits.BODY_BYTES_FREE and self.room is not None:
                if place is None:  # How much will come was not announced.
                    place = self.place = await self.room.take(self.client, bytes_max)
                    place.begin(timeout)
                place.received = size
            if not message.get("more_body", False):
                break
            chunks.append(chunk)
        if place is not None:
            place.end()
        if not chunks:
            return chunk
        chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self, bytes_max: int) -> HttpError:
        hint = "Send less in a request."
        if self.identity.user_id is None:
            hint = "Callers with a session may send more; POST /api/auth/guest gives one."
        elif bytes_max < limits.BODY_BYTES_MAX:
            hint = "This route takes no more of callers like you; send less in a request."
        return HttpError(
            413,
            "PAYLOAD_TOO_LARGE",
            f"Request body exceeds {bytes_max} bytes",
            hint,
            headers=_CLOSE,
        )


# The rest of a refused body is not worth reading: the connection ends with the answer.
_CLOSE = ((b"connection", b"close"),)


def _too_slow() -> HttpError:
    return HttpError(
        408, "REQUEST_TIMEOUT", "The request body did not arrive in time", headers=_CLOSE
    )


def _plain_fields(query: str) -> dict[str, list[str]]:
    """What `parse_qs` makes of a query string in which nothing is encoded, in a fraction of its
    time: most lists are asked for with one."""
    found: dict[str, list[str]] = {}
    for field in query.split("&"):
        if field:
            name, _, value = field.partition("=")
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
    return found


def _path_below_root(path: str, raw: bytes | None, root: str) -> str:
    """The path as sent, without the prefix at which a parent app has mounted us."""
    text = raw.partition(b"?")[0].decode("latin-1") if raw is not None else quote(path)
    root = root.rstrip("/")
    for prefix in (root, quote(root)):
        if text == prefix or text.startswith(prefix + "/"):
            return text[len(prefix) :] or "/"
    return text


def _forwarded_client(scope: Scope, peer: str, hops: int) -> str:
    """The address that the outermost trusted proxy saw: the Nth of X-Forwarded-For from the right.

    Addresses further left were written by the client and prove nothing.
    """
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    if not values:
        return peer
    chain = [part.strip() for part in b",".join(values).decode("latin-1").split(",")]
    candidate = chain[-hops] if hops <= len(chain) else chain[0]
    if candidate.startswith("["):
        candidate = candidate[1:].partition("]")[0]
    elif candidate.count(":") == 1:
        candidate = candidate.partition(":")[0]
    try:
        return str(ip_address(candidate))
    except ValueError:
        return peer
