"""Writers who push and never take anything in, beyond cuts of the history."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loro import ExportMode, LoroDoc, LoroText, VersionVector

from pylon import limits
from pylon.crdt.fields import MergeKind, RowData
from pylon.crdt.open_document import OpenDocument
from pylon.crdt.row_document import Document
from pylon.errors import PylonError

FIELDS: dict[str, MergeKind] = {
    "body": "text",
    "note": "text",
    "title": "lww",
    "n": "lww",
    "likes": "counter",
    "tags": "list",
    "steps": "movable-list",
}
ROW: RowData = {
    "body": "start",
    "note": "a note",
    "title": "t",
    "n": 1,
    "likes": 0,
    "tags": '["a"]',
    "steps": '["x","y"]',
}
LETTERS = "abcdefghijklmnop0123456789"


class Shelf:
    """A document as storage has it, opened for each write as after a restart or not."""

    def __init__(self, fields: dict[str, MergeKind] = FIELDS, row: RowData = ROW) -> None:
        self.fields = fields
        self.peer = Document.new_peer()
        self.document = self._open()
        self.document.write(row)
        self.snapshot = b""
        self.updates: list[bytes] = []
        self.frames: list[bytes] = []
        self.cuts = 0
        self._store()
        self.listener = self.reader()
        self.decoded: list[dict[str, Any]] = [{}]
        """The frames in the library's JSON."""

    def merge(self, update: bytes) -> RowData:
        try:
            merged = self.document.merge(update)
        except PylonError:
            self.reopen()
            raise
        self._store()
        return merged

    def write(self, **values: object) -> None:
        self.document.write(values)
        self._store()

    def reopen(self, peer: int | None = None) -> None:
        """Load it anew, as another process would with `peer`."""
        self.peer = self.peer if peer is None else peer
        trimmed = self.document.trimmed_bytes
        self.document = self._open()
        self.document.load(self.snapshot, self.updates)
        self.document.trimmed_bytes = trimmed

    def reader(self) -> LoroDoc:
        """What a new follower has."""
        doc = LoroDoc()
        doc.import_(self.document.snapshot())
        return doc

    @property
    def size(self) -> int:
        return len(self.snapshot) + sum(map(len, self.updates))

    def _open(self) -> OpenDocument:
        return OpenDocument(("Page", "1"), Document(self.fields, self.peer), is_inline=False)

    def _store(self) -> None:
        gained = self.document.gain()
        if gained is None:
            return
        self.frames.append(gained.update)
        if len(self.frames) > 1:
            known = self.listener.oplog_vv
            self.listener.import_(gained.update)
            news = self.listener.export_json_updates(known, self.listener.oplog_vv)
            self.decoded.append(json.loads(news))
        if gained.snapshot is None:
            self.updates.append(gained.update)
            return
        self.snapshot, self.updates = gained.snapshot, []
        self.cuts += len(gained.snapshot) == self.document.trimmed_bytes


