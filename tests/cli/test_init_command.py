"""`pylon init`: what it writes, what it refuses, and that the result is the example."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylon import codec
from pylon.cli.init_command import PLACEHOLDER, TEMPLATES, template_files, template_names
from tests.cli.conftest import RunPylon
from tests.examples.served import EXAMPLES

SKIPPED = (".pylon", "__pycache__")


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file of an app's folder, but for what serving leaves there."""
    return {
        each.relative_to(folder).as_posix(): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file() and not set(SKIPPED) & {*each.relative_to(folder).parts}
    }


def test_a_new_app_is_written_and_is_right(pylon: RunPylon, tmp_path: Path) -> None:
    done = pylon("init", "shopping-list")
    assert done.returncode == 0, done.stderr
    assert "pylon dev shopping-list" in done.stdout
    written = files_below(tmp_path / "shopping-list")
    assert written == template_files("todo", "shopping-list")
    assert not any(PLACEHOLDER.encode() in content for content in written.values())
    manifest = codec.decode(pylon("manifest", "shopping-list").stdout)
    assert manifest["name"] == "shopping-list"


def test_the_todo_example_is_the_todo_template() -> None:
    """One folder with two addresses: a copy would drift."""
    assert (EXAMPLES / "todo").is_symlink()
    assert (EXAMPLES / "todo").resolve() == TEMPLATES / "todo"


def test_json(pylon: RunPylon) -> None:
    told = codec.decode(pylon("init", "a", "--json").stdout)
    files = told.pop("files")
    assert told == {"code": "INIT_OK", "name": "a", "path": "a", "template": "todo"}
    assert {"app.py", ".gitignore", "public/index.html", "README.md"} <= set(files)


def test_a_folder_with_anything_in_it_is_refused(pylon: RunPylon, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    done = pylon("init", "taken", "--json")
    assert done.returncode == 1
    assert codec.decode(done.stdout)[0]["code"] == "INIT_DIR_EXISTS"
    assert files_below(tmp_path / "taken") == {"mine.txt": b"mine"}


def test_an_empty_folder_is_filled(pylon: RunPylon, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert pylon("init", "empty").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        ((), "INIT_NO_PATH", 64),
        (("",), "INIT_NO_PATH", 64),
        ((".hidden",), "INIT_INVALID_NAME", 64),
        (('a"b',), "INIT_INVALID_NAME", 64),
        (("a", "--template", "none"), "INIT_UNKNOWN_TEMPLATE", 64),
        (("file/below",), "INIT_MKDIR_FAILED", 1),
    ],
)
def test_refusals(
    pylon: RunPylon, tmp_path: Path, arguments: tuple[str, ...], code: str, exit_code: int
) -> None:
    (tmp_path / "file").write_text("")
    done = pylon("init", *arguments, "--json")
    assert codec.decode(done.stdout)[0]["code"] == code
    assert done.returncode == exit_code


def test_there_is_a_todo_template() -> None:
    assert template_names() == ["todo"]
