"""Finds an app and loads it: a folder, an `app.py`, or a manifest file.

Everything that is wrong with it comes out as one `LoadError` with every finding; mistakes in the
user's code also with the user's part of the traceback, never ours. Not here: printing, serving.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

import pylon
from pylon.cli.import_watch import watched
from pylon.cli.output import FAILED, USAGE
from pylon.schema.called import DeclarationError
from pylon.schema.diagnostics import (
    Diagnostic,
    SchemaError,
    Span,
    did_you_mean,
    error,
    has_errors,
    warning,
)
from pylon.schema.strays import BLOCKS

if TYPE_CHECKING:
    from pylon.app import App
    from pylon.schema.model import Manifest
    from pylon.schema.places import Places

ENTRY_NAMES = ("app.py", "pylon.manifest.json")
"""What a folder is searched for, in this order."""

_OUR_FOLDER = Path(__file__).resolve().parents[1]
_TEMPLATES = _OUR_FOLDER / "cli" / "templates"

_PYTHON = Path(os.__file__).parent
_INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders that installed libraries stand in, wherever they are."""


class Entry(Struct, frozen=True, kw_only=True):
    """Where an app stands. `folder` holds its `public/` and, in dev, its `.pylon/`."""

    file: Path
    folder: Path


class LoadedApp(Struct, frozen=True, kw_only=True):
    """An app that can be served. `declared` is None for a manifest file."""

    entry: Entry
    manifest: Manifest
    declared: App | None
    warnings: tuple[Diagnostic, ...]


class LoadError(Exception):
    """An app that cannot be served: every finding, and for a mistake in its code the traceback
    from its own files."""

    def __init__(
        self,
        findings: Iterable[Diagnostic],
        *,
        traceback_text: str | None = None,
        exit_code: int = FAILED,
    ) -> None:
        self.findings = tuple(findings)
        self.traceback_text = traceback_text
        self.exit_code = exit_code
        super().__init__("; ".join(finding.message for finding in self.findings))


def find_entry(app: str, *, verb: str) -> Entry:
    """The entry that APP means. Fails with `<VERB>_NO_ENTRY` (64) when a folder has none and with
    `<VERB>_ENTRY_NOT_FOUND` (1) when the path is not there (spec 05 sections 9.3, 9.4)."""
    given = Path(app)
    if given.is_dir():
        for name in ENTRY_NAMES:
            file = given / name
            if file.is_file():
                return Entry(file=file.resolve(), folder=given.resolve())
        names = " nor ".join(ENTRY_NAMES)
        hint = "Name the app (`pylon dev path/to/app`), or write one with `pylon init todo-app`."
        finding = error(f"{verb}_NO_ENTRY", f"{_shown(given)} has neither {names}", hint)
        raise LoadError([finding], exit_code=USAGE)
    if not given.is_file():
        hint = "APP is a folder, an app.py or a manifest .json file."
        raise LoadError([error(f"{verb}_ENTRY_NOT_FOUND", f"{app} is not there", hint)])
    if given.suffix not in (".py", ".json"):
        hint = "APP is a folder, an app.py or a manifest .json file."
        finding = error(f"{verb}_ENTRY_INVALID", f"{app} is neither Python nor JSON", hint)
        raise LoadError([finding], exit_code=USAGE)
    file = given.resolve()
    return Entry(file=file, folder=file.parent)


def load_app(entry: Entry) -> LoadedApp:
    """Load and judge the app, or raise `LoadError` with everything that is wrong with it."""
    from pylon.app import check

    if entry.file.suffix == ".json":
        declared = None
        manifest, findings, places = _read_manifest(entry.file)
    else:
        declared, manifest, findings = _run_app(entry)
        places = declared.places
    findings = [_shortened(each) for each in [*findings, *check(manifest, places)]]
    if has_errors(findings):
        raise LoadError(findings)
    return LoadedApp(entry=entry, manifest=manifest, declared=declared, warnings=tuple(findings))


def _shortened(finding: Diagnostic) -> Diagnostic:
    """The finding with its file as people want to read it."""
    if finding.span is None:
        return finding
    span = msgspec.structs.replace(finding.span, file=_shown(Path(finding.span.file)))
    return msgspec.structs.replace(finding, span=span)


def _read_manifest(file: Path) -> tuple[Manifest, list[Diagnostic], Places]:
    """The manifest, what was passed over in it, and where its parts stand."""
    from pylon.schema.parse import parse_manifest
    from pylon.schema.places import places_in_manifest

    try:
        text = file.read_bytes()
    except OSError as problem:
        message = f"cannot read {_shown(file)}: {problem.strerror}"
        raise LoadError([error("MANIFEST_READ_FAILED", message)]) from problem
    manifest, findings = parse_manifest(text, _shown(file))
    if manifest is None:
        raise LoadError(findings)
    return manifest, findings, places_in_manifest(text, str(file))


def _run_app(entry: Entry) -> tuple[App, Manifest, list[Diagnostic]]:
    """Import the app's file and take the manifest of the `App` in it; with warnings."""
    with _as_our_errors(entry):
        module = _import_file(entry)
        declared = _the_app(module, entry)
        return declared, declared.manifest(), _forgotten(module, declared)


