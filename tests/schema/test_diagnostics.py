"""How a finding looks as JSON and as text."""

from __future__ import annotations

from pylon.schema.diagnostics import Diagnostic, SchemaError, Span, did_you_mean, error, has_errors


def test_absent_parts_are_left_out_of_the_json() -> None:
    assert error("X", "wrong").to_wire() == {"severity": "error", "code": "X", "message": "wrong"}
    full = Diagnostic("warning", "X", "odd", Span("f.json", 3), "fix it")
    assert full.to_wire() == {
        "severity": "warning",
        "code": "X",
        "message": "odd",
        "span": {"file": "f.json", "line": 3},
        "hint": "fix it",
    }


def test_text_has_a_hint_line_a_place_and_colour_on_demand() -> None:
    finding = error("X", "wrong", "fix it", span=Span("f.json", 3, 7))
    assert finding.to_text() == "  error[X] wrong\n    hint: fix it\n    at f.json:3:7"
    assert finding.to_line() == "X: wrong. fix it (at f.json:3:7)"
    assert finding.to_text(colour=True).startswith("  \x1b[1;31merror[X]\x1b[0m wrong")


def test_warnings_are_no_errors() -> None:
    warning = Diagnostic("warning", "X", "odd")
    assert not has_errors([warning])
    assert has_errors([warning, error("Y", "wrong")])


def test_a_near_word_is_suggested_whatever_its_case() -> None:
    assert did_you_mean("USR", ["User", "Todo"]) == 'Did you mean "User"?'
    assert did_you_mean("zzz", ["User", "Todo"]) == "Known: User, Todo."
    assert did_you_mean("zzz", []) == "There are none."
    assert did_you_mean("zzz", ["User"], "Else.") == "Else."


def test_the_exception_tells_all_mistakes() -> None:
    raised = SchemaError([error("X", "first"), error("Y", "second")], "The app")
    assert raised.message == "The app has 2 mistakes:\n  error[X] first\n  error[Y] second"
    assert raised.exit_code == 1
