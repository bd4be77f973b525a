"""Many editors over random schedules end with one text, which is also the row's."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylon import limits
from pylon.crdt.documents import Documents
from pylon.errors import PylonError
from pylon.identity import ADMIN
from tests.crdt.people import ANN, Desk, Replica, desk


async def edit(replica: Replica, random: Random) -> None:
    """One edit at a random place, in either text."""
    text = replica.text() if random.random() < 0.5 else replica.root()
    length = len(text)
    if length and random.random() < 0.3:
        at = random.randrange(length)
        text.delete(at, random.randint(1, min(3, length - at)))
    else:
        text.insert(random.randint(0, length), random.choice(("a", "bc", "é", "😀", "\n")))


async def push_refused(replica: Replica) -> None:
    """A push that is refused; the editor goes on from what the server has."""
    replica.doc.get_map("row").insert("ownerId", "somebody else")
    with pytest.raises(PylonError):
        await replica.push(ANN)


async def history(d: Desk, seed: int, editors: int, steps: int) -> None:
    random = Random(seed)
    page = await d.page(body="start", ownerId="ann")
    replicas = [await d.replica(page) for _ in range(editors)]
    spoiler = await d.replica(page)
    for step in range(steps):
        replica = random.choice(replicas)
        kind = random.random()
        if kind < 0.55:
            await edit(replica, random)
        elif kind < 0.75:
            await replica.push(ANN)
        elif kind < 0.9:
            replica.hear(random.randint(1, 5))
        elif kind < 0.94:
            await d.rows.update(ADMIN, "Page", page, {"body": f"server {step} " + "x" * (step % 5)})
        elif kind < 0.97:
            await push_refused(spoiler)
            spoiler = await d.replica(page)
        else:
            d.rows.documents = Documents(d.rows.clock)  # as after a restart
    for replica in replicas:
        await replica.push(ANN)
    for replica in replicas:
        replica.hear()
    body = (await d.row(page))["body"]
    for replica in replicas:
        assert replica.row["body"] == replica.root().to_string() == body
    fresh = await d.replica(page)
    assert fresh.row["body"] == body
    assert fresh.row["ownerId"] == "ann"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 8), st.integers(5, 60))
def test_random_schedules_converge(seed: int, editors: int, steps: int) -> None:
    async def run() -> None:
        async with desk() as d:
            await history(d, seed, editors, steps)

    asyncio.run(run())


async def test_fifty_editors_converge() -> None:
    async with desk() as d:
        await history(d, 4, 50, 250)


async def test_fifty_pushes_at_once_share_commits() -> None:
    async with desk() as d:
        page = await d.page(body="")
        replicas = [await d.replica(page) for _ in range(50)]
        for i, replica in enumerate(replicas):
            replica.text().insert(0, f"[{i}]")
        await asyncio.gather(*(replica.push() for replica in replicas))
        for replica in replicas:
            replica.hear()
        body = (await d.row(page))["body"]
        assert {replica.row["body"] for replica in replicas} == {body}
        assert sorted(body.replace("][", "] [").split()) == sorted(f"[{i}]" for i in range(50))


@pytest.mark.parametrize("hears", [True, False])
async def test_storage_stays_bounded(hears: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_HISTORY_BYTES_MAX", 20_000)
    monkeypatch.setattr(limits, "DOCUMENT_UPDATES_MAX", 20)
    async with desk() as d:
        page = await d.page(body="")
        replica, away = await d.replica(page), await d.replica(page)
        random = Random(1)
        started_anew = 0
        for _ in range(400):
            text = replica.text()
            if len(text):
                text.delete(0, len(text))
            text.insert(0, "".join(random.choices("abcdefgh", k=200)))
            try:
                await replica.push()
            except PylonError as error:
                if error.code != "CRDT_OUTDATED":
                    raise
                replica = await d.replica(page)
                started_anew += 1
            if hears:
                replica.hear()
        # Who hears what happens is never too far behind, nor who is the only one to touch a text.
        assert not started_anew
        ((*_, snapshot),) = await d.stored("_pylon_crdt_snapshots")
        updates = await d.stored("_pylon_crdt_updates")
        assert len(snapshot) + sum(len(data) for *_, data in updates) < 60_000
        fresh = await d.replica(page)
        assert fresh.row["body"] == (await d.row(page))["body"]
        fresh.text().insert(0, "new ")
        assert (await fresh.push())["body"] == fresh.row["body"]
        # Who has been away for longer than history is kept is told so.
        away.text().insert(0, "old ")
        with pytest.raises(PylonError) as caught:
            await away.push()
        assert (caught.value.status, caught.value.code) == (409, "CRDT_OUTDATED")
        assert "crdt-subscribe" in (caught.value.hint or "")


async def test_history_never_makes_a_document_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is left after a cut is so large that twice as much is more than a document may take.
    monkeypatch.setattr(limits, "DOCUMENT_BYTES_MAX", 50_000)
    monkeypatch.setattr(limits, "DOCUMENT_HISTORY_BYTES_MAX", 20_000)
    monkeypatch.setattr(limits, "DOCUMENT_UPDATES_MAX", 1)
    async with desk() as d:
        page = await d.page(body="")
        replica, random = await d.replica(page), Random(3)
        replica.text().insert(0, "".join(random.choices("abcdefghijklmnop0123456789", k=16_000)))
        for _ in range(120):
            replica.text().delete(0, 100)
            replica.text().insert(0, "".join(random.choices("abcdefghijklmnop0123456789", k=100)))
            await replica.push()
            replica.hear()
        ((*_, snapshot),) = await d.stored("_pylon_crdt_snapshots")
        assert len(snapshot) <= limits.DOCUMENT_BYTES_MAX


async def test_memory_holds_the_latest_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENTS_OPEN_MAX", 3)
    async with desk() as d:
        pages = [await d.page(body=str(i)) for i in range(10)]
        replicas = [await d.replica(page) for page in pages]
        for _ in range(2):
            for replica in replicas:
                replica.text().insert(0, "x")
                await replica.push()
        assert len(d.documents) == 3
        for i, page in enumerate(pages):
            assert (await d.row(page))["body"] == f"xx{i}"


async def test_a_document_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_BYTES_MAX", 20_000)
    monkeypatch.setattr(limits, "DOCUMENT_HISTORY_BYTES_MAX", 10_000)
    monkeypatch.setattr(limits, "DOCUMENT_TAIL_BYTES_MAX", 1_000)
    async with desk() as d:
        page = await d.page(body="")
        replica = await d.replica(page)
        random = Random(2)
        replica.text().insert(0, "".join(random.choices("abcdefghijklmnop0123456789", k=60_000)))
        with pytest.raises(PylonError) as caught:
            await replica.push()
        assert (caught.value.status, caught.value.code) == (413, "CRDT_DOCUMENT_TOO_LARGE")
        assert (await d.row(page))["body"] == ""
        again = await d.replica(page)
        again.text().insert(0, "short")
        assert (await again.push())["body"] == "short"
