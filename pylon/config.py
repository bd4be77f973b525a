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
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pylon import limits
from pylon.errors import ConfigError

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
    connections_per_address_max: int = limits.CONNECTIONS_PER_ADDRESS_MAX
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
        problems = [*_unsafe_admin_token(self), *_unsafe_origins(self), *_impossible(self)]
        if self.dev_mode and not is_loopback(self.host) and not self.dev_allow_remote:
            problems.append(
                (
                    f"dev mode would be reachable from other machines on {self.host}",
                    "Bind 127.0.0.1, or set PYLON_DEV_ALLOW_REMOTE=1 if the network is yours.",
                )
            )
        if problems:
            raise _refusal("CONFIG_UNSAFE", problems)
        return self

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


def is_loopback(host: str) -> bool:
    """Whether binding `host` is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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

Problem = tuple[str, str]
"""What is wrong, and what to do about it."""


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
        "Let dev mode bind an address that other machines reach.",
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
        "required (* in dev)",
        "Origins of browsers that may read answers, separated by commas.",
        _comma_list,
    ),
    _setting(
        "PYLON_CSRF_ORIGINS",
        "csrf_origins",
        "PYLON_CORS_ORIGIN (* in dev)",
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
        "PYLON_CONNECTIONS_PER_ADDRESS",
        "connections_per_address_max",
        limits.CONNECTIONS_PER_ADDRESS_MAX,
        "HTTP connections of one client address at a time; 0 switches the limit off, and so does"
        " PYLON_TRUST_PROXY_HOPS, since all come from the proxy then.",
        _count,
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
        "How long deletions are remembered for clients that come back (seconds, or 12h, 30d).",
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


def _with_mode_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what is not set and whose default depends on other settings."""
    dev = values.get("dev_mode", False)
    if dev:
        values.setdefault("host", "127.0.0.1")
        values.setdefault("cors_origins", ("*",))
        values.setdefault("csrf_origins", ("*",))
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


# --- Judging ---------------------------------------------------------------------------------

# scheme://host[:port] and nothing behind it: what a browser sends as Origin.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_COOKIE_DOMAIN = re.compile(r"\.?[A-Za-z0-9.-]+")


def _unsafe_admin_token(config: Config) -> list[Problem]:
    token = config.admin_token
    if token is None:
        return []
    mend = (
        "Unset it, or set a long random value, for example from `openssl rand -hex 32`"
        f" (at least {limits.ADMIN_TOKEN_CHARACTERS_MIN} characters)."
    )
    if token == "":
        return [("PYLON_ADMIN_TOKEN is set but empty", mend)]
    if not (token.isascii() and token.isprintable()) or " " in token:
        return [("PYLON_ADMIN_TOKEN has characters that no header can carry", mend)]
    if not config.dev_mode and len(token) < limits.ADMIN_TOKEN_CHARACTERS_MIN:
        return [("PYLON_ADMIN_TOKEN is too short for production", mend)]
    return []


def _unsafe_origins(config: Config) -> list[Problem]:
    problems: list[Problem] = []
    example = "Name the origins of your pages, for example https://app.example.com."
    if not config.dev_mode and not config.cors_origins:
        problems.append(("PYLON_CORS_ORIGIN is required in production", example))
    if not config.dev_mode and "*" in config.cors_origins:
        problems.append(
            ("PYLON_CORS_ORIGIN=* would open every answer to every page in production", example)
        )
    for variable, origins in (
        ("PYLON_CORS_ORIGIN", config.cors_origins),
        ("PYLON_CSRF_ORIGINS", config.csrf_origins),
    ):
        for origin in dict.fromkeys(origins):
            if origin != "*" and _ORIGIN.fullmatch(origin) is None:
                problems.append(
                    (
                        f"{variable} has {origin!r}, which is not an origin",
                        "An origin is scheme://host or scheme://host:port, in lower case, with"
                        " no path and no slash at the end.",
                    )
                )
    return problems


def _impossible(config: Config) -> list[Problem]:
    problems: list[Problem] = []
    if config.cookie_name is not None and _COOKIE_NAME.fullmatch(config.cookie_name) is None:
        problems.append(
            (
                f"PYLON_COOKIE_NAME={config.cookie_name!r} is not a cookie name",
                "Use letters, digits, _ and -.",
            )
        )
    if config.cookie_domain is not None and _COOKIE_DOMAIN.fullmatch(config.cookie_domain) is None:
        problems.append(
            (
                f"PYLON_COOKIE_DOMAIN={config.cookie_domain!r} is not a domain",
                "Use a host name such as example.com, or unset it.",
            )
        )
    if _sessions_file_is_the_database(config):
        problems.append(
            (
                f"PYLON_SESSION_DB={config.session_db_path!r} is the file of the rows",
                "Unset it: sessions are with the rows then.",
            )
        )
    if config.port > 65_533 and not config.single_port:
        problems.append(
            (
                f"PYLON_PORT={config.port} leaves no room for port+1 and port+2",
                "Choose a lower port or set PYLON_SINGLE_PORT=1.",
            )
        )
    return problems


def _sessions_file_is_the_database(config: Config) -> bool:
    if config.session_db_path is None or config.session_in_memory or config.in_memory:
        return False
    return Path(config.session_db_path).resolve() == Path(config.db_path).resolve()


def _refusal(code: str, problems: list[Problem]) -> ConfigError:
    """One error for all problems, so that one start tells everything there is to mend."""
    if len(problems) == 1:
        return ConfigError(code, *problems[0])
    message = "; ".join(what for what, _ in problems)
    hint = " ".join(dict.fromkeys(mend for _, mend in problems))
    return ConfigError(code, message, hint)
