"""Every setting of the server: read once from the environment, checked once, then frozen.

The only module that reads `os.environ`. `SETTINGS` is the documented list (docs/configuration.md
must agree, a test compares); defaults that bound something come from `limits`. Called by the CLI
and by `app`; everything else is handed the values it needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pylon import limits
from pylon.errors import ConfigError
from pylon.page_policy import read_sources
from pylon.unsafe import ALLOWANCES, Problem, found_unsafe

SameSite = Literal["Lax", "Strict", "None"]
LogFormat = Literal["compact", "json"]
PresenceSharing = Literal["auto", "tenant", "all", "off"]

DEFAULT_PORT = 4321
DEFAULT_DB_PATH = ".pylon/dev.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One environment variable: the field of `Config` it fills, its default as documented, and
    what it means."""

    variable: str
    field: str
    default: str
    meaning: str
    parse: Callable[[str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings. `Config()` is production with nothing set; `from_env` is the usual way."""

    dev_mode: bool = False
    dev_allow_remote: bool = False
    host: str = "0.0.0.0"
    port: int = DEFAULT_PORT
    single_port: bool = False
    db_path: str = DEFAULT_DB_PATH
    in_memory: bool = False
    cors_origins: tuple[str, ...] = ()
    csrf_origins: tuple[str, ...] = ()
    admin_token: str | None = field(default=None, repr=False)
    rate_limit_max: int = limits.RATE_LIMIT_MAX_PRODUCTION
    rate_limit_window_seconds: int = limits.RATE_LIMIT_WINDOW_SECONDS
    trusted_proxy_hops: int = 0
    pages_sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pages_fallback: str | None = None
    connections_per_address_max: int = limits.CONNECTIONS_PER_ADDRESS_MAX
    anonymous_body_bytes_max: int = limits.BODY_BYTES_ANONYMOUS
    bodies_bytes_max: int = limits.BODIES_BYTES_MAX
    unsent_bytes_max: int = limits.UNSENT_BYTES_MAX
    unsent_bytes_per_address_max: int = limits.UNSENT_BYTES_PER_ADDRESS_MAX
    cookie_name: str | None = None
    cookie_domain: str | None = None
    cookie_secure: bool = True
    cookie_same_site: SameSite = "Lax"
    session_db_path: str | None = None
    session_in_memory: bool = False
    change_log_retain_seconds: int = limits.CHANGE_LOG_RETAIN_SECONDS
    socket_message_bytes_max: int = limits.SOCKET_MESSAGE_BYTES_MAX
    sockets_per_address_max: int = limits.SOCKETS_PER_ADDRESS_MAX
    sockets_max: int = limits.SOCKETS_MAX
    socket_ping_seconds: int = int(limits.SOCKET_PING_SECONDS)
    socket_deflate_level: int = limits.DEFLATE_LEVEL
    presence_sharing: PresenceSharing = "auto"
    gzip_level: int = limits.GZIP_LEVEL
    drain_seconds: float = limits.DRAIN_SECONDS
    loop_hold_milliseconds: int = limits.LOOP_HOLD_MILLISECONDS
    allow_unsafe: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: LogFormat = "compact"
    access_log: bool = True
    loopback: bool = False
    of_parts: Mapping[str, Any] = field(default_factory=dict)
    """What the environment says of settings that parts bring, by field; see `value`."""

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        more: Sequence[Setting] = (),
        **overrides: Any,
    ) -> Config:
        """The settings of an environment (the process's by default); `more` are those of parts.

        `overrides` are fields by name that win over it (command-line options); one that is None
        counts as not given. Values that cannot be read raise `ConfigError` naming each variable.
        Call `validate` before serving.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        unknown = given.keys() - {each.name for each in fields(cls)}
        assert not unknown, f"no such setting: {sorted(unknown)}"
        environ = os.environ if environ is None else environ
        values, problems = _read(environ, SETTINGS)
        values["of_parts"], wrong = _read(environ, more)
        problems += wrong
        values.update(given)
        if problems:
            raise _refusal("CONFIG_INVALID", problems)
        return cls(**_with_mode_defaults(values))

    def value(self, setting: Setting) -> Any:
        """What a setting that a part brings says; its default is parsed like a given text."""
        if setting.field in self.of_parts:
            return self.of_parts[setting.field]
        return setting.parse(setting.default)

    def validate(self) -> Config:
        """Itself when it is safe to serve with; else `ConfigError` with every reason and mend."""
        problems = list(found_unsafe(self))
        if problems:
            raise _refusal("CONFIG_UNSAFE", problems)
        return self

    @property
    def knows_proxies(self) -> bool:
        """Whether it was said which proxies are in front, or none may be (dev mode)."""
        return self.trusted_proxy_hops > 0 or self.dev_mode

    @property
    def tells_why(self) -> bool:
        """Whether refusals say why: in dev mode, where only this machine can ask."""
        return self.dev_mode and not self.dev_allow_remote

    @property
    def sessions_are_apart(self) -> bool:
        """Whether sessions have a database of their own, beside that of the rows."""
        return self.session_in_memory or self.session_db_path is not None

    def session_cookie_name(self, app_name: str) -> str:
        """The configured cookie name, else `<app>_session` made safe (spec 04 section 4)."""
        if self.cookie_name:
            return self.cookie_name
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", app_name)
        return f"{safe}_session" if safe else "pylon_session"


def env_file_values(start: Path) -> dict[str, str]:
    """What `.env.local` and `.env` say in the nearest folder at or above `start` that has either.

    For `pylon dev` (spec 01 section 1.3): `.env.local` beats `.env`; the caller lets the process
    environment beat both.
    """
    for folder in (start, *start.parents):
        files = [folder / ".env", folder / ".env.local"]
        present = [file for file in files if file.is_file()]
        if present:
            values: dict[str, str] = {}
            for file in present:
                values.update(_env_lines(file.read_text(encoding="utf-8")))
            return values
    return {}


def process_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of the process environment over `extra`; for `pylon dev` and child processes."""
    return {**(extra or {}), **os.environ}


# --- Reading ---------------------------------------------------------------------------------


def _text(text: str) -> str:
    return text


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("must be 1 or 0")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ValueError("must be a whole number, 0 or more")
    return int(text)


def _port(text: str) -> int:
    number = _count(text)
    if number > 65_535:
        raise ValueError("must be a port number, 0 to 65535")
    return number


_DURATION = re.compile(r"(\d{1,12})([smhd]?)", re.ASCII)
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _duration(text: str) -> int:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("must be seconds, or a number with s, m, h or d (30d)")
    return int(found[1]) * _UNIT_SECONDS[found[2]]


def _comma_list(text: str) -> tuple[str, ...]:
    return tuple(part for part in (each.strip() for each in text.split(",")) if part)


def _allowances(text: str) -> tuple[str, ...]:
    words = _comma_list(text)
    unknown = [word for word in words if word not in ALLOWANCES]
    if unknown:
        raise ValueError(f"has {unknown[0]!r}; known: {', '.join(ALLOWANCES)}")
    return words


def _page(text: str) -> str:
    parts = text.removeprefix("/").split("/")
    if not all(part and not part.startswith(".") for part in parts):
        raise ValueError("must be a file below public/, such as index.html")
    return "/".join(parts)


def _same_site(text: str) -> SameSite:
    words: dict[str, SameSite] = {"lax": "Lax", "strict": "Strict", "none": "None"}
    if text.strip().lower() not in words:
        raise ValueError("must be lax, strict or none")
    return words[text.strip().lower()]


def _presence_sharing(text: str) -> PresenceSharing:
    words: dict[str, PresenceSharing] = {
        "auto": "auto",
        "tenant": "tenant",
        "all": "all",
        "off": "off",
    }
    if text.strip().lower() not in words:
        raise ValueError("must be auto, tenant, all or off")
    return words[text.strip().lower()]


def _zlib_level(text: str) -> int:
    level = _count(text)
    if level > 9:
        raise ValueError("must be 0 (off) to 9")
    return level


def _anonymous_body_bytes(text: str) -> int:
    size = _count(text)
    if size > limits.BODY_BYTES_MAX:
        raise ValueError(f"must be at most {limits.BODY_BYTES_MAX}")
    return size


def _bodies_bytes(text: str) -> int:
    size = _count(text)
    if size < limits.BODY_BYTES_MAX:
        raise ValueError(f"must be at least {limits.BODY_BYTES_MAX}, or one body has no room")
    return size


def _interval(text: str) -> int:
    seconds = _duration(text)
    if seconds < 1:
        raise ValueError("must be a second or more")
    return seconds


def _log_format(text: str) -> LogFormat:
    return "json" if text.strip().lower() == "json" else "compact"


def _setting(
    variable: str, name: str, default: object, meaning: str, parse: Callable[[str], Any] = _text
) -> Setting:
    return Setting(
        variable=variable, field=name, default=str(default), meaning=meaning, parse=parse
    )


_RATE_DEFAULT = f"{limits.RATE_LIMIT_MAX_PRODUCTION} ({limits.RATE_LIMIT_MAX_DEV} in dev)"

SETTINGS: tuple[Setting, ...] = (
    _setting("PYLON_DEV_MODE", "dev_mode", "0", "Permissive rules for development.", _flag),
    _setting(
        "PYLON_DEV_ALLOW_REMOTE",
        "dev_allow_remote",
        "0",
        "Let other machines and proxies use dev mode, where anybody may be anybody.",
        _flag,
    ),
    _setting("PYLON_HOST", "host", "0.0.0.0 (127.0.0.1 in dev)", "Address to bind."),
    _setting("PYLON_PORT", "port", DEFAULT_PORT, "Main port; 0 takes a free one.", _port),
    _setting(
        "PYLON_SINGLE_PORT",
        "single_port",
        "0",
        "Open the main port only, not port+1 (WebSocket) and port+2 (SSE).",
        _flag,
    ),
    _setting("PYLON_DB_PATH", "db_path", DEFAULT_DB_PATH, "The SQLite database file."),
    _setting(
        "PYLON_IN_MEMORY", "in_memory", "0", "Keep everything in memory; a stop loses it.", _flag
    ),
    _setting(
        "PYLON_CORS_ORIGIN",
        "cors_origins",
        "required (pages of this machine in dev)",
        "Origins of browsers that may read answers, separated by commas; in dev pages of this"
        " machine always may.",
        _comma_list,
    ),
    _setting(
        "PYLON_CSRF_ORIGINS",
        "csrf_origins",
        "PYLON_CORS_ORIGIN",
        "Origins whose pages may change data, separated by commas; the server's own always may.",
        _comma_list,
    ),
    _setting(
        "PYLON_ADMIN_TOKEN",
        "admin_token",
        "unset: no admin",
        f"Bearer token of the administrator, at least {limits.ADMIN_TOKEN_CHARACTERS_MIN}"
        " characters in production.",
    ),
    _setting(
        "PYLON_ALLOW_UNSAFE",
        "allow_unsafe",
        "unset: nothing",
        "What production refuses and is wanted all the same, separated by commas:"
        f" {', '.join(ALLOWANCES)}.",
        _allowances,
    ),
    _setting(
        "PYLON_RATE_LIMIT_MAX",
        "rate_limit_max",
        _RATE_DEFAULT,
        "Requests per client address and window; 0 switches the limit off.",
        _count,
    ),
    _setting(
        "PYLON_RATE_LIMIT_WINDOW",
        "rate_limit_window_seconds",
        limits.RATE_LIMIT_WINDOW_SECONDS,
        "Length of that window in seconds; 0 switches the limit off.",
        _duration,
    ),
    _setting(
        "PYLON_TRUST_PROXY_HOPS",
        "trusted_proxy_hops",
        "0",
        "Proxies in front that append to X-Forwarded-For; the client is that many from the right.",
        _count,
    ),
    _setting(
        "PYLON_PAGES_CSP",
        "pages_sources",
        "unset: nothing",
        "What pages may load beside their own files, as in a Content-Security-Policy header"
        " (script-src https://cdn.example; img-src https:).",
        read_sources,
    ),
    _setting(
        "PYLON_PAGES_FALLBACK",
        "pages_fallback",
        "unset: 404",
        "The page in public/ that a browser gets for a path where no file is (index.html), for apps"
        " that have their own routes.",
        _page,
    ),
    _setting(
        "PYLON_CONNECTIONS_PER_ADDRESS",
        "connections_per_address_max",
        limits.CONNECTIONS_PER_ADDRESS_MAX,
        "HTTP connections of one client address at a time; 0 switches the limit off, and so does"
        " PYLON_TRUST_PROXY_HOPS, since all come from the proxy then.",
        _count,
    ),
    _setting(
        "PYLON_ANONYMOUS_BODY_BYTES",
        "anonymous_body_bytes_max",
        limits.BODY_BYTES_ANONYMOUS,
        "Largest request body of callers without a session, in bytes, up to"
        f" {limits.BODY_BYTES_MAX}.",
        _anonymous_body_bytes,
    ),
    _setting(
        "PYLON_BODIES_BYTES",
        "bodies_bytes_max",
        limits.BODIES_BYTES_MAX,
        "Bytes of large request bodies in memory at the same time; a client address may take an"
        " eighth.",
        _bodies_bytes,
    ),
    _setting(
        "PYLON_UNSENT_BYTES",
        "unsent_bytes_max",
        limits.UNSENT_BYTES_MAX,
        "Bytes of large answers kept for clients that have not taken them yet, in all; 0 switches"
        " the limit off.",
        _count,
    ),
    _setting(
        "PYLON_UNSENT_BYTES_PER_ADDRESS",
        "unsent_bytes_per_address_max",
        limits.UNSENT_BYTES_PER_ADDRESS_MAX,
        "The same for one client address; one answer may always be on its way.",
        _count,
    ),
    _setting("PYLON_COOKIE_NAME", "cookie_name", "<app>_session", "Name of the session cookie."),
    _setting("PYLON_COOKIE_DOMAIN", "cookie_domain", "unset", "Domain of the session cookie."),
    _setting(
        "PYLON_COOKIE_SECURE",
        "cookie_secure",
        "1 (0 in dev)",
        "Send the session cookie over HTTPS only; always so with SameSite=None.",
        _flag,
    ),
    _setting(
        "PYLON_COOKIE_SAME_SITE",
        "cookie_same_site",
        "lax",
        "SameSite of the session cookie: lax, strict or none.",
        _same_site,
    ),
    _setting(
        "PYLON_SESSION_DB",
        "session_db_path",
        "unset: with the data",
        "A database file of its own for sessions; who changes it signs everyone out.",
    ),
    _setting(
        "PYLON_SESSION_IN_MEMORY",
        "session_in_memory",
        "0",
        "Keep sessions in memory only; a restart signs everyone out. Wins over PYLON_SESSION_DB.",
        _flag,
    ),
    _setting(
        "PYLON_CHANGE_LOG_RETAIN",
        "change_log_retain_seconds",
        "30d",
        "How long deletions are remembered, a million at most (seconds, or 12h, 30d).",
        _duration,
    ),
    _setting(
        "PYLON_WS_MAX_FRAME",
        "socket_message_bytes_max",
        limits.SOCKET_MESSAGE_BYTES_MAX,
        "Largest WebSocket message from a client, in bytes.",
        _count,
    ),
    _setting(
        "PYLON_SOCKETS_PER_ADDRESS",
        "sockets_per_address_max",
        limits.SOCKETS_PER_ADDRESS_MAX,
        "Live streams (WebSocket, SSE) per client address; 0 switches the limit off.",
        _count,
    ),
    _setting(
        "PYLON_WS_MAX_SOCKETS",
        "sockets_max",
        limits.SOCKETS_MAX,
        "Live streams (WebSocket, SSE) in all; 0 switches the limit off.",
        _count,
    ),
    _setting(
        "PYLON_WS_PING_SECS",
        "socket_ping_seconds",
        int(limits.SOCKET_PING_SECONDS),
        "Interval of pings on WebSockets; after two without any answer the socket is closed.",
        _interval,
    ),
    _setting(
        "PYLON_WS_COMPRESSION",
        "socket_deflate_level",
        limits.DEFLATE_LEVEL,
        "zlib level, 1 to 9, for WebSocket messages from"
        f" {limits.DEFLATE_BYTES_MIN} bytes on, where the client takes them; 0 switches it off.",
        _zlib_level,
    ),
    _setting(
        "PYLON_HTTP_COMPRESSION",
        "gzip_level",
        limits.GZIP_LEVEL,
        f"zlib level, 1 to 9, for bodies from {limits.GZIP_BYTES_MIN} bytes on, where the client"
        " takes gzip; 0 switches it off.",
        _zlib_level,
    ),
    _setting(
        "PYLON_PRESENCE",
        "presence_sharing",
        "auto",
        "Who shares presence and topics: tenant (callers of one tenant), all (callers without one"
        " too), off; auto is all in an app whose policies know no tenants, else tenant.",
        _presence_sharing,
    ),
    _setting(
        "PYLON_DRAIN_SECS",
        "drain_seconds",
        int(limits.DRAIN_SECONDS),
        "How long a stop waits for requests in flight.",
        _duration,
    ),
    _setting(
        "PYLON_LOOP_HOLD_MS",
        "loop_hold_milliseconds",
        f"{limits.LOOP_HOLD_MILLISECONDS} ({limits.LOOP_HOLD_MILLISECONDS_DEV} in dev)",
        "Work that holds the event loop for so many milliseconds is counted and logged with the"
        " place in the code; 0 switches that off.",
        _count,
    ),
    _setting(
        "PYLON_LOG",
        "log_level",
        "info",
        "Least level to log (debug, info, warn, error, off), also per logger: info,pylon.http=debug"
        " (RUST_LOG is read when it is unset).",
    ),
    _setting(
        "PYLON_LOG_FORMAT",
        "log_format",
        "compact",
        "json writes one JSON object a line; anything else is text for people.",
        _log_format,
    ),
    _setting("PYLON_ACCESS_LOG", "access_log", "1", "One line per request, but for probes.", _flag),
    _setting(
        "PYLON_LOOPBACK",
        "loopback",
        "0",
        "Encode what would cross between processes though there is one; for tests of this program.",
        _flag,
    ),
)


def _read(
    environ: Mapping[str, str], settings: Sequence[Setting]
) -> tuple[dict[str, Any], list[Problem]]:
    """The fields that the environment sets, and what could not be read. Empty counts as unset,
    except for the admin token: there an empty value is a mistake worth stopping for."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for setting in settings:
        text = environ.get(setting.variable)
        if text is None and setting.variable == "PYLON_LOG":
            text = environ.get("RUST_LOG")
        if text is None or (text == "" and setting.field != "admin_token"):
            continue
        try:
            values[setting.field] = setting.parse(text)
        except ValueError as error:
            problems.append(
                (
                    f"{setting.variable}={text!r} {error}",
                    f"Default: {setting.default}. {setting.meaning}",
                )
            )
    return values, problems


def stray_variables(
    environ: Mapping[str, str] | None = None, *, more: Sequence[Setting] = ()
) -> dict[str, str]:
    """Variables that are called nearly like a setting and are none, each with that setting. Others
    that begin with `PYLON_` may be anybody's."""
    environ = os.environ if environ is None else environ
    known = [setting.variable for setting in (*SETTINGS, *more)]
    return {
        name: close[0]
        for name in sorted(environ)
        if name.startswith("PYLON_") and name not in known
        # Not so where a whole word is more: a setting of the reference may be one.
        if (close := get_close_matches(name, known, n=1, cutoff=0.88))
        and abs(len(name) - len(close[0])) < 3
    }


def _with_mode_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what is not set and whose default depends on other settings."""
    dev = values.get("dev_mode", False)
    if dev:
        values.setdefault("host", "127.0.0.1")
        values.setdefault("rate_limit_max", limits.RATE_LIMIT_MAX_DEV)
        values.setdefault("cookie_secure", False)
        values.setdefault("loop_hold_milliseconds", limits.LOOP_HOLD_MILLISECONDS_DEV)
    values.setdefault("csrf_origins", values.get("cors_origins", ()))
    if values.get("cookie_same_site") == "None":
        values["cookie_secure"] = True
    return values


def _env_lines(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not separator or not name or name.startswith("#"):
            continue
        if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        values[name] = value
    return values


def _refusal(code: str, problems: list[Problem]) -> ConfigError:
    """One error for all problems, so that one start tells everything there is to mend."""
    if len(problems) == 1:
        return ConfigError(code, *problems[0])
    message = "; ".join(what for what, _ in problems)
    hint = " ".join(dict.fromkeys(mend for _, mend in problems))
    return ConfigError(code, message, hint)
