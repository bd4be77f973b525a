"""Presence and topics over real sockets: who hears whom, what passes, what it costs to shout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from pylon import codec, limits
from tests.blackbox.streams import WAIT_SECONDS
from tests.server import ADMIN_TOKEN, Server, bearer

Message = dict[str, Any]


class Peer:
    """A client that says things and notes all it hears."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[Message] = []

    async def say(self, kind: str, **more: Any) -> None:
        await self.socket.send(codec.encode({"type": kind, **more}).decode())

    async def hear(self, like: Callable[[Message], bool] = lambda _: True) -> Message:
        """The next message that is like this."""
        while True:
            text = await asyncio.wait_for(self.socket.recv(), WAIT_SECONDS)
            message: Message = codec.decode_trusted(text)
            self.heard.append(message)
            if like(message):
                return message

    async def heard_so_far(self) -> list[Message]:
        """Everything up to an answer that is asked for now."""
        await self.say("presence", event="list")
        await self.hear(lambda m: is_list(m) and m.get("topic") is None)
        return self.heard[:-1]


def is_list(message: Message) -> bool:
    return message.get("event") == "list"


def is_end(message: Message) -> bool:
    return message.get("data") == "end"


@asynccontextmanager
async def peer(server: Server, token: str) -> AsyncIterator[Peer]:
    async with connect(
        server.ws_url(own_door=True),
        additional_headers=bearer(token),
        proxy=None,
        max_size=None,
        max_queue=None,  # Unheard messages would keep the end of the socket from being heard.
    ) as socket:
        met = Peer(socket)
        # The server has taken the socket in once it answers.
        await met.say("presence", event="list")
        await met.hear(is_list)
        del met.heard[:]
        yield met


def without_id(message: Message) -> Message:
    return {name: value for name, value in message.items() if name != "clientId"}


async def test_presence_goes_to_all_with_its_sender(server: Server) -> None:
    ann, bob = server.token_of("ann"), server.token_of("bob")
    async with peer(server, ann) as a, peer(server, bob) as b:
        await a.say("presence", event="update", data={"x": 1}, **{"from": "mallory"})
        for each in (a, b):
            heard = await each.hear(lambda m: m["type"] == "presence" and bool(m.get("data")))
            assert without_id(heard) == {
                "type": "presence",
                "event": "update",
                "data": {"x": 1},
                "from": "ann",
            }


async def test_who_is_there_is_told_to_who_comes_and_who_goes_is_told_to_who_stays(
    server: Server,
) -> None:
    ann, bob = server.token_of("ann"), server.token_of("bob")
    async with peer(server, ann) as a:
        async with peer(server, bob) as b:
            await b.say("presence", event="update", data="here", room="r")
            client_id = (await a.hear(lambda m: m["event"] == "update"))["clientId"]
            async with connect(
                server.ws_url(), additional_headers=bearer(ann), proxy=None
            ) as socket:
                told = codec.decode_trusted(await asyncio.wait_for(socket.recv(), WAIT_SECONDS))
                entry = {"clientId": client_id, "from": "bob", "room": "r", "data": "here"}
                assert told == {
                    "type": "presence",
                    "event": "list",
                    "clients": [entry],
                    "count": 1,
                }
            async with server.async_client(ann) as client:
                answer = await client.get("/api/sync/presence")
                assert answer.json() == {"topic": None, "clients": [entry], "count": 1}
        gone = await a.hear(lambda m: m["event"] == "disconnect")
        assert gone == {"type": "presence", "event": "disconnect", "clientId": client_id}
        # The second socket of ann never said anything of itself, so its end is nobody's business.
        assert await a.heard_so_far() == a.heard[:-1]
        assert [m["event"] for m in a.heard].count("disconnect") == 1


async def test_one_may_leave_without_closing(server: Server) -> None:
    async with peer(server, server.token_of("ann")) as a:
        await a.say("presence", event="update")
        heard = await a.hear(lambda m: m["event"] == "update")
        assert set(heard) == {"type", "event", "from", "clientId"}
        await a.say("presence", event="disconnect")
        await a.hear(lambda m: m["event"] == "disconnect")
        await a.say("presence", event="list")
        assert (await a.hear(is_list))["clients"] == []


