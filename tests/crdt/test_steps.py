"""Importing in parts: the same document as in one go, refused when it takes too long."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from random import Random
from typing import Any
from unittest import mock

import pytest
from loro import (
    ExportMode,
    LoroDoc,
    LoroMovableList,
    LoroText,
    LoroTree,
    VersionVector,
)

from pylon import limits
from pylon.crdt import steps
from pylon.crdt.steps import Importer, Pending, TooCostly
from pylon.errors import PylonError
from tests.crdt.people import desk

SEEDS = 60


def fresh() -> LoroDoc:
    doc = LoroDoc()
    row = doc.get_map("row")
    row.insert_container("text", LoroText())
    inner(doc, "text").insert(0, "hello")
    row.insert_container("list", LoroMovableList())
    row.insert_container("tree", LoroTree())
    doc.commit()
    return doc


def inner(doc: LoroDoc, name: str) -> Any:
    """A container of the row."""
    found: Any = doc.get_map("row").get(name)
    return found.container


def copy(doc: LoroDoc) -> LoroDoc:
    other = LoroDoc()
    other.import_(doc.export(ExportMode.Snapshot()))
    return other


def edit(doc: LoroDoc, random: Random, *, marks: bool) -> None:
    """Some edits of every kind."""
    text = inner(doc, "text")
    items = inner(doc, "list")
    for _ in range(random.randrange(1, 30)):
        length, what = len(text), random.random()
        if what < 0.4:
            word = random.choice(("a", "häl😀", "x" * 50))
            text.insert(random.randrange(length + 1), word)
        elif what < 0.5 and length > 3:
            text.delete(random.randrange(length - 3), 2)
        elif what < 0.6 and length > 3 and marks:
            start = random.randrange(length - 2)
            text.mark(start, random.randrange(start + 1, length), "bold", random.random())
        elif what < 0.8 or not len(items):
            items.insert(random.randrange(len(items) + 1), random.randrange(9))
        elif what < 0.9:
            items.mov(random.randrange(len(items)), random.randrange(len(items)))
        else:
            inner(doc, "tree").create(None)
        if random.random() < 0.2:
            doc.get_map("row").insert("n", random.randrange(100))
            doc.commit()
    doc.commit()


def marked(doc: LoroDoc) -> object:
    return inner(doc, "text").get_richtext_value()


@pytest.mark.parametrize("marks", [False, True])
def test_in_parts_as_in_one_go(marks: bool) -> None:
    for seed in range(SEEDS):
        random = Random(seed)
        first = fresh()
        edit(first, random, marks=marks)
        people = [copy(first) for _ in range(3)]
        known = first.oplog_vv
        for person in people:
            edit(person, random, marks=marks)
        if random.random() < 0.5:  # one has heard of another meanwhile
            people[1].import_(people[0].export(ExportMode.Updates(known)))
            edit(people[1], random, marks=marks)
        updates = [person.export(ExportMode.Updates(known)) for person in people[1:]]
        whole, parts = copy(people[0]), copy(people[0])
        whole.import_batch(updates)
        small: dict[str, Any] = {
            "PART_FIRST": 3,
            "PART_MAX": 7,
            "PART_CONCURRENT": 5,
            "PART_MARKED": 4,
        }
        with (
            mock.patch.multiple(steps, **small),
            mock.patch.object(limits, "DOCUMENT_UPDATE_BYTES_DIRECT", 0),
        ):
            importer = Importer(parts)
            importer.run(updates, seconds_max=None)
            edit(parts, random, marks=marks)  # by the server itself, between two imports
            people[2].import_(parts.export(ExportMode.Updates(people[2].oplog_vv)))
            edit(people[2], random, marks=marks)
            importer.run([people[2].export(ExportMode.Updates(known))], seconds_max=None)
            whole.import_(parts.export(ExportMode.Updates(known)))
        assert parts.get_deep_value() == whole.get_deep_value() == people[2].get_deep_value(), seed
        assert parts.oplog_vv == whole.oplog_vv
        assert parts.oplog_frontiers.encode() == whole.oplog_frontiers.encode()
        assert marked(parts) == marked(whole)


def test_a_long_text_is_taken_in_parts() -> None:
    doc = fresh()
    other = copy(doc)
    inner(other, "text").insert(0, "x" * 200_000)
    other.commit()
    sizes: list[int] = []

    class Counting(steps._Part):
        def took(self, seconds: float) -> None:
            sizes.append(sum(end - start for _, start, end in self.spans))
            super().took(seconds)

    with mock.patch.object(steps, "_Part", Counting):
        Importer(doc).run([other.export(ExportMode.Updates(doc.oplog_vv))], seconds_max=None)
    assert doc.get_deep_value() == other.get_deep_value()
    assert max(sizes) <= steps.PART_MAX


def test_what_is_concurrent_is_taken_in_few_parts() -> None:
    doc = fresh()
    other = copy(doc)
    for each in (doc, other):
        inner(each, "text").insert(0, "x" * 40_000)
        each.commit()
    counted = mock.Mock(wraps=steps._Part.took)
    with (
        mock.patch.object(steps, "PART_CONCURRENT", 10_000),
        mock.patch.object(steps, "SLOW_SECONDS", 0.0),
        mock.patch.object(steps._Part, "took", lambda *arguments: counted(*arguments)),
    ):
        Importer(doc).run([other.export(ExportMode.Updates(VersionVector()))], seconds_max=None)
    assert counted.call_count == 4, "however long each of them takes"


def test_onto_a_document_without_its_old_history() -> None:
    first = fresh()
    edit(first, Random(1), marks=True)
    doc = LoroDoc()
    doc.import_(first.export(ExportMode.ShallowSnapshot(first.oplog_frontiers)))
    other = copy(doc)
    inner(other, "text").insert(0, "long " * 1_000)
    other.commit()
    Importer(doc).run([other.export(ExportMode.Updates(doc.oplog_vv))], seconds_max=None)
    assert doc.get_deep_value() == other.get_deep_value()


def test_what_builds_on_others_is_pending() -> None:
    doc = fresh()
    other = copy(doc)
    text = inner(other, "text")
    text.insert(0, "first")
    other.commit()
    known = other.oplog_vv
    for word in ("x", "long " * 1_000):
        text.insert(0, word)
        other.commit()
        with pytest.raises(Pending):
            Importer(copy(doc)).run([other.export(ExportMode.Updates(known))], seconds_max=9)


def test_time_runs_out() -> None:
    doc = fresh()
    other = copy(doc)
    inner(other, "text").insert(0, "long " * 1_000)
    other.commit()
    update = other.export(ExportMode.Updates(VersionVector()))
    with pytest.raises(TooCostly):
        Importer(doc).run([update], seconds_max=0)


async def test_an_update_that_takes_too_long_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_MERGE_SECONDS_MAX", 0.1)
    async with desk() as d:
        page = await d.page(body="x" * 2_000)
        replica = await d.replica(page)
        random = Random(1)
        for number in range(1_500):
            replica.text().mark(
                random.randrange(900), 1_000 + random.randrange(900), "bold", number
            )
        with pytest.raises(PylonError) as caught:
            await d.merge(page, replica.take_update())
        assert (caught.value.status, caught.value.code) == (413, "CRDT_UPDATE_TOO_COSTLY")
        fine = await d.replica(page)
        fine.text().insert(0, "y")
        await d.merge(page, fine.take_update())
        assert (await d.row(page))["body"] == "y" + "x" * 2_000


async def test_documents_that_were_slow_to_merge_are_stored_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_TAIL_SECONDS_MAX", 0.0)
    async with desk() as d:
        page = await d.page(body="x")
        replica = await d.replica(page)
        for _ in range(3):
            replica.text().insert(0, "y")
            await d.merge(page, replica.take_update())
            assert await d.stored("_pylon_crdt_updates") == []
