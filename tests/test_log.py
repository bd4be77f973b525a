"""Log lines in both forms, and levels by logger."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from pylon import log


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("pylon", "pylon.http", "pylon.quiet"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_json_lines() -> None:
    stream = io.StringIO()
    log.set_up(json_lines=True, stream=stream)
    logger = logging.getLogger("pylon.test")
    logger.warning("two\nlines %d", 7, extra=log.fields(request_id="ab", cause=ValueError("x")))
    try:
        raise RuntimeError("deep")
    except RuntimeError:
        logger.exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["level"] == "WARNING"
    assert first["logger"] == "pylon.test"
    assert first["message"] == first["fields"]["message"] == "two\nlines 7"
    assert first["request_id"] == "ab"
    assert first["fields"]["cause"] == "x"
    assert first["timestamp"].endswith("Z")
    assert "RuntimeError: deep" in second["fields"]["exception"]


def test_compact_lines_cannot_be_forged() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)
    logging.getLogger("pylon.test").info("a\nb", extra=log.fields(request_id="ab"))
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("INFO pylon.test a\\nb request_id=ab")


def test_levels_by_logger() -> None:
    stream = io.StringIO()
    log.set_up(level="warn,pylon::http=debug,pylon.quiet=off,nonsense", stream=stream)
    logging.getLogger("pylon.http").debug("shown")
    logging.getLogger("pylon.other").info("hidden")
    logging.getLogger("pylon.quiet").critical("hidden")
    text = stream.getvalue()
    assert "shown" in text
    assert "hidden" not in text
    assert "unknown log level: nonsense" in text


def test_finished_lines_go_where_the_log_goes() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)
    log.write_lines("one\ntwo\n", logger="pylon.access")
    log.set_up(level="warn", stream=stream)
    log.write_lines("hidden\n", logger="pylon.access")
    assert stream.getvalue() == "one\ntwo\n"


def test_timestamps() -> None:
    assert log.timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert log.timestamp(1_767_225_600.25) == "2026-01-01T00:00:00.250Z"