class Person:
    """Somebody's copy."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.start()

    def start(self) -> None:
        """From an empty document."""
        self.doc = self.shelf.reader()
        self.sent = self.doc.oplog_vv
        self.heard = len(self.shelf.frames)
        self.is_stuck = False

    def inner(self, name: str) -> LoroText:
        found: Any = self.doc.get_map("row").get(name)
        assert isinstance(found.container, LoroText)
        return found.container

    def update(self, *, whole: bool = False) -> bytes:
        self.doc.commit()
        since = VersionVector() if whole and not self.doc.is_shallow() else self.sent
        return self.doc.export(ExportMode.Updates(since))

    def push(self, *, whole: bool = False) -> str | None:
        """The code of the refusal; None when it was taken."""
        update = self.update(whole=whole)
        if self.doc.oplog_vv == self.sent:
            return None
        try:
            self.shelf.merge(update)
        except PylonError as error:
            return error.code
        self.sent = self.doc.oplog_vv
        return None

    def hear(self, count: int | None = None, *, is_older: bool = False) -> None:
        """Take in the next frames.

        The library refuses those of which it knows a part that builds on something else. Earlier
        ones (1.10, which clients use) passed over what they knew; so it is with `is_older`.
        """
        first = self.heard
        self.heard = min(
            len(self.shelf.frames), len(self.shelf.frames) if count is None else first + count
        )
        for at in range(first, self.heard):
            try:
                status = self.doc.import_(self.shelf.frames[at])
            except BaseException as error:
                if "Every op id should be unique" not in str(error):
                    raise
                if not is_older:
                    self.is_stuck = True
                    continue
                status = self.doc.import_json_updates(json.dumps(self._without_mine(at)))
            if status.pending is not None and not status.pending.is_empty:
                self.is_stuck = True
        self.doc.commit()

    def _without_mine(self, at: int) -> dict[str, Any]:
        news = self.shelf.decoded[at]
        mine = str(self.doc.peer_id)
        changes = [
            change
            for change in news["changes"]
            if news["peers"][int(change["id"].partition("@")[2])] != mine
        ]
        return {**news, "changes": changes}


def rewrite(text: LoroText, random: Random, length: int) -> str:
    text.delete(0, len(text))
    value = "".join(random.choices(LETTERS, k=length))
    text.insert(0, value)
    return value


def shown(doc: LoroDoc) -> Any:
    return doc.get_deep_value()


# --- one who types, and nothing else -------------------------------------------------------------


def test_who_never_listens_can_rewrite_a_text_without_end() -> None:
    shelf, random = Shelf(), Random(1)
    writer, follower = Person(shelf), Person(shelf)
    largest = 0
    for _ in range(100):  # it was 46
        value = rewrite(writer.inner("body"), random, 12_000)
        assert writer.push() is None
        follower.hear()
        largest = max(largest, shelf.size)
        assert shelf.document.values["body"] == value
    assert shelf.cuts == 2
    assert largest < 1.25 * limits.DOCUMENT_HISTORY_BYTES_MAX
    assert not follower.is_stuck
    assert shown(follower.doc) == shown(shelf.reader())


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_HISTORY_BYTES_MAX", 5_000)
    monkeypatch.setattr(limits, "DOCUMENT_UPDATES_MAX", 6)


def until_cut(writer: Person, random: Random, name: str = "body") -> None:
    """Type until the history is cut once more."""
    cuts = writer.shelf.cuts
    while writer.shelf.cuts == cuts:
        rewrite(writer.inner(name), random, 100)
        assert writer.push() is None


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("where", ["inner", "root", "both"])
def test_three_hundred_pushes_whatever_text_and_however_sent(where: str, whole: bool) -> None:
    shelf, random = Shelf(), Random(2)
    writer, follower = Person(shelf), Person(shelf)
    for _ in range(300):
        if where != "root":
            value = rewrite(writer.inner("body"), random, 50)
        if where != "inner":
            value = rewrite(writer.doc.get_text("body"), random, 50)
        if where == "both":
            inner = writer.inner("body")
            inner.delete(0, len(inner))
            inner.insert(0, value)
        assert writer.push(whole=whole) is None
        assert shelf.document.values["body"] == value
        assert shelf.size < 2 * limits.DOCUMENT_HISTORY_BYTES_MAX
        follower.hear()
        assert shown(follower.doc)["body"] == value
    assert shelf.cuts > 5


@pytest.mark.usefixtures("small_bounds")
def test_who_comes_back_with_an_empty_document_has_all() -> None:
    shelf, random = Shelf(), Random(3)
    writer = Person(shelf)
    until_cut(writer, random)
    until_cut(writer, random)
    last = rewrite(writer.inner("body"), random, 30)
    assert writer.push() is None
    writer.start()
    assert shown(writer.doc)["row"]["body"] == last
    writer.inner("body").insert(0, "new ")
    writer.doc.get_map("row").insert("title", "new title")
    assert writer.push() is None
    assert shelf.document.values["body"] == f"new {last}"
    assert shelf.document.values["title"] == "new title"


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.usefixtures("small_bounds")
def test_what_depends_on_more_than_the_text_is_outdated() -> None:
    for what in ("value", "mark", "counter", "list", "other text"):
        shelf, random = Shelf(), Random(4)
        writer, follower = Person(shelf), Person(shelf)
        follower.inner("note").insert(0, "x")
        assert follower.push() is None
        until_cut(writer, random)
        kept = dict(shelf.document.values)
        row = writer.doc.get_map("row")
        found: Any = row.get("likes" if what == "counter" else "tags")
        if what == "value":
            row.insert("title", "mine")
        elif what == "mark":
            writer.inner("body").mark(0, 3, "bold", True)
        elif what == "counter":
            found.container.increment(1)
        elif what == "list":
            found.container.insert(0, "b")
        else:
            writer.inner("note").insert(0, "y")
        assert writer.push() == "CRDT_OUTDATED", what
        assert shelf.document.values == kept
        writer.start()
        writer.inner("note").insert(0, "y")
        assert writer.push() is None


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("is_idle", [False, True])
def test_what_was_not_seen_before_one_cut_is_not_seen_after_the_next(is_idle: bool) -> None:
    shelf, random = Shelf(), Random(8)
    writer, follower = Person(shelf), Person(shelf)
    follower.inner("note").insert(0, "x")
    assert follower.push() is None
    until_cut(writer, random)
    busy = Person(shelf) if is_idle else writer
    until_cut(busy, random)
    until_cut(busy, random)
    writer.inner("note").insert(0, "y")
    assert writer.push() == "CRDT_OUTDATED"


@pytest.mark.usefixtures("small_bounds")
def test_a_copy_of_a_silent_copy_is_outdated_once_its_original_is_silent() -> None:
    shelf, random = Shelf(), Random(5)
    writer = Person(shelf)
    until_cut(writer, random)
    rewrite(writer.inner("body"), random, 10)
    assert writer.push() is None
    copy = Person(shelf)
    copy.doc = writer.doc.fork()
    copy.sent = copy.doc.oplog_vv
    copy.inner("body").insert(0, "x")
    assert copy.push() == "CRDT_OUTDATED"


@pytest.mark.usefixtures("small_bounds")
def test_numbers_that_were_used_are_told_from_bytes_that_are_none() -> None:
    shelf = Shelf()
    one, other = Person(shelf), Person(shelf)
    other.doc.peer_id = one.doc.peer_id
    one.inner("body").insert(0, "one")
    assert one.push() is None
    other.inner("body").insert(0, "other and more")
    with pytest.raises(PylonError, match="same numbers") as caught:
        shelf.merge(other.update())
    assert caught.value.code == "CRDT_DECODE_FAILED"
    assert "peer id" in (caught.value.hint or "")


# --- all agree -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("count", range(150, 401, 50))
def test_a_silent_writer_turns_no_race_of_others(count: int) -> None:
    """Two set one value at once, and the later one in Lamport time wins. What a silent writer did
    has other times in its own copy, and must not move the others' there."""
    shelf, random = Shelf(), Random(6)
    writer, follower = Person(shelf), Person(shelf)
    until_cut(writer, random)
    follower.hear()
    rewrite(writer.inner("body"), random, 100)
    assert writer.push() is None
    shelf.write(title="server")
    follower.inner("note").insert(0, "x" * count)
    follower.doc.get_map("row").insert("title", "follower")
    assert follower.push() is None
    follower.hear()
    writer.hear(is_older=True)
    assert not writer.is_stuck
    assert shown(writer.doc) == shown(follower.doc) == shown(shelf.reader())


