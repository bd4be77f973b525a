"""Finding an app and loading it, and how mistakes in it are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon import codec
from pylon.cli.loading import Entry, LoadError, find_entry, load_app
from tests.cli.conftest import WORKING


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Imports of one test are not seen by the next."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def app_file(folder: Path, text: str, name: str = "app.py") -> Entry:
    """An app file with this text."""
    (folder / name).write_text(text)
    return Entry(file=folder / name, folder=folder)


def test_a_folder_means_its_app_py_before_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "pylon.manifest.json").write_text("{}")
    assert find_entry(str(tmp_path), verb="DEV").file.name == "pylon.manifest.json"
    (tmp_path / "app.py").write_text("")
    assert find_entry(str(tmp_path), verb="DEV").file.name == "app.py"
    assert find_entry(".", verb="DEV").folder == tmp_path.resolve()


@pytest.mark.parametrize(
    ("app", "code", "exit_code"),
    [
        (".", "DEV_NO_ENTRY", 64),
        ("gone", "DEV_ENTRY_NOT_FOUND", 1),
        ("gone.py", "DEV_ENTRY_NOT_FOUND", 1),
        ("notes.txt", "DEV_ENTRY_INVALID", 64),
    ],
)
def test_what_is_no_app_is_refused(tmp_path: Path, app: str, code: str, exit_code: int) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(LoadError) as refused:
        find_entry(app, verb="DEV")
    assert refused.value.findings[0].code == code
    assert refused.value.exit_code == exit_code


def test_an_app_is_loaded_with_its_own_modules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names_of_mine.py").write_text("NAME = 'mine'")
    text = WORKING.replace('"notes"', "NAME") + "\nprint('loaded')"
    loaded = load_app(app_file(tmp_path, "from names_of_mine import NAME\n" + text))
    assert loaded.manifest.name == "mine"
    assert loaded.declared is not None
    told = capsys.readouterr()
    assert told.out == "", "stdout belongs to the command"
    assert "loaded" in told.err


def test_the_only_app_may_have_any_name(tmp_path: Path) -> None:
    loaded = load_app(app_file(tmp_path, WORKING.replace("app", "backend")))
    assert loaded.manifest.version == "1.2.3"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "APP_NOT_FOUND"),
        ("from pylon import App\na = App('a')\nb = App('b')", "APP_AMBIGUOUS"),
    ],
)
def test_a_file_must_have_one_app(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, text))
    assert [each.code for each in refused.value.findings] == [code]


def test_a_manifest_is_the_same_as_an_app(tmp_path: Path) -> None:
    declared = load_app(app_file(tmp_path, WORKING))
    text = codec.encode_pretty(declared.manifest.to_wire())
    loaded = load_app(app_file(tmp_path, text, "pylon.manifest.json"))
    assert loaded.manifest == declared.manifest
    assert loaded.declared is None


def test_every_mistake_of_a_manifest_is_told_at_once(tmp_path: Path) -> None:
    text = '{"manifest_version": 1, "name": 5, "version": "1", "entities": {}, "routes": []}'
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, text, "m.json"))
    assert [each.code for each in refused.value.findings] == ["MANIFEST_PARSE_ERROR"] * 2
    assert all(each.span is not None for each in refused.value.findings)


def test_mistakes_in_policies_are_found(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, WORKING.replace("auth.userId != None", "'auth.userId =='")))
    assert len(refused.value.findings) == 1
    assert refused.value.findings[0].severity == "error"


def test_a_syntax_error_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, "x = 1\ndef f(:\n"))
    (finding,) = refused.value.findings
    assert finding.code == "APP_SYNTAX_ERROR"
    assert finding.span is not None
    assert (finding.span.file, finding.span.line) == ("app.py", 2)
    assert "def f(:" in (refused.value.traceback_text or "")


def test_an_exception_is_told_with_the_users_frames_only(tmp_path: Path) -> None:
    (tmp_path / "part_of_mine.py").write_text("def work():\n    return 1 / 0\n")
    text = "import part_of_mine\npart_of_mine.work()\n"
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, text))
    (finding,) = refused.value.findings
    assert finding.code == "APP_FAILED"
    assert finding.message == "ZeroDivisionError: division by zero"
    assert finding.span is not None
    assert (finding.span.file, finding.span.line) == ("part_of_mine.py", 2)
    shown = refused.value.traceback_text or ""
    assert "app.py" in shown
    assert "part_of_mine.work()" in shown
    for ours in ("loading.py", "importlib", "_as_our_errors"):
        assert ours not in shown


def test_a_module_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, "import nothing_of_that_name"))
    assert "Install 'nothing_of_that_name'" in (refused.value.findings[0].hint or "")


def test_exit_in_an_app_file_is_an_error_like_others(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, "import sys\nsys.exit(3)"))
    assert refused.value.findings[0].message == "SystemExit: 3"


def test_a_mistake_in_a_declaration_is_told_as_a_finding(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, WORKING.replace("text: str", "text: complex\n    b: bytes")))
    assert len(refused.value.findings) == 2
    assert refused.value.traceback_text is None


def test_a_call_that_does_not_fit_is_told_with_its_line_and_no_traceback(tmp_path: Path) -> None:
    text = 'from pylon import relation\n\nowner = relation("User", "ownerId")\n'
    with pytest.raises(LoadError) as refused:
        load_app(app_file(tmp_path, text))
    (finding,) = refused.value.findings
    assert (finding.code, refused.value.traceback_text) == ("DECLARATION_INVALID", None)
    assert finding.span is not None
    assert finding.span.line == 3
    assert "Write `relation('User', field='ownerId')`" in (finding.hint or "")