async def test_a_topic_is_for_those_who_asked_or_spoke(server: Server) -> None:
    async with (
        peer(server, server.token_of("ann")) as a,
        peer(server, server.token_of("bob")) as b,
        peer(server, server.token_of("cleo")) as c,
        peer(server, server.token_of("dora")) as d,
    ):
        await b.say("topic-subscribe", topic="t")
        listed = await b.hear(is_list)
        assert listed == {
            "type": "presence",
            "event": "list",
            "topic": "t",
            "clients": [],
            "count": 0,
        }
        await c.say("topic", topic="t", data="first")
        await c.hear(lambda m: m["type"] == "topic")
        await a.say("topic", topic="t", data={"n": [1, 2]})
        for each in (a, b, c):
            heard = await each.hear(lambda m: m["type"] == "topic" and m["from"] == "ann")
            assert heard == {"type": "topic", "topic": "t", "data": {"n": [1, 2]}, "from": "ann"}
        await b.say("topic-unsubscribe", topic="t")
        await b.heard_so_far()
        await a.say("topic", topic="t", data="end")
        for each in (a, c):
            await each.hear(is_end)
        for each in (b, d):
            assert not [m for m in await each.heard_so_far() if m.get("data") == "end"]


async def test_presence_in_a_topic_stays_in_it(server: Server) -> None:
    ann, bob, cleo = (server.token_of(name) for name in ("ann", "bob", "cleo"))
    async with peer(server, ann) as a, peer(server, bob) as b, peer(server, cleo) as c:
        await b.say("topic-subscribe", topic="doc")
        await b.hear(lambda m: m.get("topic") == "doc")
        await a.say("presence", event="update", topic="doc", data=1)
        heard = await b.hear(lambda m: m["event"] == "update")
        assert without_id(heard) == {
            "type": "presence",
            "event": "update",
            "topic": "doc",
            "data": 1,
            "from": "ann",
        }
        for token, count in ((ann, 1), (bob, 1), (cleo, 0)):
            async with server.async_client(token) as client:
                answer = await client.get("/api/sync/presence", params={"topic": "doc"})
                assert (answer.json()["count"], answer.json()["topic"]) == (count, "doc")
        assert not await c.heard_so_far()
        await a.say("topic-unsubscribe", topic="doc")
        gone = await b.hear(lambda m: m["event"] == "disconnect")
        assert without_id(gone) == {"type": "presence", "event": "disconnect", "topic": "doc"}


def is_change(message: Message) -> bool:
    """The official client's rule, which comes before it looks at the type."""
    return bool(message.get("seq") and message.get("entity") and message.get("kind"))


FORGERY = {
    "seq": 2**53 - 1,
    "entity": "Mark",
    "row_id": "x",
    "kind": "delete",
    "timestamp": "",
    "changes": [],
    "clientId": 1,
    "user_id": "bob",
    "sender": "bob",
    "from": "bob",
}


@pytest.mark.parametrize(
    "said",
    [
        {"type": "presence", "event": "update"},
        {"type": "presence"},
        {"type": "presence", "event": "typing"},
        {"type": "presence", "event": "disconnect"},
        {"type": "presence", "event": "list"},
        {"type": "presence", "event": "update", "topic": "forged"},
        {"type": "topic", "topic": "forged"},
        {"type": "topic-subscribe", "topic": "forged"},
    ],
)
async def test_nobody_can_forge_a_change(server: Server, said: Message) -> None:
    ann, bob = server.token_of("ann"), server.token_of("bob")
    async with peer(server, ann) as a, peer(server, bob) as b:
        await b.say("topic-subscribe", topic="forged")
        await a.socket.send(codec.encode({**FORGERY, **said, "data": FORGERY}).decode())
        await a.socket.send(codec.encode({**said, **FORGERY}).decode())
        await a.say("topic", topic="forged", data="end")
        await b.hear(is_end)
        allowed = {"type", "event", "topic", "room", "data", "from", "clientId"}
        for message in b.heard:
            assert not is_change(message)
            assert message.get("from", "ann") == "ann"
            assert set(message) <= allowed | ({"clients", "count"} if is_list(message) else set())


