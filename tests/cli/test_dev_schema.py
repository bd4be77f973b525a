"""What dev asks about the schema, and what it prints where nobody can answer."""

from __future__ import annotations

import os
import select
import sys
from typing import Any

import click
import pytest

from pylon.cli.dev_schema import Asker, unreachable
from pylon.cli.output import Output

SCHEMA: dict[str, Any] = {
    "blocked": [],
    "refused": [],
    "removed": ["remove Note.stars (destructive)"],
    "suggestions": [],
    "command": "pylon schema push --allow-destructive",
    "removal": "pylon schema push --allow-destructive",
}
RENAME = {"option": "--rename Note.stars:size", "message": "was it renamed?"}


class Terminal:
    """Answers in order, and what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: bool) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)
        monkeypatch.setattr(click, "confirm", self.confirm)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    def confirm(self, question: str, default: bool) -> bool:
        assert default is False
        self.asked.append(question)
        return self._answers.pop(0)


def test_without_a_terminal_the_command_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert Asker(Output()).decide(SCHEMA) is None
    assert "pylon schema push --allow-destructive" in capsys.readouterr().out


def test_a_rename_and_a_removal_have_commands_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    renaming = {"suggestions": [RENAME], "command": "pylon schema push --rename Note.stars:size"}
    assert Asker(Output()).decide({**SCHEMA, **renaming}) is None
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.strip() == "was it renamed?"
    assert second.strip() == "If so: pylon schema push --rename Note.stars:size"
    assert third.endswith("To do that: pylon schema push --allow-destructive")


def test_yes_takes_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, True)
    decision = Asker(Output()).decide(SCHEMA)
    assert decision == {"fields": [], "entities": [], "allow": "destructive"}
    assert "remove Note.stars" in terminal.asked[0]


def test_no_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, False)
    asker = Asker(Output())
    assert asker.decide(SCHEMA) is None
    assert asker.decide(SCHEMA) is None
    assert len(terminal.asked) == 1


def test_a_confirmed_rename_needs_no_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    Terminal(monkeypatch, True)
    decision = Asker(Output()).decide({**SCHEMA, "suggestions": [RENAME]})
    assert decision == {"fields": [["Note", "stars", "size"]], "entities": [], "allow": "careful"}


def test_what_the_rows_refuse_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    refused = {**SCHEMA, "blocked": ["make x required"], "refused": ["make x required"]}
    assert Asker(Output()).decide(refused) is None
    assert terminal.asked == []
    (finding,) = unreachable(refused)["findings"]
    assert finding["code"] == "SCHEMA_UNREACHABLE"
    assert "docs/evolution.md" in finding["hint"]


def test_what_was_typed_before_a_question_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, terminal = os.openpty()
    with open(terminal) as stdin, open(keyboard, "wb", buffering=0) as keys:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        keys.write(b"y\n")
        assert select.select([stdin], [], [], 5)[0]
        is_answered = []

        def confirm(question: str, default: bool) -> bool:
            is_answered.append(bool(select.select([stdin], [], [], 0)[0]))
            return False

        monkeypatch.setattr(click, "confirm", confirm)
        Asker(Output()).decide(SCHEMA)
    assert is_answered == [False]
