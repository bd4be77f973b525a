"""The policy of pages: what an operator adds stands beside ours, and nothing else gets in."""

from __future__ import annotations

import pytest

from pylon.page_policy import page_policy, read_sources

OURS = (
    "default-src 'self'; connect-src 'self' <live>; img-src 'self' data: blob:; object-src 'none';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def test_nothing_added() -> None:
    assert page_policy(read_sources(" ; ")) == OURS


@pytest.mark.parametrize(
    ("added", "directive"),
    [
        ("img-src https:", "img-src 'self' data: blob: https:"),
        ("IMG-SRC https: 'self'", "img-src 'self' data: blob: https:"),
        ("connect-src https://a.example", "connect-src 'self' <live> https://a.example"),
        ("frame-ancestors 'self'", "frame-ancestors 'self'"),
        ("script-src 'sha256-aB+/='", "script-src 'self' 'sha256-aB+/='"),
        ("style-src-attr 'unsafe-inline'", "style-src-attr 'self' 'unsafe-inline'"),
        ("font-src a.example; font-src b.example", "font-src 'self' a.example b.example"),
        ("report-uri /csp", "report-uri /csp"),
        ("upgrade-insecure-requests", "upgrade-insecure-requests"),
    ],
)
def test_what_is_added_stands_beside_ours(added: str, directive: str) -> None:
    policy = page_policy(read_sources(added)).split("; ")
    assert directive in policy
    names = [each.partition(" ")[0] for each in policy]
    assert len(set(names)) == len(names)
    assert set(names) >= {each.partition(" ")[0] for each in OURS.split("; ")}


@pytest.mark.parametrize(
    "text", ["https://cdn.example", "script-src a,b", "img-src é", "img-src a\x00", "9 x"]
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="which is no"):
        read_sources(text)
