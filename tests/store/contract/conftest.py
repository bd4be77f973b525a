"""A store of each kind with one table `t (id, n)`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pylon.store.base import Store
from tests.store.contract.stores import STORES, TABLE, Kind


@pytest.fixture(params=list(STORES))
def kind(request: pytest.FixtureRequest) -> Kind:
    return STORES[request.param]


@pytest.fixture
async def store(kind: Kind, tmp_path: Path) -> AsyncIterator[Store]:
    opened = kind.open(tmp_path, [TABLE])
    yield opened
    await opened.close()
