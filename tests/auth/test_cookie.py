"""The exact bytes of `Set-Cookie`."""

from __future__ import annotations

from typing import Literal

import pytest

from pylon.auth.cookie import SessionCookie


@pytest.mark.parametrize(
    ("domain", "secure", "same_site", "between"),
    [
        (None, True, "Lax", "HttpOnly; Secure; SameSite=Lax"),
        ("", False, "Lax", "HttpOnly; SameSite=Lax"),
        (None, False, "Strict", "HttpOnly; SameSite=Strict"),
        (None, False, "None", "HttpOnly; Secure; SameSite=None"),
        ("example.com", True, "Strict", "Domain=example.com; HttpOnly; Secure; SameSite=Strict"),
    ],
)
def test_set_cookie_values(
    domain: str | None, secure: bool, same_site: Literal["Lax", "Strict", "None"], between: str
) -> None:
    cookie = SessionCookie("app_session", domain=domain, secure=secure, same_site=same_site)
    assert (
        cookie.carrying("pylon_ab") == f"app_session=pylon_ab; Path=/; {between}; Max-Age=2592000"
    )
    assert cookie.cleared() == f"app_session=; Path=/; {between}; Max-Age=0"
