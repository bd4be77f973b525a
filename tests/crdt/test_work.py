"""Work done beside the server: the same as on the loop, also going on from an earlier try."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loro import ExportMode, LoroDoc

from pylon import limits
from pylon.calls import Refused
from pylon.crdt.fields import MergeKind
from pylon.crdt.open_document import OpenDocument
from pylon.crdt.row_document import Document
from pylon.crdt.work import Asked, Bench, Done, Job, pack, perform, unpack
from pylon.errors import PylonError

pytestmark = pytest.mark.usefixtures("no_clock")

KEY = ("Page", "1")
FIELDS: dict[str, MergeKind] = {
    "title": "lww",
    "body": "text",
    "likes": "counter",
    "tags": "list",
    "steps": "movable-list",
    "outline": "tree",
}
EMPTY = dict.fromkeys(FIELDS)


@pytest.fixture(scope="module")
def no_clock() -> Iterator[None]:
    """What is stored does not depend on how fast the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "DOCUMENT_TAIL_SECONDS_MAX", 1e9)
        yield


def job(base: Done | None = None, /, **more: Any) -> Job:
    row = more.pop("row", {})
    stored = None if base is None else base.stored
    given: dict[str, Any] = {"snapshot": stored, "updates": [], **more}
    return Job(key=KEY, fields=FIELDS, peer=7, row={**EMPTY, **row}, **given)


def do(asked: Job) -> Done:
    """In a bench of its own, as bytes."""
    done = unpack(perform(pack(asked)))
    assert isinstance(done, Done), done
    return done


def replica(*updates: bytes) -> LoroDoc:
    doc = LoroDoc()
    for update in updates:
        doc.import_(update)
    return doc


def body(doc: LoroDoc) -> Any:
    found: Any = doc.get_map("row").get("body")
    return found.container


def typed(doc: LoroDoc, random: Random, *, deletes: bool = True) -> bytes:
    """One edit in either text."""
    known = doc.oplog_vv
    text = body(doc) if random.random() < 0.5 else doc.get_text("body")
    if deletes and len(text) and random.random() < 0.4:
        at = random.randrange(len(text))
        text.delete(at, min(random.randint(1, 3), len(text) - at))
    else:
        text.insert(random.randint(0, len(text)), random.choice(("a", "bc", "é", "😀")))
    doc.commit()
    return doc.export(ExportMode.Updates(known))


def test_a_first_document_is_made_from_the_row() -> None:
    row = {"title": "t", "body": "hello", "likes": 3, "tags": '["x"]', "outline": '[{"meta":{}}]'}
    done = do(job(row=row))
    assert done.stored == done.snapshot
    assert done.stored is not None
    shown: Any = replica(done.stored).get_deep_value()
    assert (shown["row"]["body"], shown["body"], shown["row"]["likes"]) == ("hello", "hello", 3)
    again = do(job(done, row=row))
    assert (again.update, again.stored, again.merged) == (None, None, {})
    assert again.snapshot is not None


def test_what_is_refused_is_told_as_on_the_loop() -> None:
    base = do(job(row={"body": "x"}))
    answer = unpack(perform(pack(job(base, row={"body": "x"}, merges=b"nothing"))))
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (400, "CRDT_DECODE_FAILED")


