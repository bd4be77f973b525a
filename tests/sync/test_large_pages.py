"""Pulls of rows that are so large that few of them fit into one read."""

from __future__ import annotations

import httpx
import pytest

from pylon import limits
from pylon.config import Config
from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.service import Service

FIELD = FieldSpec(name="text", type="string", optional=True)
NOTE = EntitySpec(name="Note", fields=(FIELD,), crdt=False)


async def test_a_pull_comes_to_its_end_however_large_the_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "READ_BUDGET_SECONDS", 0.0)  # so that every read is a long one
    monkeypatch.setattr(limits, "READ_ON_LOOP_STEPS", 1)
    monkeypatch.setattr(limits, "ANSWER_BYTES_MAX", 100_000)
    manifest = Manifest(name="large", version="1", entities=(NOTE,))
    service = Service(manifest, Config.from_env({}, dev_mode=True, in_memory=True))
    await service.start()
    transport = httpx.ASGITransport(service)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        texts = ["x"] * 40 + ["x" * 30_000] * 12 + ["x"] * 5
        for text in texts:
            await client.post("/api/entities/Note", json={"text": text})
        graph = await client.post("/api/query", json={"Note": {}})
        assert graph.json()["error"]["code"] == "ANSWER_TOO_LARGE"
        seen, since, more = [], 0, True
        while more:
            page = (await client.get("/api/sync/pull", params={"since": since})).json()
            seen += [change["data"]["text"] for change in page["changes"]]
            since, more = page["cursor"]["last_seq"], page["has_more"]
        assert seen == texts
    await service.stop()
