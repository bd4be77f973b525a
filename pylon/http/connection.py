"""One HTTP/1 connection of a client: its transport, its timer, and the apps of its requests.

The shell around `connection_state.ConnectionState`, which decides. It takes the place of uvicorn's
httptools protocol (same constructor, so `http=HttpConnection` works under a plain uvicorn too). It
runs each request as an `exchange.Exchange`, and hands WebSocket upgrades to
`config.ws_protocol_class`. Made by the listening socket, once per client.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from pylon.http.connection_state import ConnectionState
from pylon.http.crowd import Waiting
from pylon.http.ending import Ending
from pylon.http.exchange import Exchange
from pylon.http.listener import (
    ASGIApp,
    Connections,
    Settings,
    begins_at_once,
    bounds_of,
    crowd_of,
    peer_of,
)
from pylon.http.scopes import facts_of
from pylon.http.shell import Alarm, Drain, Reading, end
from pylon.http.turn import Turn
from pylon.tasks import Tasks


class HttpConnection(asyncio.Protocol):
    """The protocol of one connection. Spec 01 section 2."""

    __slots__ = (
        "_address",
        "_alarm",
        "_app",
        "_app_state",
        "_begins_at_once",
        "_config",
        "_connections",
        "_crowd",
        "_ended",
        "_reading",
        "_running",
        "_server_state",
        "_state",
        "drain",
        "now",
        "tasks",
        "transport",
    )

    def __init__(
        self,
        config: Settings,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        loop = _loop or asyncio.get_running_loop()
        self._config = config
        self._app: ASGIApp = config.loaded_app
        self._begins_at_once = begins_at_once(self._app)
        self._app_state = app_state
        self._server_state = server_state
        self._connections: set[Any] = server_state.connections
        self._crowd = crowd_of(config)
        self._address = ""
        self.tasks = Tasks(server_state.tasks)
        self.now = loop.time
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.drain = Drain()
        self._state: ConnectionState | None = None
        self._alarm = Alarm(loop, self._on_time)
        self._running: Exchange | None = None
        self._ended = Ending.NONE
        self._reading = Reading()

    # --- the transport calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do the same but derive from nothing.
        self.transport = cast("asyncio.Transport", transport)
        if self._crowd is not None:
            peer, total = peer_of(transport), len(self._connections)
            self._address = "" if peer is None else peer[0]
            if not self._crowd.admit(self, self._address, total, self.now()):
                self.transport.abort()
                return
        self._connections.add(self)
        self._state = ConnectionState(
            facts_of(transport, self._config, self._app_state),
            bounds_of(self._config),
            takes_websockets=self._config.ws_protocol_class is not None,
            now=self.now(),
        )
        self._alarm.by(self._state.due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._alarm.stop()
        if self._state is not None:
            self._state.lose()
        if self._running is not None:
            self._running.wake()
            self._running = None
        self.drain.resume()

    def eof_received(self) -> None:
        """A half-closed client is answered no more: the transport closes itself."""

    def pause_writing(self) -> None:
        self.drain.pause()
        self._watch_writing()

    def resume_writing(self) -> None:
        self.drain.resume()
        if self._state is not None:
            self._state.resume_writing()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is not None:
            state.receive(data, self.now())
            self._apply(state, at_once=self._begins_at_once)

    def _on_time(self, now: float) -> None:
        state = self._state
        if state is not None:
            state.pass_time(now, self.transport.get_write_buffer_size())
            self._apply(state)
            self._alarm.by(state.due)

    # --- the exchange calls ---------------------------------------------------------------------

    def want_body(self) -> None:
        """The app waits for more of the body."""
        state = self._state
        if state is not None:
            state.want_body()
            if state.has_wishes:
                self._fulfil(state)

    def exchange_complete(self, turn: Turn, now: float) -> None:
        """The last byte of a response is written."""
        self._server_state.total_requests += 1
        self._running = None
        state = self._state
        if state is not None:
            state.finish(turn, now)
            if state.begun is not None or state.has_wishes:
                self._apply(state)
            elif state.deadline < self._alarm.at:
                self._alarm.by(state.due)

    # --- uvicorn and pylon.server call ----------------------------------------------------------

    def shutdown(self) -> None:
        """The server stops: idle connections close now, busy ones after their answer."""
        state = self._state
        if state is not None:
            state.shut_down()
            self._apply(state)

    # --- the crowd asks -------------------------------------------------------------------------

    @property
    def waiting(self) -> Waiting:
        """What this connection is doing."""
        return Waiting.REQUEST if self._state is None else self._state.waiting

    def cut(self) -> None:
        """End it at once, since there are too many."""
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        """Count no more as a connection of ours; it may be done again."""
        self._connections.discard(self)
        if self._crowd is not None:
            self._crowd.leave(self, self._address)

    # --- what the state wishes ------------------------------------------------------------------

    def _apply(self, state: ConnectionState, *, at_once: bool = False) -> None:
        """Make it so: run the app of a turn, tell the running one news, come back in time.

        `at_once` is for the first request of what has come: those behind it begin in turns of the
        loop, so that no client holds it with many.
        """
        if self._running is not None:
            self._running.wake()
        turn = state.begun
        if turn is not None:
            state.begun = None
            self._running = exchange = Exchange(self, turn)
            work = exchange.run(self._app, turn.take_scope())
            begin = self.tasks.begin_brief if at_once else self.tasks.start_brief
            exchange.task = begin("http", work)
        if state.has_wishes:
            self._fulfil(state)
        if state.deadline < self._alarm.at:
            self._alarm.by(state.due)

    def _fulfil(self, state: ConnectionState) -> None:
        """The rarer wishes: bytes that are no app's, reading or not, the end."""
        state.has_wishes = False
        transport = self.transport
        if state.upgrade is not None:
            self._hand_over(*state.upgrade)
            return
        if output := state.take_output():
            transport.write(output)
        self._reading.follow(transport, state.is_reading)
        if state.ending is not self._ended:
            self._ended = state.ending
            end(transport, state.ending)
            if state.ending is Ending.CLOSE:
                self._watch_writing()

    def _watch_writing(self) -> None:
        """From now on the client must take some bytes in every interval."""
        state = self._state
        if state is not None:
            state.watch_writing(self.now(), self.transport.get_write_buffer_size())
            self._alarm.by(state.due)

    def _hand_over(self, head: bytes, rest: bytes) -> None:
        """Give the socket to the WebSocket protocol, with the head as it was sent."""
        protocol_class: Any = self._config.ws_protocol_class
        protocol = protocol_class(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        self._leave()
        self._alarm.stop()
        self._state = None
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(head)
        if rest:
            protocol.data_received(rest)