def test_written_values_come_back_as_the_row_keeps_them() -> None:
    base = do(job(row={"body": "hello"}))
    done = do(job(base, row={"body": "hello"}, writes={"body": "hello you", "outline": "[{}]"}))
    assert done.written["body"] == "hello you"
    assert '"id"' in done.written["outline"]
    assert done.update is not None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_beside_the_server_as_on_the_loop(seed: int) -> None:
    random = Random(seed)
    base = do(job(row={"body": "one two three"}))
    assert base.stored is not None
    inline = OpenDocument(KEY, Document(FIELDS, 7), is_inline=True)
    inline.load(base.stored, [])
    people = [replica(base.stored) for _ in range(3)]
    bench, updates, row = Bench(), list[bytes](), {**EMPTY, "body": "one two three"}
    for _ in range(12):
        update = typed(random.choice(people), random)
        asked = job(base, row=row, updates=updates, merges=update)
        try:
            done = bench.do(Asked(job=asked))
        except PylonError:
            with pytest.raises(PylonError, match=r"updates that the server does not have"):
                inline.merge(update)
            inline = OpenDocument(KEY, Document(FIELDS, 7), is_inline=True)
            inline.load(base.stored, updates)
            continue
        assert done.merged == inline.merge(update)
        gained = inline.gain()
        assert done.stored is None
        assert (gained is None) == (done.update is None)
        if done.update is not None:
            updates = [*updates, done.update]
            row = {**row, **done.merged}
            for person in random.sample(people, 2):
                person.import_(done.update)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_a_merge_goes_on_from_where_it_was_when_others_came_before(
    seed: int, deletes: bool
) -> None:
    """Nobody's edit is lost or doubled, and the document is that of everybody else."""
    random = Random(seed)
    base = do(job(row={"body": "one two three"}))
    assert base.stored is not None
    mine, theirs = replica(base.stored), replica(base.stored)
    row = {**EMPTY, "body": "one two three"}
    update = typed(mine, random, deletes=deletes)
    bench, others, merges = Bench(), Bench(), job(base, row=row, merges=update)
    first = bench.do(Asked(job=merges, is_again=True))
    # Meanwhile somebody else is merged, elsewhere.
    updates: list[bytes] = []
    for _ in range(random.randint(1, 3)):
        pushed = typed(theirs, random, deletes=deletes)
        done = others.do(Asked(job=job(base, row=row, updates=updates, merges=pushed)))
        if done.update is not None:
            updates = [*updates, done.update]
            row = {**row, **done.merged}
            theirs.import_(done.update)
    again = job(base, row=row, updates=updates, merges=update)
    if not updates:
        return
    assert first.update is not None
    with pytest.MonkeyPatch.context() as patch:
        # It goes on: nothing is loaded, and nothing merged anew.
        patch.setattr(OpenDocument, "load", None)
        patch.setattr(OpenDocument, "merge", None)
        patch.setattr(limits, "DOCUMENT_INLINE_SECONDS_MAX", 60.0)
        added = len(updates)
        second = bench.do(Asked(job=again, is_again=True, earlier=first.number, added=added))
    assert second.update is not None
    stored = replica(base.stored, *updates, second.update)
    shown: Any = stored.get_deep_value()
    text = {**row, **second.merged}["body"]
    assert shown["row"]["body"] == shown["body"] == text
    # As it would have come out without an earlier try, but for the order of edits at one place. (Of
    # two equal letters one text may lose the first and the other the second.)
    fresh = do(again)
    assert deletes or sorted({**row, **fresh.merged}["body"]) == sorted(text)
    # Whoever has all that was told has this document.
    mine.import_batch([*updates, second.update])
    assert mine.get_deep_value() == shown


def test_a_document_that_takes_long_to_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_LOAD_SECONDS_MAX", 0.02)
    base = do(job(row={"body": "x" * 2_000}))
    assert base.stored is not None
    doc, random = replica(base.stored), Random(1)
    known = doc.oplog_vv
    for number in range(1_000):
        body(doc).mark(random.randrange(900), 1_000 + random.randrange(900), "bold", number)
    doc.commit()
    update = doc.export(ExportMode.Updates(known))
    answer = unpack(perform(pack(job(base, row={"body": "x" * 2_000}, merges=update))))
    assert isinstance(answer, Refused)
    assert answer.code == "CRDT_UPDATE_TOO_COSTLY"


def test_a_heavy_document_is_not_loaded_for_each_key(monkeypatch: pytest.MonkeyPatch) -> None:
    base = do(job(row={"body": "hello"}))
    assert base.stored is not None
    doc, bench, updates = replica(base.stored), Bench(), list[bytes]()
    loads: list[bytes] = []
    load = OpenDocument.load

    def counted(self: OpenDocument, snapshot: bytes, tail: list[bytes]) -> None:
        loads.append(snapshot)
        load(self, snapshot, tail)

    monkeypatch.setattr(OpenDocument, "load", counted)
    row = {**EMPTY, "body": "hello"}
    for _ in range(5):
        known = doc.oplog_vv
        body(doc).insert(0, "x")
        doc.commit()
        update = doc.export(ExportMode.Updates(known))
        done = bench.do(Asked(job=job(base, row=row, updates=updates, merges=update)))
        assert done.update is not None
        updates, row = [*updates, done.update], {**row, **done.merged}
    assert row["body"] == "xxxxxhello"
    assert len(loads) == 1


def test_jobs_are_equal_by_all_that_they_were_done_on() -> None:
    one = job(snapshot=b"s", updates=[b"u"], merges=b"m")
    assert one == job(snapshot=b"s", updates=[b"u"], merges=b"m")
    for change in (
        {"snapshot": b"t"},
        {"updates": [b"u", b"v"]},
        {"merges": b"n"},
        {"writes": {"body": "x"}},
        {"row": {**EMPTY, "body": "y"}},
    ):
        assert one != msgspec.structs.replace(one, **change)
