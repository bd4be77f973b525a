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

_ROW_ID: Final = re.compile(r"[0-9a-f]{40}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""The id of a row, which is no secret."""

_TOKEN: Final = re.compile(
    r"pylon_[0-9a-f]{8,}"  # sessions
    r"|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"  # JSON web tokens
    rf"|(?<![\w-])(?!(?:{_ROW_ID.pattern})(?![\w-]))"
    r"(?:[0-9A-Fa-f]{48,}|(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{24,})(?![\w.-])",
    re.ASCII,
)
"""What programs print for tokens, wherever it stands; ids of rows and names of files are none."""

_USUAL: Final = re.compile(
    rf"/api/(?:entities/[A-Za-z_]{{1,40}}(?:/(?:{_ROW_ID.pattern}))?|(?:sync|query)/[A-Za-z_]{{1,23}})"
)
"""The paths of most requests, which have nothing to hide: this runs once for each."""

_TOKEN_CHARACTERS_MIN: Final = 14
"""The shortest that `_TOKEN` finds; most parts of paths are shorter, and this runs per request."""


def shown_path(path: str, secrets: Sequence[str] = ()) -> str:
    """The path, as sent, with `***` in place of each part that could be a token, or that holds one
    of `secrets`."""
    if _USUAL.fullmatch(path) is not None:
        for secret in secrets:
            if secret in path:
                break
        else:
            return path
    parts = path.split("/")
    before, names_rows = "", path.startswith(_ROWS)
    is_changed = False
    for number, part in enumerate(parts):
        text = unquote(part, errors="replace") if "%" in part else part
        if text and _is_token(before, text, secrets, names_rows=names_rows):
            parts[number], is_changed = MASK, True
        elif "=" in text:
            parts[number], is_changed = f"{text.partition('=')[0]}={MASK}", True
        before = text
    return "/".join(parts) if is_changed else path


def _is_token(before: str, text: str, secrets: Sequence[str], *, names_rows: bool) -> bool:
    if not names_rows and before.lower() in _BEFORE_TOKENS and _PLAIN.fullmatch(text) is None:
        return True
    if len(text) < _TOKEN_CHARACTERS_MIN:
        return any(secret in text for secret in secrets)
    if _ROW_ID.fullmatch(text) is not None:
        return False
    return _TOKEN.search(text) is not None or any(secret in text for secret in secrets)
