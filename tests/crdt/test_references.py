"""Keys inside documents: what a merge may name, and what becomes of documents when others go."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

import pytest
from loro import ExportMode, LoroDoc

from pylon import App, Entity, Id, RichText, relation
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.identity import ADMIN
from tests.data.hooked import serving

ABSENT = "a" * 40


def app() -> App:
    made = App("folders")

    @made.entity
    class Folder(Entity):
        name: str | None

    @made.entity
    class Page(Entity):
        body: RichText | None
        folderId: Id[Folder] | None
        coverId: Id[Folder] | None

        class relations:
            folder = relation("Folder", field="folderId", on_delete="cascade")
            cover = relation("Folder", field="coverId", on_delete="set_null")

    return made


async def replica(rows: Rows, page: str) -> LoroDoc:
    found = await rows.write(ADMIN, lambda tx: tx.snapshot("Page", page))
    assert found is not None
    doc = LoroDoc()
    doc.import_(found[0])
    return doc


async def edit(rows: Rows, page: str, **fields: Any) -> None:
    """An edit of these fields by somebody who has the document."""
    doc = await replica(rows, page)
    before = doc.oplog_vv
    for name, value in fields.items():
        doc.get_map("row").insert(name, value)
    doc.commit()
    update = doc.export(ExportMode.Updates(before))
    await rows.write(ADMIN, lambda tx: tx.merge("Page", page, update))


async def documents(rows: Rows) -> int:
    found = await rows.store.read("SELECT count(*) FROM _pylon_crdt_snapshots")
    return int(found[0][0])


async def test_a_merge_may_name_only_what_is_there() -> None:
    async with serving(app()) as rows:
        folder = (await rows.insert(ADMIN, "Folder", {}))["id"]
        page = (await rows.insert(ADMIN, "Page", {"body": "a"}))["id"]
        with pytest.raises(PylonError) as refused:
            await edit(rows, page, folderId=ABSENT)
        assert refused.value.code == "REFERENCE_NOT_FOUND"
        assert (await replica(rows, page)).get_map("row").get("folderId") is None
        await edit(rows, page, folderId=folder)
        assert (await rows.get(ADMIN, "Page", page))["folderId"] == folder


async def test_documents_go_with_their_rows_and_lose_the_keys_of_what_goes() -> None:
    async with serving(app()) as rows:
        folder = (await rows.insert(ADMIN, "Folder", {}))["id"]
        inside = (await rows.insert(ADMIN, "Page", {"body": "a", "folderId": folder}))["id"]
        beside = (await rows.insert(ADMIN, "Page", {"body": "b", "coverId": folder}))["id"]
        for page in (inside, beside):
            await edit(rows, page, body=None)
        assert await documents(rows) == 2
        await rows.delete(ADMIN, "Folder", folder)
        assert await documents(rows) == 1
        assert (await rows.get(ADMIN, "Page", beside))["coverId"] is None
        assert (await replica(rows, beside)).get_map("row").get("coverId") is None
        with pytest.raises(PylonError) as refused:
            await edit(rows, beside, coverId=folder)
        assert refused.value.code == "REFERENCE_NOT_FOUND"
