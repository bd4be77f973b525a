"""The chat example: who is in a channel decides what is seen, at once and in every door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.examples.served import EXAMPLES
from tests.server import Server, serving


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(EXAMPLES / "chat", tmp_path_factory.mktemp("chat") / "chat.db") as server:
        yield server


def insert(client: httpx.Client, entity: str, **data: Any) -> str:
    answer = client.post(f"/api/entities/{entity}", json=data)
    assert answer.status_code == 201, answer.text
    row_id: str = answer.json()["id"]
    return row_id


def texts(client: httpx.Client) -> list[str]:
    return [row["body"] for row in client.get("/api/entities/Message").json()["data"]]


def replica(client: httpx.Client) -> set[str]:
    """The bodies of all messages that a fresh pull brings."""
    page = client.get("/api/sync/pull?since=0").json()
    assert not page["has_more"]
    bodies: dict[str, str] = {}
    for change in page["changes"]:
        if change["entity"] == "Message" and change["kind"] != "delete":
            bodies[change["row_id"]] = change["data"]["body"]
        elif change["entity"] == "Message":
            bodies.pop(change["row_id"], None)
    return set(bodies.values())


def test_a_private_channel_is_for_its_members(chat: Server) -> None:
    with (
        chat.client(chat.token_of("ann")) as ann,
        chat.client(chat.token_of("bob")) as bob,
        chat.client(chat.token_of("eve")) as eve,
    ):
        secret = insert(ann, "Channel", name="secret", private=True)
        insert(ann, "Membership", channelId=secret)
        insert(ann, "Message", channelId=secret, body="only us")
        assert texts(ann) == ["only us"]
        assert texts(bob) == []
        assert bob.get(f"/api/entities/Channel/{secret}").status_code == 404

        # Nobody lets himself in; the owner lets bob in, who then sees what was said before.
        joining = {"channelId": secret}
        assert eve.post("/api/entities/Membership", json=joining).status_code == 403
        assert bob.post("/api/entities/Membership", json=joining).status_code == 403
        membership = insert(ann, "Membership", channelId=secret, userId="bob")
        assert texts(bob) == ["only us"]
        assert replica(bob) == {"only us"}
        insert(bob, "Message", channelId=secret, body="hello")
        said = {"channelId": secret, "body": "let me in"}
        assert eve.post("/api/entities/Message", json=said).status_code == 403
        assert replica(eve) == set()

        # Who leaves can no longer see it, and an old cursor starts anew.
        cursor = bob.get("/api/sync/pull?since=0").json()["cursor"]["last_seq"]
        assert bob.delete(f"/api/entities/Membership/{membership}").status_code == 200
        assert texts(bob) == []
        assert bob.get(f"/api/sync/pull?since={cursor}").status_code == 410
        assert replica(bob) == set()
        assert replica(ann) == {"only us", "hello"}


def test_anybody_signed_in_joins_a_public_channel(chat: Server) -> None:
    with (
        chat.client(chat.token_of("ann")) as ann,
        chat.client(chat.token_of("bob")) as bob,
    ):
        town = insert(ann, "Channel", name="town")
        insert(bob, "Membership", channelId=town)
        insert(bob, "Message", channelId=town, body="hi all")
        for_another = {"channelId": town, "userId": "eve"}
        assert bob.post("/api/entities/Membership", json=for_another).status_code == 403
        assert httpx.get(f"{chat.url}/api/entities/Channel").status_code == 403
