"""The kernel's app on a real server: on uvicorn's own HTTP class and on ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from pylon.config import Config
from pylon.http.connection import HttpConnection
from tests.http.kernel import DEV, Kernel, served


@pytest.fixture(scope="package", params=["httptools", HttpConnection], ids=["uvicorn", "ours"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    with served(DEV, http=request.param) as kernel:
        yield kernel


@pytest.fixture
def client(kernel: Kernel) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=kernel.url, trust_env=False, verify=False, timeout=60) as client:
        yield client


@pytest.fixture
def serve() -> Iterator[Callable[[Config], httpx.Client]]:
    """Serve another configuration; a client of it is returned."""
    with ExitStack() as stack:

        def start(config: Config) -> httpx.Client:
            kernel = stack.enter_context(served(config))
            return stack.enter_context(
                httpx.Client(base_url=kernel.url, trust_env=False, verify=False, timeout=60)
            )

        yield start