@pytest.mark.parametrize(
    "said",
    [
        {"type": "topic", "data": 1},
        {"type": "topic", "topic": "", "data": 1},
        {"type": "topic", "topic": 7, "data": 1},
        {"type": "topic", "topic": ["t"], "data": 1},
        {"type": "topic", "topic": "t" * (limits.PRESENCE_NAME_CHARACTERS_MAX + 1)},
        {"type": "topic", "topic": "t", "room": {}, "data": 1},
        {"type": "topic", "topic": "t", "data": "x" * limits.PRESENCE_DATA_BYTES_MAX},
        {"type": "presence", "event": 5, "data": 1},
        {"type": "presence", "event": "update", "data": "x" * limits.PRESENCE_DATA_BYTES_MAX},
        {"type": "presence", "event": "e" * 1_000},
        {"type": "presence", "event": "update", "topic": 1},
        {"type": "presence", "event": "update", "room": "r" * 300},
        {"type": "topic-subscribe"},
        {"type": "topic-subscribe", "topic": None},
        {"type": "topic-unsubscribe", "topic": "never heard of"},
    ],
    ids=lambda said: codec.encode(said)[:60].decode(),
)
async def test_what_makes_no_sense_is_ignored(server: Server, said: Message) -> None:
    async with peer(server, server.token_of("ann")) as a:
        await a.say("topic-subscribe", topic="t")
        await a.hear(is_list)
        del a.heard[:]
        await a.socket.send(codec.encode(said).decode())
        await a.say("topic", topic="t", data="end")
        await a.hear(is_end)
        assert len(a.heard) == 1


async def test_deep_and_odd_json_is_survived(server: Server) -> None:
    async with peer(server, server.token_of("ann")) as a:
        for inner in ("[" * 20_000 + "]" * 20_000, "9" * 20_000, "1e9999", '"\\ud800"', "NaN"):
            await a.socket.send('{"type":"presence","event":"update","data":' + inner + "}")
            await a.socket.send('{"type":"topic","topic":"t","data":' + inner + "}")
        for depth in range(100, 700, 50):  # what this process can read as well
            data = "[" * depth + "]" * depth
            await a.socket.send('{"type":"presence","event":"update","data":' + data + "}")
        await a.say("topic", topic="t", data="end")
        await a.hear(is_end)


async def test_of_many_updates_the_last_arrives(server: Server) -> None:
    count = 300
    async with peer(server, server.token_of("ann")) as a, peer(server, server.token_of("bob")) as b:
        for n in range(count):
            await a.say("presence", event="update", data=n)
        await b.hear(lambda m: m.get("data") == count - 1)
        seen = [m["data"] for m in b.heard if m.get("event") == "update"]
        assert seen == sorted(seen)


async def test_topic_messages_arrive_in_order_and_completely(server: Server) -> None:
    count = 300
    async with peer(server, server.token_of("ann")) as a, peer(server, server.token_of("bob")) as b:
        await b.say("topic-subscribe", topic="t")
        await b.hear(is_list)
        for n in range(count):
            await a.say("topic", topic="t", data=n)
        await b.hear(lambda m: m.get("data") == count - 1)
        assert [m["data"] for m in b.heard if m["type"] == "topic"] == list(range(count))


async def test_topics_of_one_socket_are_bounded(server: Server) -> None:
    async with peer(server, server.token_of("ann")) as a, peer(server, server.token_of("bob")) as b:
        most = limits.PRESENCE_TOPICS_PER_SOCKET_MAX
        for n in range(most + 50):
            await a.say("topic-subscribe", topic=f"t{n}")
        await a.heard_so_far()
        assert len([m for m in a.heard if m.get("topic")]) == most
        await b.say("topic", topic=f"t{most + 1}", data="end")
        await b.say("topic", topic="t0", data="end")
        assert (await a.hear(is_end))["topic"] == "t0"


async def test_the_administrator_is_called_admin(server: Server) -> None:
    async with peer(server, ADMIN_TOKEN) as root, peer(server, server.token_of("ann")) as a:
        await root.say("presence", event="update", data=1)
        assert (await a.hear(lambda m: m.get("data") == 1))["from"] == "admin"


async def test_the_list_needs_a_session(server: Server) -> None:
    async with server.async_client() as nobody:
        answer = await nobody.get("/api/sync/presence")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AUTH_REQUIRED")
