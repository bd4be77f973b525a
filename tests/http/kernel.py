"""A small app built from the kernel alone, and a real server to put it on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from pylon import limits
from pylon.clock import SystemClock
from pylon.config import Config
from pylon.errors import PylonError
from pylon.http.access_log import AccessLog
from pylon.http.body_limit import BodyLimit
from pylon.http.compression import Compression
from pylon.http.cors import Cors
from pylon.http.csrf import CsrfCheck
from pylon.http.finish import Finish
from pylon.http.pipeline import Pipeline, Stage
from pylon.http.probes import Probes
from pylon.http.rate_limit import RateLimit, RateLimiter
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response, StreamResponse, json_response
from pylon.http.router import Router
from pylon.http.unsent import Unsent
from pylon.identity import ADMIN
from pylon.metrics import Metrics

ADMIN_TOKEN = "correct-horse-battery"
ANY = ("*",)
DEV = Config.from_env(
    {}, dev_mode=True, admin_token=ADMIN_TOKEN, cors_origins=ANY, csrf_origins=ANY
)


@dataclass(kw_only=True)
class Kernel:
    """The app and what tests look at."""

    app: Pipeline
    unsent: Unsent
    metrics: Metrics
    access_lines: list[str] = field(default_factory=list)
    stream_closed: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    port: int = 0


async def _echo(request: Request) -> Response:
    return json_response({"got": await request.json()}, 201)


async def _text(request: Request) -> Response:
    return json_response({"text": await request.text()})


async def _params(_request: Request, *params: str) -> Response:
    return json_response(params)


async def _who(request: Request) -> Response:
    return json_response(
        {
            "client": request.client,
            "id": request.id,
            "is_admin": request.identity.is_admin,
            "is_local": request.is_local,
            "limit": request.query_int("limit", default=None, maximum=100),
            "q": request.query("q"),
            "cookie": request.cookie("app_session"),
        }
    )


async def _boom(_request: Request) -> Response:
    raise RuntimeError("the inside of the server")


async def _refuse(_request: Request) -> Response:
    raise PylonError(429, "SLOW_DOWN", "slow down", retry_after_secs=7)


async def _large(request: Request, path: str) -> Response:
    """A body of the asked type and size; what it says repeats itself."""
    size = request.query_int("size", default=None) or 100_000
    return Response(
        200,
        (b'{"title":"to be or not to be"},' * (size // 20))[:size],
        content_type=(request.query("type") or "application/json").encode(),
        headers=[(b"etag", b'"1-2"')] if path == "page" else (),
    )


def _identify(request: Request) -> None:
    if request.bearer() == ADMIN_TOKEN:
        request.identity = ADMIN


async def _wait(request: Request) -> AnyResponse | None:
    await asyncio.sleep(0)
    return json_response({"waited": True}) if request.path == "/waited" else None


def _on_request(request: Request) -> Any:
    return _wait(request) if request.query("wait") else None


def build(config: Config) -> Kernel:
    """Every stage of the kernel, and routes that show what reached them."""
    clock = SystemClock()
    metrics = Metrics()
    router = Router()
    access_lines: list[str] = []
    access_log = AccessLog(clock, write=access_lines.append)
    limiter = RateLimiter(
        requests_max=config.rate_limit_max,
        window_seconds=config.rate_limit_window_seconds,
        clock=clock,
    )
    stages: tuple[Stage, ...] = (
        Probes(
            metrics=metrics,
            clock=clock,
            version="9.9",
            dev_mode=config.dev_mode,
            admin_token=config.admin_token,
            readiness=lambda: {"database": True},
        ),
        RateLimit(limiter),
        CsrfCheck(config.csrf_origins, exempt_prefixes=("/api/webhooks/",)),
        _identify,
        BodyLimit({}, anonymous=limits.BODY_BYTES_MAX),
        _on_request,
    )
    unsent = Unsent(
        clock,
        total_max=config.unsent_bytes_max,
        per_address_max=config.unsent_bytes_per_address_max,
    )
    kernel = Kernel(
        unsent=unsent,
        app=Pipeline(
            stages=stages,
            router=router,
            finish=Finish(
                cors=Cors(config.cors_origins),
                metrics=metrics,
                clock=clock,
                access_log=access_log,
            ),
            clock=clock,
            compression=Compression(config.gzip_level, paths_apart=("/api/large/apart",)),
            unsent=unsent,
            trusted_proxy_hops=config.trusted_proxy_hops,
        ),
        metrics=metrics,
        access_lines=access_lines,
    )

    async def stream(_request: Request) -> StreamResponse:
        async def ticks() -> AsyncIterator[bytes]:
            try:
                yield b"data: one\n\n"
                await asyncio.sleep(60)
            finally:
                kernel.stream_closed.set()

        return StreamResponse(200, ticks())

    async def short_stream(_request: Request) -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            yield b""
            yield b"b"

        return StreamResponse(200, parts(), content_type=b"text/plain")

    async def rows_stream(request: Request) -> StreamResponse:
        size = request.query_int("size", default=None) or 100_000

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(size // 1_000):
                yield b'{"title":"to be or not to be"},'.ljust(1_000)

        return StreamResponse(
            200, parts(), content_type=b"application/json", held_bytes=70_000, may_compress=True
        )

    async def torn_stream(_request: Request) -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            raise RuntimeError("torn")

        return StreamResponse(200, parts())

    router.add("POST", "/api/echo", _echo)
    router.add("POST", "/api/text", _text)
    router.add("POST", "/api/webhooks/{name}", _params)
    router.add("GET", "/api/things/{kind}/cursor", _params)
    router.add("GET", "/api/things/{kind}/{id*}", _params)
    router.add("DELETE", "/api/things/{kind}/{id*}", _params)
    router.add("GET", "/api/who", _who)
    router.add("POST", "/api/who", _who)
    router.add("GET", "/api/large/{path*}", _large)
    router.add("GET", "/api/boom", _boom)
    router.add("GET", "/api/refuse", _refuse)
    router.add("GET", "/api/stream", stream)
    router.add("GET", "/api/stream/short", short_stream)
    router.add("GET", "/api/stream/torn", torn_stream)
    router.add("GET", "/api/stream/rows", rows_stream)
    return kernel


@contextmanager
def served(config: Config, *, http: Any = "httptools") -> Iterator[Kernel]:
    """The app on a free port of 127.0.0.1, in a thread, until the block ends."""
    kernel = build(config)
    server = uvicorn.Server(
        uvicorn.Config(
            kernel.app,
            host="127.0.0.1",
            port=0,
            http=http,
            ws="none",
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive() or server.started, "the server did not start"
    kernel.port = server.servers[0].sockets[0].getsockname()[1]
    kernel.url = f"http://127.0.0.1:{kernel.port}"
    try:
        yield kernel
    finally:
        server.should_exit = True
        thread.join(10)
