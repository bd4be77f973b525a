"""What the command prints and where: text for people, or JSON for programs with `--json`.

Text mode: errors to stderr, the rest to stdout. JSON mode: everything to stdout (spec 05 section
3). Called by every subcommand; nothing else in this folder prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pylon.config import process_environment

if TYPE_CHECKING:
    from pylon.errors import ConfigError
    from pylon.schema.diagnostics import Diagnostic

OK, FAILED, USAGE = 0, 1, 64
"""Exit codes (spec 05 section 9.1)."""


class Output:
    """The two ways of printing. One per process, in click's context."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    def say(self, text: str) -> None:
        """A line for people; nothing in JSON mode."""
        if not self.json:
            _write(sys.stdout, text)

    def warn(self, text: str) -> None:
        """A line for people about something that went wrong; nothing in JSON mode."""
        if not self.json:
            _write(sys.stderr, text)

    def record(self, value: Any) -> None:
        """One line of JSON; nothing in text mode."""
        if self.json:
            from pylon import codec

            _write(sys.stdout, codec.encode(value).decode())

    def diagnostics(self, findings: Iterable[Diagnostic]) -> None:
        """Every finding: an array on stdout, or indented text with colours on stderr."""
        findings = list(findings)
        if self.json:
            self.record([finding.to_wire() for finding in findings])
            return
        for finding in findings:
            is_error = finding.severity == "error"
            stream = sys.stderr if is_error else sys.stdout
            _write(stream, finding.to_text(colour=has_colour(stream)))

    def fail(
        self, code: str, message: str, hint: str | None = None, *, exit_code: int = FAILED
    ) -> NoReturn:
        """Print one error and end the process."""
        self.report(code, message, hint)
        raise click.exceptions.Exit(exit_code)

    def report(self, code: str, message: str, hint: str | None = None) -> None:
        """Print one error."""
        finding = {"severity": "error", "code": code, "message": message}
        if hint is not None:
            finding["hint"] = hint
        if self.json:
            self.record([finding])
        else:
            label = _coloured("error", "1;31", sys.stderr)
            _write(sys.stderr, f"{label}[{code}] {message}")
            if hint is not None:
                _write(sys.stderr, f"  hint: {hint}")

    def confirm(self, question: str) -> bool:
        """Ask for a yes. Where nobody is there to answer, the error names the option to give."""
        try:
            return click.confirm(question, default=False)
        except click.Abort:
            if sys.stdin.isatty():
                raise  # Ctrl-C.
            _write(sys.stdout, "")
            hint = "Give --yes where nobody can be asked."
            self.fail("NOT_CONFIRMED", "nobody answered; nothing was changed", hint)

    def fail_config(self, error: ConfigError) -> NoReturn:
        """Print a refused setting and end the process with its exit code."""
        self.fail(error.code, error.message, error.hint, exit_code=error.exit_code)


def tell(text: str) -> None:
    """A line for people on stderr, where no command is at hand that could print it."""
    _write(sys.stderr, text)


@contextmanager
def perhaps_unheard() -> Iterator[None]:
    """For what is printed on the way of something that goes on: that whoever read stdout has gone
    (`pylon start | head`) ends neither it nor, when Python flushes at the end, its exit code."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def current() -> Output:
    """The output of the command that is running."""
    output = click.get_current_context().find_root().obj
    assert isinstance(output, Output)
    return output


def has_colour(stream: Any, environ: Mapping[str, str] | None = None) -> bool:
    """Whether to colour: a terminal, without `NO_COLOR` and with a `TERM` that can."""
    environ = process_environment() if environ is None else environ
    if environ.get("NO_COLOR") is not None or environ.get("TERM") == "dumb":
        return False
    return bool(stream.isatty())


def bold(text: str) -> str:
    """The text in bold where stdout is a terminal."""
    return _coloured(text, "1", sys.stdout)


def _coloured(text: str, colour: str, stream: Any) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if has_colour(stream) else text


def _write(stream: Any, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
