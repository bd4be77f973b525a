"""A request's path as it may stand in logs and errors: without what could be a token.

Pure. Query strings, headers and bodies are never written anywhere; a path is, and links of mails
and invitations carry their token there, also to servers that do not know such a route. Called by
the access log, the pipeline and the router.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"

_BEFORE_TOKENS: Final = frozenset(
    {
        *("accept", "access_token", "activate", "activation", "apikey", "auth", "bearer"),
        *("callback", "code", "confirm", "confirmation", "grant", "id_token", "invitation"),
        *("invitations",),
        *("invite", "invites", "jwt", "key", "link", "login", "magic", "magic-link", "magiclink"),
        *("otp", "password", "recover", "recovery", "refresh", "refresh_token", "reset"),
        *("reset-password", "secret", "session", "sessions", "share", "shared", "sso", "ticket"),
        *("token", "tokens", "unsubscribe", "verification", "verify", "verify-email", "webhook"),
    }
)
"""Words behind which the next part of a path is taken for a token, unless it is a plain word."""

_ROWS: Final = ("/api/entities/", "/api/crdt/")
"""Where an id stands behind the name of an entity, which may be any word."""

_PLAIN: Final = re.compile(r"[a-z]+(?:[-_][a-z]+)*|[A-Za-z]{1,15}|\d{1,4}|v\d", re.ASCII)
"""A part that says something to people: no token is written in words."""

_ROW_ID: Final = r"(?:[0-9a-f]{40}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"

_TOKEN: Final = re.compile(
    r"pylon_[0-9a-f]{8,}"  # sessions
    r"|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"  # JSON web tokens
    rf"|(?<![\w-])(?!{_ROW_ID}(?![\w-]))"
    r"(?:[0-9A-Fa-f]{48,}|(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{24,})(?![\w.-])",
    re.ASCII,
)
"""What programs print for tokens, wherever it stands; ids of rows and names of files are none."""

_SUSPECT: Final = re.compile(
    rf"[%=;]|/(?:{'|'.join(map(re.escape, sorted(_BEFORE_TOKENS)))})/|{_TOKEN.pattern}",
    re.ASCII | re.IGNORECASE,
)
"""Whether a path needs a closer look; most need none."""


def shown_path(path: str, secrets: Sequence[str] = ()) -> str:
    """The path, as sent, with `***` in place of each part that could be a token, or that holds one
    of `secrets`."""
    if _SUSPECT.search(path) is None and not any(secret in path for secret in secrets):
        return path
    parts = path.split("/")
    before, names_rows = "", path.startswith(_ROWS)
    for number, part in enumerate(parts):
        text = unquote(part, errors="replace") if "%" in part else part
        is_token = _TOKEN.search(text) is not None or (
            before in _BEFORE_TOKENS and not names_rows and _PLAIN.fullmatch(text) is None
        )
        if text and (is_token or any(secret in text for secret in secrets)):
            parts[number] = MASK
        elif "=" in text:
            parts[number] = f"{text.partition('=')[0]}={MASK}"
        before = text.lower()
    return "/".join(parts)
