"""Where text goes, and when it has colours."""

from __future__ import annotations

import io

import click
import pytest

from pylon.cli.output import Output, has_colour
from pylon.schema.diagnostics import Diagnostic, error


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, False),
    ],
)
def test_colour_needs_a_terminal_that_wants_it(environ: dict[str, str], expected: bool) -> None:
    assert has_colour(Terminal(), environ) is expected
    assert has_colour(io.StringIO(), environ) is False


def test_errors_go_to_stderr_and_the_rest_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    warning = Diagnostic("warning", "CAREFUL", "hm")
    Output().diagnostics([error("WRONG", "no", "do so"), warning])
    told = capsys.readouterr()
    assert told.err == "  error[WRONG] no\n    hint: do so\n"
    assert told.out == "  warning[CAREFUL] hm\n"


def test_json_is_one_array_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).diagnostics([error("WRONG", "no")])
    told = capsys.readouterr()
    assert told.out == '[{"severity":"error","code":"WRONG","message":"no"}]\n'
    assert told.err == ""


def test_fail_ends_with_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.exceptions.Exit) as ended:
        Output().fail("WRONG", "no", "do so", exit_code=64)
    assert ended.value.exit_code == 64
    assert capsys.readouterr().err == "error[WRONG] no\n  hint: do so\n"
