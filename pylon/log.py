"""Logging set-up: the standard library's loggers, one handler on stderr, text or JSON lines.

Any module logs with `logging.getLogger("pylon.<folder>")`; what belongs to a request is attached by
`extra=fields(request_id=..., ...)`, without context variables. Called once by the entry (`cli`); an
app that is mounted elsewhere leaves the host's logging alone.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

from pylon import codec

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}

_KEY = "pylon_fields"

SECRETS = r"pylon_[0-9a-f]{16,}|(?<=[Bb]earer )[^\s\"',\\]+|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
"""What is a secret by its form: a session's token, what stands behind `Bearer`, JSON web tokens."""


def fields(**values: object) -> dict[str, object]:
    """The `extra` argument of a log call: named values that stand beside the message.

    `request_id` is lifted to the top of a JSON line.
    """
    return {_KEY: values}


def set_up(
    *,
    level: str = "info",
    json_lines: bool = False,
    stream: TextIO | None = None,
    secrets: Sequence[str] = (),
) -> None:
    """Send every logger to `stream` (stderr by default), and set levels. No line says `secrets`, or
    a session's token, whatever an exception had in its text.

    `level` is a list like `info,pylon.http=debug`, the form of `PYLON_LOG` and `RUST_LOG`; words
    it does not know are named in a warning and passed over.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = JsonFormatter() if json_lines else CompactFormatter()
    handler.setFormatter(Masked(formatter, secrets))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    unknown = []
    for directive in filter(None, (part.strip() for part in level.split(","))):
        target, separator, word = directive.rpartition("=")
        number = _LEVELS.get(word.strip().lower())
        if number is None:
            unknown.append(directive)
        else:
            name = target.strip().replace("::", ".") if separator else ""
            logging.getLogger(name or None).setLevel(number)
    if unknown:
        logging.getLogger("pylon.log").warning("unknown log level: %s", ", ".join(unknown))


def write_lines(lines: str, *, logger: str) -> None:
    """Write finished lines where the log goes, unless `logger` is set above INFO; for the access
    log, which formats in batches. Without `set_up` they go nowhere."""
    if not logging.getLogger(logger).isEnabledFor(logging.INFO):
        return
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.acquire()
            try:
                handler.stream.write(lines)
                handler.flush()
            except (OSError, ValueError):  # ValueError: it has been closed
                handler.handleError(logging.makeLogRecord({"msg": "access log"}))
            finally:
                handler.release()
            return


def timestamp(epoch_seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    second = int(epoch_seconds)
    return f"{_second(second)}.{int((epoch_seconds - second) * 1000):03d}Z"


@lru_cache(maxsize=8)
def _second(epoch_seconds: int) -> str:
    """Neighbouring lines share their second, and this is most of what a timestamp costs."""
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def json_line(
    at: float, level: str, logger: str, message: str, values: Mapping[str, object]
) -> str:
    """One line of `PYLON_LOG_FORMAT=json`. `fields.message` repeats the message, because that is
    where the reference keeps it and where existing collectors look (spec 01 section 1.6)."""
    line: dict[str, object] = {
        "timestamp": timestamp(at),
        "level": level,
        "logger": logger,
        "message": message,
    }
    if "request_id" in values:
        line["request_id"] = values["request_id"]
    line["fields"] = {"message": message, **values}
    return codec.encode(line).decode()


class Masked(logging.Formatter):
    """The lines of another formatter, without secrets."""

    def __init__(self, inner: logging.Formatter, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._inner = inner
        # The longest first, so that one inside another leaves nothing.
        listed = [re.escape(secret) for secret in sorted(secrets, key=len, reverse=True)]
        self._secret = re.compile("|".join((*listed, SECRETS)), re.ASCII)

    def format(self, record: logging.LogRecord) -> str:
        return self._secret.sub("***", self._inner.format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line, whatever the message contains."""

    def format(self, record: logging.LogRecord) -> str:
        values = dict(_fields_of(record))
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        printable = {
            name: value if isinstance(value, str | int | float | None) else str(value)
            for name, value in values.items()
        }
        return json_line(
            record.created, record.levelname, record.name, record.getMessage(), printable
        )


class CompactFormatter(logging.Formatter):
    """`12:00:00.000 INFO pylon.http message key=value`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        values = "".join(f" {name}={value}" for name, value in _fields_of(record).items())
        # A message may carry what a client sent; line breaks in it must not look like log lines.
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        clock = timestamp(record.created)[11:23]
        line = f"{clock} {record.levelname} {record.name} {message}{values}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    values: Mapping[str, object] = getattr(record, _KEY, {})
    return values
