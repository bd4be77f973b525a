"""Fixtures for tests that talk to the real program; it is started once per test module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest

from tests.server import ADMIN_TOKEN, Server, serving

BLACKBOX_APP = Path(__file__).parent / "blackbox" / "app.py"

# No test asserts an elapsed time, those of Hypothesis neither.
hypothesis.settings.register_profile("pylon", deadline=None)
hypothesis.settings.load_profile("pylon")

LONG_SECONDS = 7_200
"""What a test may take with `PYLON_LONG=1`; the bound of `pyproject.toml` is for the short run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--loopback",
        action="store_true",
        help="servers of tests encode and decode every call and message on its way",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--loopback"):
        os.environ["TEST_LOOPBACK"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the long versions their time."""
    if os.environ.get("PYLON_LONG"):
        for item in items:
            item.add_marker(pytest.mark.timeout(LONG_SECONDS), append=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app of `tests/blackbox/app.py` by production rules."""
    with serving(BLACKBOX_APP, tmp_path_factory.mktemp("server") / "app.db") as running:
        yield running


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[httpx.Client]:
    """The administrator."""
    with server.client(ADMIN_TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def ann(server: Server) -> Iterator[httpx.Client]:
    """A user."""
    with server.client(server.token_of("ann")) as client:
        yield client


@pytest.fixture(scope="module")
def bob(server: Server) -> Iterator[httpx.Client]:
    """Another user."""
    with server.client(server.token_of("bob")) as client:
        yield client


@pytest.fixture(scope="module")
def nobody(server: Server) -> Iterator[httpx.Client]:
    """An anonymous caller."""
    with server.client() as client:
        yield client
