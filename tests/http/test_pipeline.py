"""The pipeline over real sockets: bad input, errors, methods, streams, headers, counting."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import httpx
import pytest

from pylon import limits
from tests.http.kernel import ADMIN_TOKEN, Kernel


def code_of(response: httpx.Response) -> str:
    error: dict[str, Any] = response.json()["error"]
    assert isinstance(error["message"], str)
    return str(error["code"])


def raw(kernel: Kernel, request: bytes) -> bytes:
    """Send bytes as they are and read until the server closes."""
    with socket.create_connection(("127.0.0.1", kernel.port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a":}', b"NaN", b'"\xff"', b"\xfe\xff", b'{"a":1}x', b"[" * 50_000],
    ids=["empty", "open", "no-value", "nan", "bad-utf8", "no-utf8", "trailing", "deep"],
)
def test_malformed_json_is_refused(client: httpx.Client, body: bytes) -> None:
    response = client.post("/api/echo", content=body)
    assert (response.status_code, code_of(response)) == (400, "INVALID_JSON")


@pytest.mark.parametrize(
    "body",
    ['"\\ud800"', '{"\\udfff":1}', "1e400", "-0", '"\\u0000"', "123456789012345678901234567890"],
)
def test_json_at_its_edges_is_no_server_error(client: httpx.Client, body: str) -> None:
    assert client.post("/api/echo", content=body).status_code in (201, 400)


def test_json_is_read_whatever_the_content_type(client: httpx.Client) -> None:
    response = client.post("/api/echo", content='{"a":"é"}', headers={"content-type": "text/x"})
    assert response.status_code == 201
    assert response.json() == {"got": {"a": "é"}}
    assert response.headers["content-type"] == "application/json"


def test_chunked_body_is_joined(client: httpx.Client) -> None:
    response = client.post("/api/echo", content=iter([b'{"a"', b":", b"1}"]))
    assert response.json() == {"got": {"a": 1}}


def test_bad_utf8_text_is_refused(client: httpx.Client) -> None:
    response = client.post("/api/text", content=b"\xc3\x28")
    assert (response.status_code, code_of(response)) == (400, "INVALID_UTF8")


def test_declared_length_is_refused_unread(kernel: Kernel) -> None:
    length = limits.BODY_BYTES_MAX + 1
    head = f"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    answer = raw(kernel, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"PAYLOAD_TOO_LARGE" in answer
    assert b"connection: close" in answer.lower()
    assert b"access-control-allow-origin: *" in answer.lower()


def test_chunked_body_beyond_the_limit_is_refused(client: httpx.Client) -> None:
    piece = b"x" * 1_048_576
    count = limits.BODY_BYTES_MAX // len(piece) + 1
    try:
        response = client.post("/api/echo", content=(piece for _ in range(count)))
    except (httpx.WriteError, httpx.ReadError):
        return  # refused and cut while we were still sending
    assert (response.status_code, code_of(response)) == (413, "PAYLOAD_TOO_LARGE")


def test_largest_body_is_accepted(client: httpx.Client) -> None:
    response = client.post("/api/text", content=b"x" * limits.BODY_BYTES_MAX)
    assert response.status_code == 200
    assert len(response.json()["text"]) == limits.BODY_BYTES_MAX


def test_broken_chunks_leave_the_server_standing(kernel: Kernel, client: httpx.Client) -> None:
    head = b"POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw(kernel, head + b"zz\r\nabc\r\n")
    with socket.create_connection(("127.0.0.1", kernel.port)) as connection:
        connection.sendall(head + b"5\r\nab")  # and gone
    assert client.get("/health").status_code == 200


def test_unknown_path_is_404_with_a_hint(client: httpx.Client) -> None:
    response = client.get("/api/nothing/here?x=1")
    assert (response.status_code, code_of(response)) == (404, "NOT_FOUND")
    assert "/api/things" in response.json()["error"]["hint"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/echo", "OPTIONS, POST"),
        ("PUT", "/api/things/a/b", "DELETE, GET, HEAD, OPTIONS"),
        ("BREW", "/api/who", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_wrong_method_is_405(client: httpx.Client, method: str, path: str, allow: str) -> None:
    try:
        response = client.request(method, path)
    except httpx.RemoteProtocolError:
        pytest.skip("this server closes on unknown methods")
    if method == "BREW" and response.status_code == 400:
        return  # refused by the parser before any app
    assert (response.status_code, code_of(response)) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == allow


def test_head_is_get_without_a_body(client: httpx.Client) -> None:
    got = client.get("/api/things/a/b")
    head = client.head("/api/things/a/b")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(got.content))
    assert client.head("/api/echo").status_code == 405


@pytest.mark.parametrize("path", ["/api/echo", "/api/nothing", "/"])
def test_options_is_204_everywhere(client: httpx.Client, path: str) -> None:
    response = client.options(path)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-max-age"] == "600"
    assert "PUT" in response.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/api/things/a/b", ["a", "b"]),
        ("/api/things/a/b/", ["a", "b"]),
        ("/api/things/a/b/c?x=1", ["a", "b/c"]),
        ("/api/things/a%20b/%C3%A9%2Fx", ["a b", "é/x"]),
        ("/api/%74hings/a/b", ["a", "b"]),
        ("/api/things/a/cursor", ["a"]),
        ("/api/things/a%2Fb/c", ["a/b", "c"]),
    ],
)
def test_segments_are_decoded_after_splitting(
    client: httpx.Client, path: str, params: list[str]
) -> None:
    response = client.get(path)
    assert response.status_code == 200, response.text
    assert response.json() == params


def test_path_that_is_no_text_is_refused(client: httpx.Client) -> None:
    response = client.get("/api/things/a/%FF")
    assert (response.status_code, code_of(response)) == (400, "INVALID_PATH")


def test_an_unexpected_error_tells_an_id_and_nothing_else(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    response = client.get("/api/boom")
    assert (response.status_code, code_of(response)) == (500, "INTERNAL")
    assert "inside" not in response.text
    error = response.json()["error"]
    assert error["request_id"] == response.headers["x-request-id"]
    (record,) = [r for r in caplog.records if r.message == "unhandled exception"]
    assert record.exc_info is not None
    assert record.pylon_fields["request_id"] == error["request_id"]  # type: ignore[attr-defined]
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("path", ["/health", "/api/who", "/api/nothing", "/api/boom", "/metrics"])
def test_every_response_has_the_constant_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert re.fullmatch(r"[0-9a-f]{16}", headers["x-request-id"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-xss-protection"] == "1; mode=block"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["access-control-allow-origin"] == "*"
    assert (
        headers["access-control-expose-headers"]
        == "X-Request-Id, Retry-After, Idempotency-Replayed, X-Pylon-Change-Seq,"
        " X-Pylon-Bearer-Rejected"
    )
    assert "access-control-allow-credentials" not in headers


def test_request_ids_differ(client: httpx.Client) -> None:
    assert client.get("/api/who").json()["id"] != client.get("/api/who").json()["id"]


def test_an_error_can_say_when_to_come_back(client: httpx.Client) -> None:
    response = client.get("/api/refuse")
    assert response.json()["error"]["retry_after_secs"] == 7
    assert response.headers["retry-after"] == "7"


def test_query_cookie_and_identity_reach_the_handler(client: httpx.Client) -> None:
    answer = client.get(
        "/api/who?xlimit=9&limit=500&q=a%20b%2B",
        headers={"authorization": f"Bearer {ADMIN_TOKEN}", "cookie": "x=1; app_session=a=b; y=2"},
    ).json()
    assert answer["limit"] == 100
    assert answer["q"] == "a b+"
    assert answer["cookie"] == "a=b"
    assert answer["is_admin"] is True
    assert answer["is_local"] is True
    assert answer["client"] == "127.0.0.1"


@pytest.mark.parametrize("text", ["-1", "1.5", "abc", "%D9%A1", "%20", "NaN", "1e3"])
def test_a_query_number_that_is_none_is_refused(client: httpx.Client, text: str) -> None:
    error = client.get(f"/api/who?limit={text}").json()["error"]
    assert error["code"] == "INVALID_QUERY"
    assert "limit takes a whole number" in error["message"]


def test_an_empty_query_number_counts_as_absent_and_a_large_one_as_the_largest(
    client: httpx.Client,
) -> None:
    assert client.get("/api/who?limit=").json()["limit"] is None
    assert client.get(f"/api/who?limit={'9' * 30}").json()["limit"] == 100


def test_a_forwarding_header_makes_a_request_not_local(client: httpx.Client) -> None:
    answer = client.get("/api/who", headers={"x-forwarded-for": "1.2.3.4"}).json()
    assert answer["client"] == "127.0.0.1"
    assert answer["is_local"] is False


def test_a_stage_may_wait_and_answer(client: httpx.Client) -> None:
    assert client.get("/waited?wait=1").json() == {"waited": True}
    assert client.get("/api/who?wait=1").status_code == 200


def test_a_stream_flows_and_ends_with_its_client(kernel: Kernel, client: httpx.Client) -> None:
    kernel.stream_closed.clear()
    with client.stream("GET", "/api/stream") as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["access-control-allow-origin"] == "*"
        chunks = response.iter_raw()  # held: a dropped iterator closes the response
        assert next(chunks) == b"data: one\n\n"
        assert not kernel.stream_closed.is_set()
    assert kernel.stream_closed.wait(10)


def test_a_stream_that_ends_is_whole(client: httpx.Client) -> None:
    response = client.get("/api/stream/short")
    assert response.content == b"ab"
    assert client.head("/api/stream/short").content == b""


def test_a_stream_that_fails_is_cut(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/api/stream/torn")
    assert client.get("/health").status_code == 200


def test_a_client_that_leaves_mid_body_is_logged_only(kernel: Kernel, client: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", kernel.port)) as connection:
        connection.sendall(b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    assert client.get("/api/who").status_code == 200


def test_requests_are_counted(kernel: Kernel, client: httpx.Client) -> None:
    while json.loads(client.get("/metrics").content)["in_flight"] != 1:
        pass  # that of somebody who left is counted when the server has heard of it
    before = kernel.metrics.total
    client.get("/api/who")
    client.get("/health")
    client.get("/api/nothing")
    counts = json.loads(client.get("/metrics").content)
    assert counts["requests"]["total"] == before + 2
    assert counts["in_flight"] == 1
    assert set(counts["methods"]) == {"GET", "POST", "PATCH", "DELETE"}
