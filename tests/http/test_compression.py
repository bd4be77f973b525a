"""Large bodies as gzip: for whom, of what, and what is left alone."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from pylon import limits
from pylon.config import Config
from pylon.http.compression import takes_gzip
from tests.http.kernel import DEV

PLAIN = {"accept-encoding": "identity"}


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (b"gzip", True),
        (b"gzip, deflate, br, zstd", True),
        (b"br;q=1.0, GZIP;q=0.5, *;q=0", True),
        (b"deflate , gzip ; q=0.001", True),
        (b"", False),
        (b"*", False),
        (b"identity", False),
        (b"br, deflate", False),
        (b"x-gzip2", False),
        (b"gzip;q=0", False),
        (b"gzip; Q = 0.000, br", False),
    ],
)
def test_who_takes_gzip(header: bytes, takes: bool) -> None:
    assert takes_gzip(header) is takes


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_a_stream_of_rows_is_compressed_and_others_are_not(client: httpx.Client, size: int) -> None:
    path = f"/api/stream/rows?size={size}"
    plain = client.get(path, headers=PLAIN)
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "accept-encoding"
    packed = client.get(path)
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert len(packed.content) == size
    assert "content-encoding" not in client.get("/api/stream/short").headers


@pytest.mark.parametrize(
    "size", [limits.GZIP_BYTES_MIN, limits.GZIP_BYTES_ON_LOOP_MAX + 1, 900_000]
)
@pytest.mark.parametrize(
    "kind", ["application/json", "text/javascript; charset=utf-8", "image/svg+xml"]
)
def test_large_text_is_compressed(client: httpx.Client, size: int, kind: str) -> None:
    path = f"/api/large/x?size={size}&type={kind.replace('+', '%2B')}"
    plain = client.get(path, headers=PLAIN)
    assert "content-encoding" not in plain.headers
    assert len(plain.content) == size == int(plain.headers["content-length"])
    with client.stream("GET", path) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-type"] == kind
    assert int(packed.headers["content-length"]) == len(raw) < size / 10
    assert gzip.decompress(raw) == plain.content
    for answer in (plain, packed):
        assert "accept-encoding" in answer.headers.get_list("vary", split_commas=True)
    head = client.head(path)
    assert head.headers["content-length"] == str(len(raw))


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/api/large/x?size={limits.GZIP_BYTES_MIN - 1}", {}),
        ("/api/large/x?type=image/png", {}),
        ("/api/large/apart/x", {}),
        ("/api/large/x", {"sec-fetch-site": "cross-site", "cookie": "app_session=a"}),
    ],
    ids=["small", "an image", "a path apart", "asked by a foreign page"],
)
def test_what_is_left_alone(client: httpx.Client, path: str, headers: dict[str, str]) -> None:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers
    assert "accept-encoding" not in answer.headers.get_list("vary", split_commas=True)


def test_an_entity_tag_of_other_bytes_is_weak(client: httpx.Client) -> None:
    assert client.get("/api/large/page").headers["etag"] == 'W/"1-2"'
    assert client.get("/api/large/page", headers=PLAIN).headers["etag"] == '"1-2"'


def test_it_can_be_switched_off(serve: Callable[[Config], httpx.Client]) -> None:
    client = serve(replace(DEV, gzip_level=0))
    assert "content-encoding" not in client.get("/api/large/x").headers
