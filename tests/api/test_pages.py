"""Static pages: what is served from `public/`, with which headers, and what never is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from pylon import Config, Service
from pylon.api import pages
from pylon.page_policy import read_sources
from pylon.schema.model import EntitySpec, FieldSpec, Manifest


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A public folder with a page and secrets beside it."""
    folder = tmp_path / "app" / "public"
    (folder / "docs").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>front</h1>")
    (folder / "docs" / "index.html").write_text("<h1>docs</h1>")
    (folder / "app.js").write_text("export {};")
    (folder / "ünï côde.txt").write_text("text")
    (folder / ".env").write_text("SECRET")
    (folder / "empty").mkdir()
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("SECRET")
    (folder / "api").mkdir()
    (folder / "api" / "fake.json").write_text("SECRET")
    (tmp_path / "app" / "app.py").write_text("SECRET")
    (tmp_path / "app" / "public-too").mkdir()
    (tmp_path / "app" / "public-too" / "x.txt").write_text("SECRET")
    return folder


@pytest.fixture
async def client(public: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service whose app folder is above `public`."""
    text = FieldSpec(name="text", type="string", optional=False, unique=False)
    note = EntitySpec(name="Note", fields=(text,), indexes=())
    manifest = Manifest(name="pages", version="1", entities=(note,), routes=())
    config = Config.from_env({}, in_memory=True)
    service = Service(manifest, config, root=public.parent)
    await service.start()
    transport = httpx.ASGITransport(service, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:4321") as client:
        yield client
    await service.stop()


async def asked(public: Path, path: str, accept: str, **settings: Any) -> httpx.Response:
    """One answer of a service with these settings."""
    config = Config.from_env({}, in_memory=True, **settings)
    manifest = Manifest(name="pages", version="1", entities=(), routes=())
    service = Service(manifest, config, root=public.parent)
    await service.start()
    transport = httpx.ASGITransport(service, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:4321") as client:
        answer = await client.get(path, headers={"accept": accept})
    await service.stop()
    return answer


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("path", ["/projects", "/projects/7/", "/empty/", "/a/b/c"])
async def test_a_browser_gets_the_fallback_where_no_file_is(public: Path, path: str) -> None:
    answer = await asked(public, path, BROWSER, pages_fallback="index.html")
    assert (answer.status_code, answer.text) == (200, "<h1>front</h1>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "content-security-policy" in answer.headers
    assert (await asked(public, path, BROWSER)).status_code == 404


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/api/nothing", BROWSER),
        ("/app.1234.js", BROWSER),
        ("/.env", BROWSER),
        ("/projects", "*/*"),
        ("/projects", "application/json"),
    ],
)
async def test_what_is_for_no_page_is_missed(public: Path, path: str, accept: str) -> None:
    answer = await asked(public, path, accept, pages_fallback="index.html")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"


async def test_files_and_folders_come_before_the_fallback(public: Path) -> None:
    for path, text in (("/docs/", "<h1>docs</h1>"), ("/app.js", "export {};")):
        answer = await asked(public, path, BROWSER, pages_fallback="index.html")
        assert answer.text == text


async def test_sources_are_added_to_the_policy(public: Path) -> None:
    sources = read_sources("script-src https://cdn.example; frame-ancestors https://a.example")
    answer = await asked(public, "/", BROWSER, pages_sources=sources)
    policy = answer.headers["content-security-policy"].split("; ")
    assert "script-src 'self' https://cdn.example" in policy
    assert "frame-ancestors https://a.example" in policy
    assert "connect-src 'self' ws://localhost:* wss://localhost:* http://localhost:*" in policy


async def test_the_printed_addresses_answer(client: httpx.AsyncClient, public: Path) -> None:
    about = (await client.get("/api")).json()
    assert about["name"] == "pages"
    for path in (about["manifest"], about["openapi"], about["health"]):
        assert (await client.get(path)).status_code == 200
    (public / "index.html").unlink()
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "./api")


async def test_the_front_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.text == "<h1>front</h1>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_files_have_their_types(client: httpx.AsyncClient, public: Path) -> None:
    for name, expected in (
        ("app.js", "text/javascript; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.unknown", "application/octet-stream"),
        ("none", "application/octet-stream"),
    ):
        (public / name).write_text("x")
        answer = await client.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == expected


async def test_names_are_decoded(client: httpx.AsyncClient) -> None:
    assert (await client.get("/%C3%BCn%C3%AF%20c%C3%B4de.txt")).text == "text"


async def test_a_folder_is_its_page_with_the_slash(client: httpx.AsyncClient) -> None:
    assert (await client.get("/docs/")).text == "<h1>docs</h1>"
    moved = await client.get("/docs?x=1")
    assert moved.status_code == 308
    assert moved.headers["location"] == "./docs/"
    assert (await client.get("/empty/")).status_code == 404
    assert (await client.get("/app.js/")).status_code == 404


async def test_head_has_the_headers_only(client: httpx.AsyncClient) -> None:
    answer = await client.head("/app.js")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len("export {};"))
    assert answer.content == b""


async def test_a_known_version_is_304(client: httpx.AsyncClient, public: Path) -> None:
    etag = (await client.get("/app.js")).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await client.get("/app.js", headers={"If-None-Match": known})
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == etag
    (public / "app.js").write_text("changed by now")
    changed = await client.get("/app.js", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/.env",
        "/.git/config",
        "/docs/../../app.py",
        "/../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "/%2e%2e%2fapp.py",
        "/..%5capp.py",
        "/../public-too/x.txt",
        "/docs/%2e%2e/%2e%2e/app.py",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/%2Fetc%2Fpasswd",
        "/app.js%00.html",
        "/docs//index.html",
        "/./app.js%2f..%2f.env",
        "/api/fake.json",
        "/" + "a" * 5000,
    ],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    answer = await raw_get(client, path)
    assert answer.status_code == 404, answer.text
    assert answer.json()["error"]["code"] == "NOT_FOUND"
    assert "SECRET" not in answer.text


async def raw_get(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """GET a path as it stands; clients tidy dots away."""
    transport: Any = client._transport
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "scheme": "http",
    }
    await transport.app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return httpx.Response(messages[0]["status"], headers=messages[0]["headers"], content=body)


async def test_links_may_lead_inside_but_not_out(client: httpx.AsyncClient, public: Path) -> None:
    (public / "inside.js").symlink_to(public / "app.js")
    (public / "outside.py").symlink_to(public.parent / "app.py")
    (public / "outfolder").symlink_to(public.parent)
    (public / "hidden.txt").symlink_to(public / ".env")
    assert (await client.get("/inside.js")).text == "export {};"
    for path in ("/outside.py", "/outfolder/app.py", "/hidden.txt"):
        assert (await client.get(path)).status_code == 404


async def test_a_route_without_api_in_front_is_told_of(client: httpx.AsyncClient) -> None:
    answer = await client.get("/entities/Todo")
    assert (answer.status_code, answer.json()["error"]["hint"]) == (
        404,
        "Did you mean /api/entities/Todo?",
    )
    assert "hint" not in (await client.get("/entity/Todo")).json()["error"]


async def test_a_pipe_is_not_waited_for(client: httpx.AsyncClient, public: Path) -> None:
    os.mkfifo(public / "pipe")
    assert (await client.get("/pipe")).status_code == 404


async def test_an_api_path_is_never_a_page(client: httpx.AsyncClient) -> None:
    refused = await client.get("/api/auth/guest")
    assert refused.status_code == 405
    assert "POST" in refused.headers["allow"]
    assert (await client.post("/app.js")).status_code in (404, 405)
    assert (await client.get("/api/auth/me")).status_code == 200


async def test_a_large_file_is_streamed_whole(
    client: httpx.AsyncClient, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES_WHOLE_MAX", 10)
    monkeypatch.setattr(pages, "PAGE_CHUNK_BYTES", 7)
    content = bytes(range(256)) * 3
    (public / "large.bin").write_bytes(content)
    answer = await client.get("/large.bin")
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    head = await client.head("/large.bin")
    assert head.headers["content-length"] == str(len(content))


async def test_an_unknown_api_path_is_told_where_routes_start(client: httpx.AsyncClient) -> None:
    error = (await client.get("/api/nope")).json()["error"]
    assert "/api/entities" in error["hint"]
    assert "{" not in error["hint"]
    assert "hint" not in (await client.get("/nope")).json()["error"]


async def test_without_a_public_folder_there_are_no_pages(
    client: httpx.AsyncClient, public: Path
) -> None:
    os.rename(public, public.parent / "private")
    assert (await client.get("/")).headers["location"] == "./api"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("todo.example.com", "connect-src 'self' ws://todo.example.com:* wss://todo.example.com:*"),
        ("127.0.0.1:4321", "connect-src 'self' ws://127.0.0.1:* wss://127.0.0.1:*"),
        ("[::1]:4321", "connect-src 'self' ws: wss:;"),
        ("evil.com; script-src *", "connect-src 'self' ws: wss:;"),
    ],
)
async def test_a_page_may_load_its_own_and_live_streams_of_its_host(
    client: httpx.AsyncClient, host: str, expected: str
) -> None:
    policy = (await client.get("/", headers={"Host": host})).headers["content-security-policy"]
    assert expected in policy
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "script-src *" not in policy
