"""What is wrong with an app's declaration, as values, JSON and text (spec 05 section 3).

Made by `parse`, `validate`, `declare` and the policy check; shown by the CLI and the dev server.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeAlias

import msgspec

from pylon.errors import ConfigError
from pylon.listing import listed

Severity: TypeAlias = Literal["error", "warning", "info"]

_COLOURS: Final[dict[Severity, str]] = {"error": "31", "warning": "33", "info": "36"}


About: TypeAlias = tuple[str, ...]
"""What a finding is about: `("entity", "Todo", "field", "title")`, `("policy", "Todo",
"allowRead")`, `("query", "recent", "input", "since")`, `("route", "/")`, `("auth",)`."""


class Span(msgspec.Struct, frozen=True):
    """A place in a source file. `line` and `column` count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


class Diagnostic(msgspec.Struct, frozen=True):
    """One finding. `code` is stable; `message` says what is wrong, `hint` what to do."""

    severity: Severity
    code: str
    message: str
    span: Span | None = None
    hint: str | None = None
    about: About = ()
    """Not told to anybody: where `span` comes from."""

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; absent parts are left out."""
        wire: dict[str, Any] = {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
        }
        if self.span is not None:
            places = {"file": self.span.file, "line": self.span.line, "column": self.span.column}
            wire["span"] = {key: value for key, value in places.items() if value is not None}
        if self.hint is not None:
            wire["hint"] = self.hint
        return wire

    def to_text(self, colour: bool = False) -> str:
        """Two or three indented lines for a terminal; no newline at the end."""
        label = f"{self.severity}[{self.code}]"
        if colour:
            label = f"\x1b[1;{_COLOURS[self.severity]}m{label}\x1b[0m"
        lines = [f"  {label} {self.message}"]
        if self.hint is not None:
            lines.append(f"    hint: {self.hint}")
        if self.span is not None:
            lines.append(f"    at {self.span}")
        return "\n".join(lines)

    def to_line(self) -> str:
        """All of it in one line, for a log."""
        hint = f". {self.hint}" if self.hint is not None else ""
        place = f" (at {self.span})" if self.span is not None else ""
        return f"{self.code}: {self.message}{hint}{place}"


class SchemaError(ConfigError):
    """A declaration that cannot be used; carries every finding, not only the first."""

    def __init__(self, diagnostics: Iterable[Diagnostic], subject: str = "The app") -> None:
        self.diagnostics = tuple(diagnostics)
        errors = [finding for finding in self.diagnostics if finding.severity == "error"]
        count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
        report = "\n".join(finding.to_text() for finding in errors)
        super().__init__("SCHEMA_INVALID", f"{subject} has {count}:\n{report}")


def error(
    code: str,
    message: str,
    hint: str | None = None,
    *,
    span: Span | None = None,
    about: About = (),
) -> Diagnostic:
    """A finding that stops the app from being served."""
    return Diagnostic("error", code, message, span, hint, about)


def warning(
    code: str,
    message: str,
    hint: str | None = None,
    *,
    span: Span | None = None,
    about: About = (),
) -> Diagnostic:
    """A finding that is told and changes nothing else."""
    return Diagnostic("warning", code, message, span, hint, about)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether any finding stops the app."""
    return any(finding.severity == "error" for finding in diagnostics)


def did_you_mean(wrong: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """A hint that names the nearest known word; else `otherwise`, else all (or twenty) of them."""
    names = list(known)
    folded = {name.casefold(): name for name in names}
    close = get_close_matches(wrong[:100].casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f'Did you mean "{folded[close[0]]}"?'
    if otherwise is not None:
        return otherwise
    if not names:
        return "There are none."
    return f"Known: {listed(names)}."
