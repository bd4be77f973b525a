"""Commits on their way to another process: what comes out is what went in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.changes.epochs import EpochRaised
from pylon.changes.facts import Fact, SessionEnded
from pylon.changes.feed import Feed, Gap, Message
from pylon.changes.feed_codec import carry_encoded, decode_commit, encode_commit
from pylon.changes.model import Change, Forgotten, Seq
from pylon.store.base import Tx
from pylon.store.sqlite.store import SqliteStore, open_store

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
whole = st.integers(-(2**63), 2**63 - 1)
values = st.none() | st.booleans() | whole | st.floats(allow_nan=False) | texts
rows = st.none() | st.dictionaries(texts, values, max_size=4)
seqs = st.integers(0, 2**63 - 1)

BY_ANNOTATION: dict[str, st.SearchStrategy[Any]] = {
    "bytes": st.binary(max_size=32),
    "tuple[bytes, ...]": st.lists(st.binary(max_size=32), max_size=3).map(tuple),
    "str": texts,
    "str | None": st.none() | texts,
    "int": seqs,
    "float": st.floats(allow_nan=False),
}


def fact(kind: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{name: BY_ANNOTATION[of] for name, of in kind.__annotations__.items()})


changes = st.builds(
    Change,
    seq=seqs.map(Seq),
    entity=texts,
    row_id=texts,
    kind=st.sampled_from(["insert", "update", "delete"]),
    before=rows,
    after=rows,
    patch=rows,
    at=st.floats(allow_nan=False),
    document_update=st.none() | st.binary(max_size=8),
)
messages: st.SearchStrategy[Message] = st.one_of(
    changes,
    st.builds(
        Forgotten,
        seq=seqs,
        reader=st.binary(max_size=32),
        entity=texts,
        temporary_id=texts,
        at=st.floats(allow_nan=False),
    ),
    st.builds(EpochRaised, seq=seqs, subject=texts),
    st.builds(Gap, since=seqs, until=seqs),
    *(fact(kind) for kind in get_args(Fact)),
)


@given(st.lists(messages, max_size=6), seqs)
def test_round_trip(sent: list[Message], seq: int) -> None:
    got, got_seq = decode_commit(encode_commit(sent, seq))
    assert (got, got_seq) == (sent, seq)
    assert [_types(each) for each in got] == [_types(each) for each in sent]


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    store = open_store(None)
    yield store
    await store.close()


async def test_a_feed_hears_what_was_carried_to_it(store: SqliteStore) -> None:
    """Equal to what the unit published, and nothing of the unit's own."""
    sent = Change(
        seq=Seq(1),
        entity="Note",
        row_id="r",
        kind="update",
        before={"text": "a", "n": 1},
        after={"text": "b", "n": 2},
        patch={"text": "b", "n": 2},
        at=1.5,
        document_update=b"\x00",
    )
    ended = SessionEnded(session_id=b"\xff", user_id="ann", tenant_id=None)
    heard: list[tuple[list[Message], int]] = []
    feed = Feed(store, carry=carry_encoded)
    feed.subscribe("test", lambda messages, seq: heard.append((list(messages), seq)))

    async def unit(tx: Tx) -> None:
        tx.publish(sent)
        tx.tell(ended)

    await store.write(unit)
    assert heard == [([sent, ended], 1)]
    got = heard[0][0][0]
    assert isinstance(got, Change)
    assert got.after is not sent.after
    assert feed.seq == 1


def _types(message: Message) -> list[type]:
    """Equal numbers may still be of different types, which would change the JSON of a row."""
    found: list[type] = [type(message)]
    if isinstance(message, Change):
        for row in (message.before, message.after, message.patch):
            found += [type(value) for value in (row or {}).values()]
    return found
