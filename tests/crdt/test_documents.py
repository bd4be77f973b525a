"""Documents beside their rows: every writer through both, nothing kept of what is refused."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

import pytest
from loro import LoroCounter, LoroDoc, LoroList, LoroMap, LoroMovableList, LoroTree

from pylon import limits
from pylon.codec import decode
from pylon.crdt.documents import Documents
from pylon.errors import PylonError
from pylon.hooks import Row, RowTx
from pylon.identity import ADMIN, Identity
from tests.crdt.people import ANN, BOB, Replica, desk


async def refused(replica: Replica, code: str, identity: Identity = ANN) -> PylonError:
    """Push, expect this refusal, and find row and document as they were."""
    before = await replica.desk.row(replica.row_id)
    stored = await replica.desk.stored("_pylon_crdt_updates")
    with pytest.raises(PylonError) as caught:
        await replica.push(identity)
    assert caught.value.code == code
    assert await replica.desk.row(replica.row_id) == before
    assert await replica.desk.stored("_pylon_crdt_updates") == stored
    fresh = await replica.desk.replica(replica.row_id)
    for name in ("title", "n", "done", "ownerId"):
        assert fresh.row.get(name) == before[name]
    assert fresh.row["body"] == (before["body"] or "")
    return caught.value


async def test_rows_nobody_edits_together_have_no_document() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        await d.rows.update(ADMIN, "Page", page, {"body": "hello you"})
        assert await d.stored("_pylon_crdt_snapshots") == []
        assert all(change.document_update is None for change in d.changes)


async def test_the_first_subscriber_makes_the_document_from_the_row() -> None:
    async with desk() as d:
        page = await d.page(
            title="a", body="hello", n=2**60 + 1, x=4, done=1, likes=3, secret="s", tags=["x"]
        )
        replica = await d.replica(page)
        assert replica.row["title"] == "a"
        assert replica.row["n"] == 2**60 + 1
        assert (replica.row["x"], replica.row["done"]) == (4.0, True)
        assert replica.row["body"] == "hello"
        assert replica.row["likes"] == 3
        assert replica.row["tags"] == ["x"]
        assert "secret" not in replica.row
        assert "id" not in replica.row
        assert replica.root().to_string() == "hello"
        assert len(await d.stored("_pylon_crdt_snapshots")) == 1


async def test_every_writer_goes_through_the_document() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        replica = await d.replica(page)
        await d.rows.update(ADMIN, "Page", page, {"body": "hello you", "n": 7, "secret": "s"})
        replica.hear()
        assert replica.row["body"] == "hello you"
        assert replica.root().to_string() == "hello you"
        assert replica.row["n"] == 7
        await d.rows.update(ADMIN, "Page", page, {"body": None, "n": None})
        replica.hear()
        assert replica.row["body"] == ""
        assert replica.row.get("n") is None
        row = await d.row(page)
        assert row["body"] is None
        assert row["secret"] == "s"


async def test_a_private_write_says_nothing_to_the_document() -> None:
    async with desk() as d:
        page = await d.page(title="a")
        await d.snapshot(page)
        await d.rows.update(ADMIN, "Page", page, {"secret": "s"})
        assert d.changes[-1].document_update is None


@pytest.mark.parametrize("where", ["text", "root"])
async def test_text_edits_reach_the_row(where: str) -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        one, two = await d.replica(page), await d.replica(page)
        getattr(one, where)().insert(5, " world")
        row = await one.push(ANN)
        assert row["body"] == "hello world"
        assert (await d.row(page))["body"] == "hello world"
        assert d.changes[-1].patch == {"body": "hello world"}
        for replica in (one, two):
            replica.hear()
            assert replica.root().to_string() == replica.row["body"] == "hello world"


async def test_concurrent_edits_of_both_texts_merge() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="one two three")
        one, two = await d.replica(page), await d.replica(page)
        one.text().insert(3, "!")
        two.root().insert(13, "?")
        await one.push()
        row = await two.push()
        assert row["body"] == "one! two three?"
        both = await d.replica(page)
        both.text().insert(0, "A")
        both.root().insert(len(both.root()), "Z")
        assert (await both.push())["body"] == "Aone! two three?Z"
        for replica in (one, two):
            replica.hear()
            assert replica.root().to_string() == replica.row["body"] == "Aone! two three?Z"


async def test_kinds_merge() -> None:
    async with desk() as d:
        page = await d.page(title="a", likes=5, tags=["a", "b"], steps=[1, 2, 3])
        one, two = await d.replica(page), await d.replica(page)

        def of(replica: Replica, name: str) -> Any:
            return replica.doc.get_map("row").get(name).container  # type: ignore[union-attr]

        for replica, tag in ((one, "x"), (two, "y")):
            likes, tags = of(replica, "likes"), of(replica, "tags")
            assert isinstance(likes, LoroCounter)
            assert isinstance(tags, LoroList)
            likes.increment(1)
            tags.insert(0, tag)
        steps = of(one, "steps")
        assert isinstance(steps, LoroMovableList)
        steps.mov(0, 2)
        tree = of(two, "outline")
        assert isinstance(tree, LoroTree)
        node = tree.create()
        tree.get_meta(node).insert("title", "top")
        tree.create(node)
        await one.push()
        row = await two.push()
        assert row["likes"] == 7
        assert isinstance(row["likes"], int)
        assert sorted(decode(row["tags"])) == ["a", "b", "x", "y"]
        assert row["steps"] == "[2,3,1]"
        outline = decode(row["outline"])
        assert [n["meta"] for n in outline] == [{"title": "top"}]
        assert len(outline[0]["children"]) == 1


async def test_rest_writes_lists_counters_and_trees_by_their_difference() -> None:
    async with desk() as d:
        page = await d.page(title="a", outline=[{"meta": {"t": "a"}, "children": [{}]}])
        replica = await d.replica(page)
        tags: Any = replica.doc.get_map("row").get("tags")
        for tag in ("a", "b", "c"):
            tags.container.push(tag)
        await replica.push()
        tags.container.push("mine")
        patch = {"tags": ["b", {"z": 1, "a": 2.0}], "likes": 9, "steps": "[3, 1]"}
        row = await d.rows.update(ADMIN, "Page", page, patch)
        assert row["tags"] == '["b",{"a":2,"z":1}]'
        row = await replica.push()
        assert row["tags"] == '["b",{"a":2,"z":1},"mine"]'
        assert (row["likes"], row["steps"]) == (9, "[3,1]")
        replica.hear()
        outline = decode((await d.rows.update(ADMIN, "Page", page, {"outline": [{}]}))["outline"])
        assert outline[0]["id"]
        (child,) = outline
        turned = [{"meta": {"new": 1}, "children": [child]}]
        outline = decode((await d.rows.update(ADMIN, "Page", page, {"outline": turned}))["outline"])
        assert outline[0]["children"][0]["id"] == child["id"]


async def test_the_nodes_of_a_tree_stay_the_same_when_it_is_loaded_again() -> None:
    async with desk() as d:
        page = await d.page(outline=[{"meta": {"t": "a"}, "children": [{}]}, {}])
        first = (await d.replica(page)).row["outline"]
        for _ in range(2):
            d.rows.documents = Documents(d.rows.clock)
            again = await d.replica(page)
            assert again.row["outline"] == first
        await d.rows.update(ADMIN, "Page", page, {"outline": [{"meta": {"t": "a"}}]})
        assert len((await d.replica(page)).row["outline"]) == 1


@pytest.mark.parametrize("bad", ["x", {"a": 1}, 7, [[]] * 20_000])
async def test_lists_take_arrays_only(bad: object) -> None:
    async with desk() as d:
        page = await d.page(title="a")
        with pytest.raises(PylonError) as caught:
            await d.rows.update(ADMIN, "Page", page, {"tags": bad})
        assert caught.value.code == "INVALID_DATA"


async def test_refused_merges_leave_nothing() -> None:
    async with desk() as d:
        await d.page(title="taken")
        page = await d.page(title="mine", body="hello", ownerId="ann")

        async def edited(key: str, value: Any) -> Replica:
            replica = await d.replica(page)
            replica.text().insert(0, "poison ")
            replica.doc.get_map("row").insert(key, value)
            return replica

        await refused(await edited("title", "taken"), "UPDATE_FAILED")
        await refused(await edited("ownerId", "bob"), "POLICY_DENIED")
        await refused(await edited("title", "fine"), "NOT_FOUND", BOB)
        await refused(await edited("secret", "x"), "INVALID_COLUMN")
        await refused(await edited("id", "x"), "INVALID_COLUMN")
        await refused(await edited("nope", "x"), "INVALID_COLUMN")
        await refused(await edited("n", 1.5), "INVALID_DATA")
        await refused(await edited("done", "yes"), "INVALID_DATA")
        await refused(await edited("x", float("nan")), "INVALID_DATA")
        await refused(await edited("body", {"a": 1}), "INVALID_DATA")
        replica = await d.replica(page)
        replica.doc.get_map("hidden").insert("a", 1)
        await refused(replica, "INVALID_COLUMN")
        replica = await d.replica(page)
        replica.text().insert(0, "good ")
        assert (await replica.push(ANN))["body"] == "good hello"


async def test_hooks_see_and_change_what_a_merge_writes() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello", n=1)
        seen: list[dict[str, Any]] = []

        async def trim(
            tx: RowTx, identity: Identity, entity: str, before: Row | None, data: Row
        ) -> None:
            seen.append(dict(data))
            if "title" in data:
                data["title"] = data["title"].strip()

        d.hooks.before_update.append(trim)
        replica = await d.replica(page)
        replica.doc.get_map("row").insert("title", "  spaced ")
        replica.text().insert(0, "x")
        assert (await replica.push())["title"] == "spaced"
        assert seen == [{"title": "  spaced ", "body": "xhello"}]
        replica.hear()
        assert replica.row["title"] == "spaced"


async def test_what_a_hook_takes_out_of_a_merge_stays_as_it_was() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello", n=1)

        async def keep(
            tx: RowTx, identity: Identity, entity: str, before: Row | None, data: Row
        ) -> None:
            data.pop("title", None)

        d.hooks.before_update.append(keep)
        replica = await d.replica(page)
        replica.doc.get_map("row").insert("title", "b")
        replica.text().insert(0, "x")
        row = await replica.push()
        assert (row["title"], row["body"]) == ("a", "xhello")
        replica.hear()
        assert replica.row["title"] == "a", "in the document too"


async def test_a_later_failure_in_the_unit_takes_the_document_back() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        replica = await d.replica(page)
        replica.text().insert(0, "x")
        update = replica.take_update()

        async def work(tx: Any) -> None:
            await tx.merge("Page", page, update)
            raise PylonError(400, "STOP", "stop")

        with pytest.raises(PylonError):
            await d.rows.write(ADMIN, work)
        assert (await d.replica(page)).row["body"] == "hello"
        assert (await d.merge(page, update))["body"] == "xhello"
        assert len(await d.stored("_pylon_crdt_updates")) == 1


async def test_the_document_goes_with_the_row() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        replica = await d.replica(page)
        replica.text().insert(0, "x")
        await replica.push()
        await d.rows.delete(ADMIN, "Page", page)
        assert await d.stored("_pylon_crdt_snapshots") == []
        assert await d.stored("_pylon_crdt_updates") == []
        replica.text().insert(0, "y")
        with pytest.raises(PylonError) as caught:
            await replica.push()
        assert (caught.value.status, caught.value.code) == (404, "NOT_FOUND")
        again = await d.page(id="01890000-0000-7000-8000-000000000000", title="b")
        assert (await d.replica(again)).row["body"] == ""


async def test_documents_are_loaded_again_from_storage() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        replica = await d.replica(page)
        for i in range(5):
            replica.text().insert(0, str(i))
            await replica.push()
        d.rows.documents = Documents(d.rows.clock)
        fresh = await d.replica(page)
        assert fresh.row["body"] == "43210hello"
        replica.text().insert(0, "z")
        assert (await replica.push())["body"] == "z43210hello"


async def test_the_row_is_the_truth_where_a_document_has_fallen_behind() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        replica = await d.replica(page)
        documents, d.rows.documents = d.rows.documents, None
        await d.rows.update(ADMIN, "Page", page, {"body": "hello there", "n": 3})
        d.rows.documents = Documents(d.rows.clock)
        assert documents is not None
        replica.text().insert(0, "x")
        row = await replica.push()
        assert (row["body"], row["n"]) == ("xhello there", 3)


async def test_what_is_known_already_changes_nothing() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        replica = await d.replica(page)
        replica.text().insert(0, "x")
        update = replica.take_update()
        await d.merge(page, update)
        count = len(d.changes)
        await d.merge(page, update)
        assert len(d.changes) == count


async def test_marks_are_kept_though_the_row_has_none() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        one, two = await d.replica(page), await d.replica(page)
        one.text().mark(0, 3, "bold", True)
        row = await one.push()
        assert row["body"] == "hello"
        two.hear()
        assert two.text().get_richtext_value() == one.text().get_richtext_value()


async def test_missing_dependencies_are_named_and_nothing_is_kept() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        replica = await d.replica(page)
        replica.text().insert(0, "1")
        first = replica.take_update()
        replica.text().insert(0, "2")
        second = replica.take_update()
        with pytest.raises(PylonError) as caught:
            await d.merge(page, second)
        assert (caught.value.status, caught.value.code) == (409, "CRDT_DEPENDENCIES_MISSING")
        await d.merge(page, first)
        assert (await d.row(page))["body"] == "1hello"
        assert (await d.merge(page, second))["body"] == "21hello"


@pytest.mark.parametrize("kind", ["list", "map", "tree", "value"])
@pytest.mark.parametrize("depth", [100, 2_000])
async def test_deep_nesting_is_refused(kind: str, depth: int) -> None:
    async with desk() as d:
        page = await d.page(title="a")
        replica = await d.replica(page)
        row = replica.doc.get_map("row")
        if kind == "list":
            inner: Any = row.get("tags").container  # type: ignore[union-attr]
            for _ in range(depth):
                inner = inner.push_container(LoroList())
        elif kind == "map":
            inner = row
            for _ in range(depth):
                inner = inner.insert_container("title", LoroMap())
        elif kind == "tree":
            tree: Any = row.get("outline").container  # type: ignore[union-attr]
            parent = None
            for _ in range(depth):
                parent = tree.create(parent)
        else:
            value: Any = []
            for _ in range(min(depth, 500)):
                value = [value]
            row.insert("title", value)
        with pytest.raises(PylonError) as caught:
            await replica.push()
        assert caught.value.code == "INVALID_DATA"


async def test_bytes_that_are_no_update_are_refused() -> None:
    async with desk() as d:
        page = await d.page(title="a", body="hello")
        replica = await d.replica(page)
        replica.text().insert(0, "x")
        update = replica.take_update()
        bomb = LoroDoc()
        bomb.get_text("body").insert(0, "a" * 20_000_000)
        snapshot = bomb.export(__import__("loro").ExportMode.Snapshot())
        assert len(snapshot) > limits.DOCUMENT_UPDATE_BYTES_COMPRESSED
        for bad in (b"", b"loro", b"\0" * 100, update[:-1], update[:20] + b"\xff" * 9, snapshot):
            with pytest.raises(PylonError) as caught:
                await d.merge(page, bad)
            assert (caught.value.status, caught.value.code) == (400, "CRDT_DECODE_FAILED")
        assert (await d.merge(page, update))["body"] == "xhello"


async def test_entities_without_documents_and_odd_annotations() -> None:
    async with desk() as d:
        for entity, status, code in (
            ("Plain", 400, "NOT_SUPPORTED"),
            ("Odd", 500, "INVALID_CRDT_FIELD"),
        ):
            row_id = (await d.rows.insert(ADMIN, entity, {}))["id"]

            async def work(tx: Any, entity: str = entity, row_id: str = row_id) -> None:
                await tx.merge(entity, row_id, b"")

            with pytest.raises(PylonError) as caught:
                await d.rows.write(ADMIN, work)
            assert (caught.value.status, caught.value.code) == (status, code)
        await d.rows.update(ADMIN, "Odd", row_id, {"n": 4})
