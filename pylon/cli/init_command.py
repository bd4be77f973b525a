"""`pylon init`: writes a new app from a template; the templates are the folders of `templates/`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pylon.cli.command import json_option
from pylon.cli.output import USAGE, bold, current

TEMPLATES = Path(__file__).parent / "templates"
DEFAULT_TEMPLATE = "todo"

PLACEHOLDER = "todo-app"
"""The app's name in the files of every template; `init` puts the new name in its place."""

_NAME = re.compile(r"\w[\w .-]*")

# Hidden files have plain names in the package, lest tools take them for the package's own.
_RENAMED = {"gitignore": ".gitignore"}


def template_names() -> list[str]:
    """The templates there are."""
    return sorted(each.name for each in TEMPLATES.iterdir() if each.is_dir())


def template_files(template: str, name: str) -> dict[str, bytes]:
    """The files of a new app called `name`, by their path in its folder."""
    root = TEMPLATES / template
    files: dict[str, bytes] = {}
    for source in sorted(root.rglob("*")):
        place = source.relative_to(root)
        if source.is_dir() or "__pycache__" in place.parts or ".pylon" in place.parts:
            continue
        target = place.with_name(_RENAMED.get(place.name, place.name)).as_posix()
        files[target] = source.read_bytes().replace(PLACEHOLDER.encode(), name.encode())
    return files


@click.command(
    "init",
    help="""Write a new app into the folder NAME.

    The folder is made; one that has anything in it is refused.

    \b
    Examples:
      pylon init todo-app
      pylon init apps/notes --template todo
    """,
)
@click.argument("path", metavar="NAME", required=False)
@click.option(
    "--template",
    default=DEFAULT_TEMPLATE,
    show_default=True,
    help="What to start from.",
)
@json_option
def command(path: str | None, template: str) -> None:
    output = current()
    if not path:
        hint = "For example: pylon init todo-app"
        output.fail("INIT_NO_PATH", "which folder?", hint, exit_code=USAGE)
    folder = Path(path)
    name = folder.absolute().name
    if _NAME.fullmatch(name) is None:
        hint = "Use letters, digits, spaces, _, - and dots, beginning with a letter or digit."
        output.fail("INIT_INVALID_NAME", f"{name!r} is no name", hint, exit_code=USAGE)
    if template not in template_names():
        hint = f"Templates: {', '.join(template_names())}."
        output.fail("INIT_UNKNOWN_TEMPLATE", f"no template {template!r}", hint, exit_code=USAGE)
    files = template_files(template, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        output.fail("INIT_MKDIR_FAILED", f"cannot make {folder}: {error.strerror}")
    if taken:
        output.fail("INIT_DIR_EXISTS", f"{folder} is not empty", "Choose another name.")
    try:
        for target, content in files.items():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_bytes(content)
    except OSError as error:
        output.fail("INIT_WRITE_FAILED", f"cannot write into {folder}: {error.strerror}")
    output.say(f"{name} is in {folder}:")
    for target in files:
        output.say(f"  {target}")
    output.say(f"\nNow: {bold(f'pylon dev {folder}')}")
    output.record(
        {
            "code": "INIT_OK",
            "name": name,
            "path": str(folder),
            "template": template,
            "files": list(files),
        }
    )
