"""The routes under `/api/auth/`, over a real socket: pipeline, stage, routes and a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from pylon import limits
from pylon.api.auth.sessions import AuthRoutes, guest_allowance
from pylon.auth.sessions import AUTH_TABLES
from pylon.clock import ManualClock
from pylon.config import Config
from pylon.http.body_limit import BodyLimit
from pylon.http.cors import Cors
from pylon.http.csrf import CsrfCheck
from pylon.http.finish import Finish
from pylon.http.pipeline import Pipeline
from pylon.http.rate_limit import Allowance, RateLimit, RateLimiter
from pylon.http.router import Router
from pylon.metrics import Metrics
from pylon.store.sqlite.store import SqliteStore, open_store
from tests.auth.processes import sessions_on

ADMIN_TOKEN = "correct-horse-battery"
ADMIN = {"authorization": f"Bearer {ADMIN_TOKEN}"}
ORIGIN = {"origin": "https://app.example"}
FORWARDED = {"x-forwarded-for": "203.0.113.9"}
COOKIE = "todo_session"
CLEARED = f"{COOKIE}=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0"
ANONYMOUS: dict[str, Any] = {"user_id": None, "is_admin": False, "roles": []}
NOBODY = {"session": ANONYMOUS, "user": None}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def by_cookie(token: str) -> dict[str, str]:
    return {"cookie": f"other=1; {COOKIE}={token}", **ORIGIN}


def set_cookie(token: str) -> str:
    return f"{COOKIE}={token}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=2592000"


def limiter_of(most: Allowance, clock: ManualClock) -> RateLimiter:
    return RateLimiter(
        requests_max=most.requests_max, window_seconds=most.window_seconds, clock=clock
    )


def build(store: SqliteStore, clock: ManualClock, *, is_dev: bool) -> Pipeline:
    """What the composition root does for this family of routes."""
    config = Config(dev_mode=is_dev, admin_token=ADMIN_TOKEN)
    guests = limiter_of(guest_allowance(is_dev=is_dev), clock)
    auth = AuthRoutes(sessions_on(store, clock), config, app_name="todo", guests=guests)
    router = Router()
    auth.register(router)
    # One request a minute for all but the administrator when `X-Limited` is on, to see `is_admin`.
    strict = RateLimit(
        RateLimiter(requests_max=1, window_seconds=60, clock=clock), is_exempt=auth.is_admin
    )
    return Pipeline(
        stages=(
            lambda request: strict(request) if b"x-limited" in request.headers else None,
            CsrfCheck(("https://app.example",)),
            auth.identify,
            BodyLimit({}),
        ),
        router=router,
        finish=Finish(cors=Cors(("https://app.example",)), metrics=Metrics(), clock=clock),
        clock=clock,
    )


@asynccontextmanager
async def serving(app: Pipeline) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` on a free port of this machine."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        log_config=None,
        access_log=False,
    )
    config.load()
    server = uvicorn.Server(config)
    # `serve` would take over the signals and poll; the two halves of it are all that is needed.
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False
    ) as http:
        yield http
    await server.shutdown()


Start = Callable[..., Any]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def start(clock: ManualClock) -> AsyncIterator[Start]:
    """`await start(is_dev=...)` serves an app and returns a client of it."""
    async with AsyncExitStack() as stack:

        async def run(*, is_dev: bool = True) -> httpx.AsyncClient:
            store = open_store(None, tables={"auth": AUTH_TABLES})
            stack.push_async_callback(store.close)
            return await stack.enter_async_context(serving(build(store, clock, is_dev=is_dev)))

        yield run


@pytest.fixture
async def dev(start: Start) -> httpx.AsyncClient:
    client: httpx.AsyncClient = await start(is_dev=True)
    return client


@pytest.fixture
async def production(start: Start) -> httpx.AsyncClient:
    client: httpx.AsyncClient = await start(is_dev=False)
    return client


async def mint(http: httpx.AsyncClient, user_id: str = "u1") -> str:
    answer = await http.post("/api/auth/session", json={"user_id": user_id}, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


async def me(http: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    answer = await http.get("/api/auth/me", headers=headers)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def is_error(answer: httpx.Response, status: int, code: str, message: str | None = None) -> bool:
    error = answer.json()["error"]
    return (answer.status_code, error["code"]) == (status, code) and (
        message is None or error["message"] == message
    )


# --- Who am I --------------------------------------------------------------------------------


async def test_me_tells_each_kind_of_caller(production: httpx.AsyncClient) -> None:
    assert await me(production, {}) == ANONYMOUS
    assert await me(production, bearer("nonsense")) == ANONYMOUS
    assert await me(production, ADMIN) == {
        "user_id": "__admin__",
        "is_admin": True,
        "roles": ["admin"],
    }
    user = {"user_id": "u1", "is_admin": False, "roles": []}
    token = await mint(production)
    assert await me(production, bearer(token)) == user
    assert await me(production, by_cookie(token)) == user
    assert (await production.get("/api/auth/me?x=1", headers=bearer(token))).json() == user
    session = await production.get("/api/auth/session", headers=bearer(token))
    assert session.json() == {"session": user, "user": None}
    assert (await production.get("/api/auth/session")).json() == NOBODY


async def test_a_bearer_wins_and_shuts_the_cookie_out(production: httpx.AsyncClient) -> None:
    first, second = await mint(production, "u1"), await mint(production, "u2")
    both = {**by_cookie(first), **bearer(second)}
    assert (await me(production, both))["user_id"] == "u2"
    assert await me(production, {**by_cookie(first), **bearer("nonsense")}) == ANONYMOUS
    basic = {**by_cookie(first), "authorization": "Basic dTpw"}
    assert (await me(production, basic))["user_id"] == "u1"


async def test_the_admin_token_in_a_cookie_is_nobody(production: httpx.AsyncClient) -> None:
    assert await me(production, by_cookie(ADMIN_TOKEN)) == ANONYMOUS
    assert await me(production, by_cookie("")) == ANONYMOUS


async def test_cookies_split_over_headers_are_joined(production: httpx.AsyncClient) -> None:
    token = await mint(production)
    split = [("cookie", f"{COOKIE}={token}"), ("cookie", "theme=dark")]
    answer = await production.get("/api/auth/me", headers=split)
    assert answer.json()["user_id"] == "u1"


async def test_the_administrator_may_be_exempt_from_the_rate_limit(
    production: httpx.AsyncClient,
) -> None:
    limited = {"x-limited": "1"}
    token = await mint(production)
    assert (await production.get("/api/auth/me", headers=limited)).status_code == 200
    for others in ({}, bearer(token), by_cookie(token), by_cookie(ADMIN_TOKEN)):
        answer = await production.get("/api/auth/me", headers={**others, **limited})
        assert is_error(answer, 429, "RATE_LIMITED")
    for _ in range(3):
        assert (await me(production, {**ADMIN, **limited}))["is_admin"] is True


# --- Guests ----------------------------------------------------------------------------------


async def test_a_guest_needs_no_body(production: httpx.AsyncClient) -> None:
    answer = await production.post("/api/auth/guest")
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers
    body = answer.json()
    assert body.keys() == {"token", "user_id", "guest"}
    assert body["guest"] is True
    assert body["user_id"].startswith("guest_")
    assert await me(production, bearer(body["token"])) == {
        "user_id": body["user_id"],
        "is_admin": False,
        "is_guest": True,
        "roles": [],
    }


async def test_a_guest_from_a_page_gets_the_cookie(production: httpx.AsyncClient) -> None:
    answer = await production.post("/api/auth/guest", headers=ORIGIN, content=b"not json")
    assert answer.status_code == 201
    assert answer.headers["set-cookie"] == set_cookie(answer.json()["token"])


async def test_guests_are_capped_per_address(
    production: httpx.AsyncClient, clock: ManualClock
) -> None:
    for _ in range(limits.GUESTS_PER_ADDRESS_MAX):
        assert (await production.post("/api/auth/guest")).status_code == 201
    refused = await production.post("/api/auth/guest")
    assert is_error(refused, 429, "RATE_LIMITED")
    wait = int(refused.headers["retry-after"])
    assert wait >= 1
    assert (await production.post("/api/auth/guest", headers=ADMIN)).status_code == 201
    clock.advance(wait)
    assert (await production.post("/api/auth/guest")).status_code == 201


def test_guests_are_hardly_capped_in_dev(clock: ManualClock) -> None:
    guests = limiter_of(guest_allowance(is_dev=True), clock)
    assert not any(guests.hit("a") for _ in range(10 * limits.GUESTS_PER_ADDRESS_MAX))


# --- Minting and upgrading -------------------------------------------------------------------


async def test_minting_is_for_dev_on_this_machine_or_the_admin(
    dev: httpx.AsyncClient, production: httpx.AsyncClient
) -> None:
    user = {"user_id": "u1"}
    for path in ("/api/auth/session", "/api/auth/upgrade"):
        message = f"{path} requires admin auth in non-dev mode"
        refused = await production.post(path, content=b"not json")
        assert is_error(refused, 403, "FORBIDDEN", message)
        refused = await production.post(path, json=user, headers=bearer(await mint(production)))
        assert is_error(refused, 403, "FORBIDDEN", message)
        refused = await dev.post(path, json=user, headers=FORWARDED)
        assert is_error(refused, 403, "FORBIDDEN", message)
    for client, headers in ((dev, {}), (dev, {**FORWARDED, **ADMIN}), (production, ADMIN)):
        answer = await client.post("/api/auth/session", json=user, headers={**headers, **ORIGIN})
        assert answer.status_code == 201
        assert answer.json().keys() == {"token", "user_id"}
        assert answer.json()["user_id"] == "u1"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/api/auth/session", "/api/auth/upgrade"])
@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", "INVALID_JSON", "Invalid request body"),
        (b"{", "INVALID_JSON", "Invalid request body"),
        (b'{"user_id": "\xff"}', "INVALID_JSON", "Invalid request body"),
        (b"{}", "MISSING_USER_ID", "user_id is required"),
        (b"[]", "MISSING_USER_ID", "user_id is required"),
        (b"null", "MISSING_USER_ID", "user_id is required"),
        (b'{"user_id": 7}', "MISSING_USER_ID", "user_id is required"),
        (b'{"user_id": null}', "MISSING_USER_ID", "user_id is required"),
    ],
)
async def test_bad_bodies(
    dev: httpx.AsyncClient, path: str, body: bytes, code: str, message: str
) -> None:
    assert is_error(await dev.post(path, content=body), 400, code, message)


async def test_an_absurd_body_is_refused(dev: httpx.AsyncClient) -> None:
    body = {"user_id": "x" * limits.AUTH_BODY_BYTES_MAX}
    assert is_error(await dev.post("/api/auth/session", json=body), 413, "PAYLOAD_TOO_LARGE")


async def test_a_guest_is_upgraded_in_place(dev: httpx.AsyncClient) -> None:
    token = (await dev.post("/api/auth/guest")).json()["token"]
    answer = await dev.post("/api/auth/upgrade", json={"user_id": "u1"}, headers=bearer(token))
    assert (answer.status_code, answer.json()) == (200, {"upgraded": True, "user_id": "u1"})
    assert await me(dev, bearer(token)) == {"user_id": "u1", "is_admin": False, "roles": []}
    for headers in ({}, bearer("nonsense"), ADMIN):
        refused = await dev.post("/api/auth/upgrade", json={"user_id": "u1"}, headers=headers)
        assert is_error(refused, 400, "UPGRADE_FAILED", "No valid session to upgrade")


# --- Logout and refresh ----------------------------------------------------------------------


async def test_logout_revokes_and_always_clears_the_cookie(production: httpx.AsyncClient) -> None:
    for headers_of in (bearer, by_cookie):
        headers = headers_of(await mint(production))
        answer = await production.request("DELETE", "/api/auth/session", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"revoked": True})
        assert answer.headers["set-cookie"] == CLEARED
        assert await me(production, headers) == ANONYMOUS
    for nobody in ({}, ADMIN, bearer("nonsense")):
        answer = await production.delete("/api/auth/session", headers=nobody)
        assert (answer.status_code, answer.json()) == (200, {"revoked": True})
        assert answer.headers["set-cookie"] == CLEARED


async def test_a_foreign_page_cannot_sign_anyone_out(production: httpx.AsyncClient) -> None:
    headers = by_cookie(await mint(production))
    answer = await production.delete(
        "/api/auth/session", headers={**headers, "origin": "https://evil.example"}
    )
    assert is_error(answer, 403, "CSRF_REJECTED")
    assert (await me(production, headers))["user_id"] == "u1"


async def test_refresh_rotates_the_token(production: httpx.AsyncClient, clock: ManualClock) -> None:
    token = await mint(production)
    clock.advance(100)
    answer = await production.post("/api/auth/refresh", headers={**bearer(token), **ORIGIN})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    body = answer.json()
    assert body.keys() == {"token", "user_id", "expires_at"}
    assert body["user_id"] == "u1"
    assert body["token"] != token
    assert body["expires_at"] == int(clock.now()) + limits.SESSION_SECONDS
    assert (await me(production, bearer(token)))["user_id"] == "u1"
    clock.advance(limits.SESSION_GRACE_SECONDS)
    assert await me(production, bearer(token)) == ANONYMOUS
    assert (await me(production, bearer(body["token"])))["user_id"] == "u1"


async def test_two_tabs_refresh_a_cookie_at_once(production: httpx.AsyncClient) -> None:
    headers = by_cookie(await mint(production))
    answers = await asyncio.gather(
        *(production.post("/api/auth/refresh", headers=headers) for _ in range(8))
    )
    tokens = {answer.json()["token"] for answer in answers}
    assert len(tokens) == 1
    assert {answer.headers["set-cookie"] for answer in answers} == {set_cookie(tokens.pop())}


async def test_refresh_without_a_session(production: httpx.AsyncClient, clock: ManualClock) -> None:
    answer = await production.post("/api/auth/refresh")
    assert is_error(answer, 401, "AUTH_REQUIRED", "No session to refresh")
    token = await mint(production)
    clock.advance(limits.SESSION_SECONDS)
    for headers in (bearer(token), bearer("nonsense"), ADMIN):
        answer = await production.post("/api/auth/refresh", headers=headers)
        assert is_error(answer, 401, "SESSION_EXPIRED", "Session is expired or invalid")


# --- The list --------------------------------------------------------------------------------


async def test_sessions_are_listed_for_their_user(
    production: httpx.AsyncClient, clock: ManualClock
) -> None:
    answer = await production.post(
        "/api/auth/session",
        json={"user_id": "u1"},
        headers={**ADMIN, "user-agent": "Mozilla/5.0 (X11; Linux) Firefox/130.0"},
    )
    first = answer.json()["token"]
    clock.advance(5)
    second = await mint(production)
    await mint(production, "u2")
    made = int(clock.now())
    listed = (await production.get("/api/auth/sessions", headers=bearer(second))).json()
    assert [each.pop("id") is not None for each in listed] == [True, True]
    assert listed == [
        {
            "token_prefix": second[:8],
            "user_id": "u1",
            "device": "Python",
            "created_at": made,
            "expires_at": made + limits.SESSION_SECONDS,
            "current": True,
            "last_seen_at": made,
        },
        {
            "token_prefix": first[:8],
            "user_id": "u1",
            "device": "Firefox on Linux",
            "created_at": made - 5,
            "expires_at": made - 5 + limits.SESSION_SECONDS,
            "current": False,
            "last_seen_at": made - 5,
        },
    ]
    assert (await production.get("/api/auth/sessions", headers=ADMIN)).json() == []


async def test_one_session_is_ended_by_its_id(production: httpx.AsyncClient) -> None:
    mine, other, stranger = [await mint(production, user) for user in ("u1", "u1", "u2")]
    listed = (await production.get("/api/auth/sessions", headers=bearer(mine))).json()
    ids = {each["current"]: each["id"] for each in listed}
    for wrong, headers in (
        ("nonsense", bearer(mine)),
        ("00" * 32, bearer(mine)),
        (ids[False], bearer(stranger)),
    ):
        refused = await production.delete(f"/api/auth/sessions/{wrong}", headers=headers)
        assert is_error(refused, 404, "NOT_FOUND")
    answer = await production.delete(f"/api/auth/sessions/{ids[False]}", headers=bearer(mine))
    assert (answer.status_code, answer.json()) == (200, {"revoked": True})
    assert "set-cookie" not in answer.headers
    assert await me(production, bearer(other)) == ANONYMOUS
    answer = await production.delete(f"/api/auth/sessions/{ids[True]}", headers=bearer(mine))
    assert answer.headers["set-cookie"] == CLEARED
    assert await me(production, bearer(mine)) == ANONYMOUS


async def test_all_sessions_are_ended(production: httpx.AsyncClient) -> None:
    tokens = [await mint(production) for _ in range(3)]
    stranger = await mint(production, "u2")
    answer = await production.delete("/api/auth/sessions", headers=bearer(tokens[0]))
    assert (answer.status_code, answer.json()) == (200, {"revoked_count": 3})
    assert answer.headers["set-cookie"] == CLEARED
    for token in tokens:
        assert await me(production, bearer(token)) == ANONYMOUS
    assert (await me(production, bearer(stranger)))["user_id"] == "u2"


async def test_the_list_is_not_for_anonymous_callers(production: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/api/auth/sessions"),
        ("DELETE", "/api/auth/sessions"),
        ("DELETE", "/api/auth/sessions/00"),
    ):
        answer = await production.request(method, path)
        assert is_error(answer, 401, "AUTH_REQUIRED", "Login required")


# --- Durability ------------------------------------------------------------------------------


async def test_sessions_survive_a_restart_and_logouts_too(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "app.db"
    store = open_store(path, tables={"auth": AUTH_TABLES})
    async with serving(build(store, clock, is_dev=False)) as http:
        kept, ended = await mint(http, "u1"), await mint(http, "u2")
        assert (await http.delete("/api/auth/session", headers=bearer(ended))).status_code == 200
    await store.close()
    store = open_store(path, tables={"auth": AUTH_TABLES})
    async with serving(build(store, clock, is_dev=False)) as http:
        assert (await me(http, bearer(kept)))["user_id"] == "u1"
        assert await me(http, bearer(ended)) == ANONYMOUS
    await store.close()
