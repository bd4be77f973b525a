"""Settings that would be unsafe or cannot be together, each with how to mend it.

Asked by `Config.validate` before anything is served. Pure, and complete: one start tells everything
there is to mend. What production refuses, and may be wanted all the same behind other walls, has a
word in `ALLOWANCES` for `PYLON_ALLOW_UNSAFE`; a weak token and an origin `*` for reading have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from pylon import limits
from pylon.origins import is_address, is_loopback_name, is_loopback_origin, is_origin
from pylon.weak_tokens import why_weak

Problem = tuple[str, str]
"""What is wrong, and what to do about it."""

ALLOWANCES: Final = {
    "csrf-any": "pages of every origin may change data",
    "http-origins": "pages that anybody on their way can change are trusted",
    "insecure-cookies": "session cookies travel without encryption",
    "no-rate-limit": "one address may ask as often as it can",
    "no-socket-limit": "streams are not counted",
}
"""The words of `PYLON_ALLOW_UNSAFE`, and what is allowed with each."""

_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_COOKIE_DOMAIN = re.compile(r"\.?[A-Za-z0-9.-]+")
_SHARED_DOMAINS: Final = frozenset(
    {
        *("co.uk", "org.uk", "ac.uk", "com.au", "net.au", "co.nz", "co.jp", "com.br", "co.za"),
        *("co.in", "com.cn", "com.tr", "com.mx", "co.kr", "github.io", "gitlab.io", "pages.dev"),
        *("workers.dev", "vercel.app", "netlify.app", "herokuapp.com", "fly.dev", "web.app"),
        *("onrender.com", "azurewebsites.net", "cloudfront.net", "ngrok.app", "ngrok.io"),
    }
)
"""Domains below which strangers have theirs; the usual ones. Browsers refuse cookies for them."""


class Settings(Protocol):
    """What is judged of a `Config`."""

    @property
    def dev_mode(self) -> bool: ...
    @property
    def dev_allow_remote(self) -> bool: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def single_port(self) -> bool: ...
    @property
    def db_path(self) -> str: ...
    @property
    def in_memory(self) -> bool: ...
    @property
    def cors_origins(self) -> tuple[str, ...]: ...
    @property
    def csrf_origins(self) -> tuple[str, ...]: ...
    @property
    def admin_token(self) -> str | None: ...
    @property
    def rate_limit_max(self) -> int: ...
    @property
    def rate_limit_window_seconds(self) -> int: ...
    @property
    def cookie_name(self) -> str | None: ...
    @property
    def cookie_domain(self) -> str | None: ...
    @property
    def cookie_secure(self) -> bool: ...
    @property
    def session_db_path(self) -> str | None: ...
    @property
    def session_in_memory(self) -> bool: ...
    @property
    def sockets_per_address_max(self) -> int: ...
    @property
    def sockets_max(self) -> int: ...
    @property
    def allow_unsafe(self) -> tuple[str, ...]: ...


def found_unsafe(config: Settings) -> Iterator[Problem]:
    """Every reason not to serve with these settings."""
    yield from _admin_token(config)
    yield from _origins(config)
    yield from _cookies(config)
    yield from _limits(config)
    yield from _impossible(config)
    if config.dev_mode and not is_loopback_name(config.host) and not config.dev_allow_remote:
        yield (
            f"dev mode would be reachable from other machines on {config.host}",
            "Bind 127.0.0.1, or set PYLON_DEV_ALLOW_REMOTE=1 if everybody who can reach it may be"
            " anybody.",
        )


def risks(config: Settings) -> list[str]:
    """What is served with all the same, in words for a log: a sentence each, empty when nothing."""
    found = [f"PYLON_ALLOW_UNSAFE={word}: {ALLOWANCES[word]}" for word in config.allow_unsafe]
    if config.dev_mode:
        found.insert(
            0,
            "DEV MODE IS ON: whoever is let in may be anybody, and entities without a policy are"
            " open to all; unset PYLON_DEV_MODE to serve others",
        )
        if config.dev_allow_remote:
            found.insert(1, "PYLON_DEV_ALLOW_REMOTE=1: other machines and proxies are let in")
    return found


def _admin_token(config: Settings) -> Iterator[Problem]:
    token = config.admin_token
    mend = (
        "Unset it, or set a long random value, for example from `openssl rand -hex 32`"
        f" (at least {limits.ADMIN_TOKEN_CHARACTERS_MIN} characters)."
    )
    if token is None:
        return
    if token == "":
        yield "PYLON_ADMIN_TOKEN is set but empty", mend
    elif not (token.isascii() and token.isprintable()) or " " in token:
        yield "PYLON_ADMIN_TOKEN has characters that no header can carry", mend
    elif config.dev_mode and not config.dev_allow_remote:
        return
    elif len(token) < limits.ADMIN_TOKEN_CHARACTERS_MIN:
        yield "PYLON_ADMIN_TOKEN is too short for production", mend
    elif (why := why_weak(token)) is not None:
        yield f"PYLON_ADMIN_TOKEN {why}", mend


def _origins(config: Settings) -> Iterator[Problem]:
    example = "Name the origins of your pages, for example https://app.example.com."
    is_dev = config.dev_mode
    if not is_dev and not config.cors_origins:
        yield "PYLON_CORS_ORIGIN is required in production", example
    where = "dev mode" if is_dev else "production"
    in_dev = "Unset it: pages of this machine may always. " if is_dev else ""
    if "*" in config.cors_origins:
        yield (
            f"PYLON_CORS_ORIGIN=* would open every answer to every page in {where}",
            in_dev + example,
        )
    elif "*" in config.csrf_origins and (is_dev or "csrf-any" not in config.allow_unsafe):
        otherwise = "" if is_dev else _or_allow("csrf-any")
        yield (
            f"PYLON_CSRF_ORIGINS=* would let every page change data in {where}",
            in_dev + example + otherwise,
        )
    for variable, origins in (
        ("PYLON_CORS_ORIGIN", config.cors_origins),
        ("PYLON_CSRF_ORIGINS", config.csrf_origins),
    ):
        for origin in dict.fromkeys(origins):
            if origin != "*" and not is_origin(origin):
                yield (
                    f"{variable} has {origin!r}, which is not an origin",
                    "An origin is scheme://host or scheme://host:port, in lower case, with"
                    " no path and no slash at the end.",
                )
            elif is_unencrypted(origin) and not (is_dev or "http-origins" in config.allow_unsafe):
                yield (
                    f"{variable} has {origin}, a page that anybody on its way can change",
                    f"Serve the page by HTTPS and name https://...{_or_allow('http-origins')}",
                )


def is_unencrypted(origin: str) -> bool:
    """Whether pages of the origin come over the network without encryption."""
    return origin.startswith("http://") and not is_loopback_origin(origin)


def _cookies(config: Settings) -> Iterator[Problem]:
    if config.cookie_name is not None and _COOKIE_NAME.fullmatch(config.cookie_name) is None:
        yield (
            f"PYLON_COOKIE_NAME={config.cookie_name!r} is not a cookie name",
            "Use letters, digits, _ and -.",
        )
    domain = config.cookie_domain
    if domain is not None and _COOKIE_DOMAIN.fullmatch(domain) is None:
        yield (
            f"PYLON_COOKIE_DOMAIN={domain!r} is not a domain",
            "Use a host name such as example.com, or unset it.",
        )
    elif domain is not None and _is_shared(domain.lower().strip("."), is_dev=config.dev_mode):
        yield (
            f"PYLON_COOKIE_DOMAIN={domain} is no domain of yours alone, so browsers refuse it",
            "Use a host name such as example.com, or unset it for the server's own host.",
        )
    if not (config.dev_mode or config.cookie_secure or "insecure-cookies" in config.allow_unsafe):
        yield (
            "PYLON_COOKIE_SECURE=0 would send session cookies without encryption in production",
            f"Unset it and serve by HTTPS.{_or_allow('insecure-cookies')}",
        )


def _is_shared(domain: str, *, is_dev: bool) -> bool:
    if is_dev and domain == "localhost":
        return False
    return is_address(domain) or "." not in domain or domain in _SHARED_DOMAINS


def _limits(config: Settings) -> Iterator[Problem]:
    allowed = config.allow_unsafe
    if config.dev_mode:
        return
    is_limited = config.rate_limit_max and config.rate_limit_window_seconds
    if not is_limited and "no-rate-limit" not in allowed:
        name = "MAX" if not config.rate_limit_max else "WINDOW"
        yield (
            f"PYLON_RATE_LIMIT_{name}=0 would switch the rate limit off in production",
            f"Unset it, or set a number above 0.{_or_allow('no-rate-limit')}",
        )
    is_counted = config.sockets_per_address_max or config.sockets_max
    if not is_counted and "no-socket-limit" not in allowed:
        yield (
            "PYLON_SOCKETS_PER_ADDRESS=0 and PYLON_WS_MAX_SOCKETS=0 would let one address open"
            " streams until memory ends",
            f"Unset one of them.{_or_allow('no-socket-limit')}",
        )


def _or_allow(word: str) -> str:
    return f" If you know that you want it, set PYLON_ALLOW_UNSAFE={word}."


def _impossible(config: Settings) -> Iterator[Problem]:
    if _sessions_file_is_the_database(config):
        yield (
            f"PYLON_SESSION_DB={config.session_db_path!r} is the file of the rows",
            "Unset it: sessions are with the rows then.",
        )
    if config.port > 65_533 and not config.single_port:
        yield (
            f"PYLON_PORT={config.port} leaves no room for port+1 and port+2",
            "Choose a lower port or set PYLON_SINGLE_PORT=1.",
        )


def _sessions_file_is_the_database(config: Settings) -> bool:
    if config.session_db_path is None or config.session_in_memory or config.in_memory:
        return False
    return Path(config.session_db_path).resolve() == Path(config.db_path).resolve()