@pytest.mark.usefixtures("small_bounds")
def test_the_server_follows_who_leaves_it_nothing_to_mirror() -> None:
    """Else a follower would build on the writer's operation alone, which in the writer's own copy
    builds on less."""
    shelf, random = Shelf(), Random(7)
    writer, follower = Person(shelf), Person(shelf)
    follower.inner("note").insert(0, "unseen ")
    assert follower.push() is None
    after = 3
    while after:
        after -= shelf.cuts > 0
        value = rewrite(writer.inner("body"), random, 50)
        root = writer.doc.get_text("body")
        root.delete(0, len(root))
        root.insert(0, value)
        assert writer.push() is None
    follower.hear()
    follower.inner("note").insert(3, "...")
    assert follower.push() is None
    follower.hear()
    writer.hear(is_older=True)
    assert not writer.is_stuck
    assert whole(writer.doc) == whole(follower.doc) == whole(shelf.reader())


class Crowd:
    """Silent writers, followers and the server, in a random order."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.shelf = Shelf()
        texts = (["body"], ["note"], ["body", "note"])
        self.silent = [
            (Person(self.shelf), random.choice(texts), random.random() < 0.3)
            for _ in range(random.randint(1, 3))
        ]
        self.followers = [Person(self.shelf) for _ in range(random.randint(1, 3))]
        self.texts = random.choice(texts)
        self.values = random.choice((["title"], ["title", "n"], ["note"], ["title", "body"]))
        self.lively = random.choice((0.05, 0.3, 0.6))
        self.wild = random.choice((0.0, 0.0, 0.05))

    def step(self) -> None:
        """One thing that somebody does."""
        random = self.random
        if random.random() > self.lively:
            self._write_silently(*random.choice(self.silent))
            return
        kind = random.random()
        person = random.choice(self.followers)
        if kind < 0.3:
            if random.random() < 0.5:
                self._type(person, self.texts)
            else:
                self._set(person)
        elif kind < 0.55:
            if person.push():
                person.start()
        elif kind < 0.75:
            person.hear(random.randint(1, 8))
            if person.is_stuck:
                person.start()
        elif kind < 0.9:
            name = random.choice(self.values)
            self.shelf.write(
                **{name: random.randrange(99) if name == "n" else str(random.random())}
            )
        else:
            self.shelf.reopen(random.choice((None, random.randrange(1, 2**63))))

    def _write_silently(self, person: Person, texts: list[str], whole: bool) -> None:
        random = self.random
        self._type(person, texts)
        if random.random() < self.wild:
            self._set(person)
        if random.random() < 0.9:
            if person.push(whole=whole):
                person.start()
        elif random.random() < 0.05:
            person.hear(random.randint(1, 4), is_older=True)

    def _type(self, person: Person, names: list[str]) -> None:
        random, name = self.random, self.random.choice(names)
        text = person.inner(name) if random.random() < 0.5 else person.doc.get_text(name)
        kind = random.random()
        if kind < 0.3:
            rewrite(text, random, random.choice((3, 40, 200)))
        elif kind < 0.6 and len(text):
            at = random.randrange(len(text))
            text.delete(at, random.randint(1, min(5, len(text) - at)))
        else:
            text.insert(random.randint(0, len(text)), random.choice(("a", "bcd", "é😀")))

    def _set(self, person: Person) -> None:
        random, row = self.random, person.doc.get_map("row")
        likes, tags, steps = (row.get(name) for name in ("likes", "tags", "steps"))
        containers: Any = (likes, tags, steps)
        counter, plain, movable = (each.container for each in containers)
        kind = random.randrange(6)
        if kind == 0:
            row.insert("title", str(random.random()))
        elif kind == 1:
            row.insert("n", random.randrange(99))
        elif kind == 2:
            counter.increment(random.randint(-3, 3))
        elif kind == 3:
            plain.insert(0, random.choice("xyz"))
        elif kind == 4:
            movable.mov(0, len(movable) - 1)
        else:
            text = person.inner(random.choice(("body", "note")))
            if len(text) > 2:
                text.mark(random.randrange(len(text) - 1), len(text), "bold", random.random() < 0.5)

    def check(self) -> None:
        """All take in everything, and have the same."""
        for person in self.followers:
            if person.push():
                person.start()
        for person, *_ in self.silent:
            if person.push():
                person.start()
        kept = self.shelf.document.values
        self.shelf.reopen()
        assert self.shelf.document.values == kept
        fresh = self.shelf.reader()
        assert shown(fresh)["row"] | {"likes": 0} == self._as_shown(kept) | {"likes": 0}
        for person in self.followers:
            person.hear()
            if person.is_stuck:  # who was overtaken by a cut while its push was under way
                person.start()
            assert whole(person.doc) == whole(fresh)
        for person, *_ in self.silent:
            person.hear(is_older=True)
            assert not person.is_stuck
            assert whole(person.doc) == whole(fresh)

    def _as_shown(self, row: RowData) -> dict[str, Any]:
        lists = {name: json.loads(row[name]) for name in ("tags", "steps")}
        return {**row, **lists}


def whole(doc: LoroDoc) -> Any:
    """What a document shows, marks included."""
    row = doc.get_map("row")
    marked = []
    for name in ("body", "note"):
        found: Any = row.get(name)
        marked.append([str(part) for part in found.container.to_delta()])
    return shown(doc), marked


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 150))
def test_random_schedules_converge(seed: int, steps: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "DOCUMENT_HISTORY_BYTES_MAX", 3_000)
        patch.setattr(limits, "DOCUMENT_UPDATES_MAX", 6)
        crowd = Crowd(seed)
        for _ in range(steps):
            crowd.step()
        crowd.check()