def _forgotten(module: ModuleType, declared: App) -> list[Diagnostic]:
    """Entities of the file that nothing has put into the app."""
    from pylon.app import App
    from pylon.schema.entity import Entity

    apps = [declared, *(each for each in vars(module).values() if isinstance(each, App))]
    return [
        warning(
            "ENTITY_NOT_REGISTERED",
            f"the entity {each.__name__} is not part of the app",
            "Write `@app.entity` above it, or derive entities of the app from it.",
            span=each.__pylon__.spots.get(""),
        )
        for each in vars(module).values()
        if isinstance(each, type)
        and issubclass(each, Entity)
        and each.__module__ == module.__name__
        and not any(app.is_registered(each) for app in apps)
    ]


def _import_file(entry: Entry) -> ModuleType:
    """Import by path, with the app's folder first on the path, so that it may import its own
    modules. What it prints goes to stderr: stdout belongs to the command."""
    if str(entry.folder) not in sys.path:
        sys.path.insert(0, str(entry.folder))
    name = entry.file.stem
    if name in sys.modules:
        name = f"pylon_app_{name}"
    spec = spec_from_file_location(name, entry.file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    with contextlib.redirect_stdout(sys.stderr), watched(entry.file, is_users=_is_users):
        spec.loader.exec_module(module)
    return module


def _the_app(module: ModuleType, entry: Entry) -> App:
    """The module's `app`, or the only `App` in it."""
    from pylon.app import App

    named = getattr(module, "app", None)
    if isinstance(named, App):
        return named
    found = {id(each): each for each in vars(module).values() if isinstance(each, App)}
    if len(found) == 1:
        return next(iter(found.values()))
    shown = _shown(entry.file)
    if found:
        hint, message = "Name the one to serve `app`.", f"{shown} has {len(found)} apps"
        raise LoadError([error("APP_AMBIGUOUS", message, hint, span=Span(shown))])
    hint = 'Write `app = App("my-app")`, with `from pylon import App`.'
    raise LoadError([error("APP_NOT_FOUND", f"{shown} declares no app", hint, span=Span(shown))])


@contextlib.contextmanager
def _as_our_errors(entry: Entry) -> Iterator[None]:
    """Turn whatever the app's file raises into `LoadError`.

    Foreign code runs here, as in a hook call, so every exception must be expected; `sys.exit()`
    in an app file too.
    """
    try:
        yield
    except LoadError:
        raise
    except SchemaError as problem:
        raise LoadError([_shortened(each) for each in problem.diagnostics]) from problem
    except (Exception, SystemExit) as problem:
        raise _app_failure(problem, entry) from problem


def _app_failure(problem: BaseException, entry: Entry) -> LoadError:
    """A finding with the place in the user's file, and the traceback without our frames."""
    told = traceback.TracebackException.from_exception(problem)
    _without_our_frames(told)
    hint = None
    if isinstance(problem, SyntaxError):
        span = Span(_shown(Path(problem.filename or entry.file)), problem.lineno, problem.offset)
        code, what = "APP_SYNTAX_ERROR", problem.msg
    elif isinstance(problem, DeclarationError):
        code, what, hint = "DECLARATION_INVALID", problem.message, problem.hint
        span = _own_span(told, entry)
    else:
        code, what = "APP_FAILED", f"{type(problem).__name__}: {problem}"
        span = _own_span(told, entry)
    if isinstance(problem, ModuleNotFoundError):
        hint = f"Install {problem.name!r} in the environment of {sys.executable}."
    elif isinstance(problem, ImportError) and problem.name == "pylon":
        wanted = re.search(r"cannot import name '(\w+)'", str(problem))
        hint = _import_hint(wanted[1] if wanted else "")
    finding = error(code, what, hint, span=span)
    if code == "DECLARATION_INVALID":  # the place and the mend are all there is to know
        return LoadError([finding])
    return LoadError([finding], traceback_text="".join(told.format()).rstrip())


def _own_span(told: traceback.TracebackException, entry: Entry) -> Span:
    """The last line of the app's own files that was run."""
    own = [f for f in told.stack if _is_users(f.filename)]
    if not own:
        return Span(_shown(entry.file))
    return Span(_shown(Path(own[-1].filename)), own[-1].lineno)


def _import_hint(name: str) -> str:
    """What to import instead of a name that `pylon` has not."""
    if name in BLOCKS:
        return f"Nothing is imported for it: write `class {name}:` inside of the entity."
    return did_you_mean(name, pylon.__all__)


def _without_our_frames(told: traceback.TracebackException | None) -> None:
    """Keep the frames of the user's files only, in the causes too."""
    while told is not None:
        kept = [frame for frame in told.stack if not _is_ours(frame.filename)]
        told.stack = traceback.StackSummary.from_list(kept)
        _without_our_frames(told.__cause__)
        told = told.__context__


def _is_users(filename: str) -> bool:
    """Whether a source file is the user's: not ours, no library, nothing that Python made itself.
    The folder does not tell: a venv often stands in that of the app."""
    if filename.startswith("<") or _is_ours(filename):
        return False
    path = Path(filename)
    return not path.is_relative_to(_PYTHON) and _INSTALLED.isdisjoint(path.parts)


def _is_ours(filename: str) -> bool:
    if filename.startswith("<frozen"):
        return True
    path = Path(filename)
    return path.is_relative_to(_OUR_FOLDER) and not path.is_relative_to(_TEMPLATES)


def _shown(path: Path) -> str:
    """The path as people want to read it: relative where it is below the current folder."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)
