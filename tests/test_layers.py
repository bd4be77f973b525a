"""Imports go down only (design 3.1): the floors, the arrows inside them, and what to do instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pylon"

FLOORS = {
    7: ("Entry", {"cli", "__main__"}),
    6: ("Assembly", {"app", "service", "server", "wiring", "assembly"}),
    5: ("Surface", {"api", "studio"}),
    4: ("Extras", {"plugins"}),
    3: (
        "Features",
        {
            *("auth", "sync", "functions", "jobs", "workflows", "rooms", "shards"),
            *("cache", "files", "mail", "webhooks", "ai"),
        },
    ),
    2: ("Rows and sockets", {"data", "live"}),
    1: ("Storage", {"store", "changes", "crdt", "bus"}),
    0: ("Words", {"wire", "schema", "policy", "http"}),
}
"""The folders (and the root modules that are not words) of each floor. Other root modules are on
floor 0."""

ARROWS = {
    ("service", "wiring"),
    ("wiring", "assembly"),
    ("cli", "__main__"),
    ("__main__", "cli"),
    ("workflows", "jobs"),
    ("auth", "mail"),
    ("webhooks", "mail"),
    ("changes", "store"),
    ("crdt", "store"),
    ("policy", "schema"),
    ("part", "http"),
}
"""Who may import whom on the same floor."""

SIDE = {"client", "testing"}
"""Beside the house: `client` sees floor 0 only; nobody in the house sees either."""

FLOOR_OF = {part: floor for floor, (_, parts) in FLOORS.items() for part in parts}

INSTEAD = (
    "Let wiring.py hand in a small Protocol, or move the shared word down to the floor of both."
)


def part_of(module: str) -> str | None:
    """The folder or root module that `pylon.x.y` belongs to; None for what is not ours."""
    names = module.split(".")
    return names[1] if names[0] == "pylon" and len(names) > 1 else None


def is_part(name: str) -> bool:
    """Whether `pylon.<name>` is a module and not something that the package's facade shows."""
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()


def is_word(part: str) -> bool:
    """Whether a part is a root module of floor 0."""
    return part not in FLOOR_OF and part not in SIDE


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import, also of those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module is not None
            if node.module == "pylon":
                yield from ((node.lineno, f"pylon.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def floor(part: str) -> int:
    return FLOOR_OF.get(part, 0)


def fault(importer: str, imported: str) -> str | None:
    """Why `importer` must not import `imported`, and what to do; None where it may."""
    if importer == imported or (importer, imported) in ARROWS:
        return None
    if imported in SIDE:
        return f"nobody in the house imports {imported}"
    if importer in SIDE:
        allowed = floor(imported) == 0 or importer == "testing"
        return None if allowed else f"{importer} may import floor 0 only"
    above, below = floor(importer), floor(imported)
    if below < above or (is_word(importer) and is_word(imported)):
        return None
    if above == below == 0 and is_word(imported):
        return None
    names = f"{importer} (floor {above}, {FLOORS[above][0]})"
    names += f" must not import {imported} (floor {below}, {FLOORS[below][0]})"
    return f"{names}. {INSTEAD}"


def modules() -> list[Path]:
    # The package's own facade shows what is elsewhere; templates are apps of users.
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "__init__.py" and "templates" not in path.parts
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    inside = path.relative_to(PACKAGE)
    importer = inside.parts[0].removesuffix(".py")
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {why}"
        for line, module in imports(path.read_text(encoding="utf-8"))
        if (imported := part_of(module)) is not None
        and is_part(imported)
        and (why := fault(importer, imported)) is not None
    ]
    assert faults == [], "\n".join(faults)


def name_of(path: Path) -> str:
    """`pylon.x.y` for the file of a module."""
    parts = ("pylon", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def imported_modules(source: str, known: Set[str]) -> set[str]:
    """The known modules that a source names, for the type checker only or not."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in known else node.module for name in names}
    return found & known


def circles(graph: Mapping[str, Set[str]]) -> list[list[str]]:
    """Every set of modules each of which imports, in some steps, all the others."""
    reached = {module: _reached(graph, module) for module in graph}
    found = {
        tuple(sorted(m for m in reached[module] if module in reached[m]))
        for module in graph
        if module in reached[module]
    }
    return [list(circle) for circle in sorted(found)]


def _reached(graph: Mapping[str, Set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    left = [start]
    while left:
        new = graph[left.pop()] - reached
        reached |= new
        left += new
    return reached


def test_no_modules_import_in_a_circle() -> None:
    paths = {name_of(path): path for path in modules()}
    graph = {
        name: imported_modules(path.read_text(encoding="utf-8"), paths.keys()) - {name}
        for name, path in paths.items()
    }
    found = circles(graph)
    assert found == [], f"{found}: move what both need into a module below both"


def test_the_finder_of_circles() -> None:
    known = {"pylon.a", "pylon.a.b", "pylon.c", "pylon.d"}
    hidden = "if TYPE_CHECKING:\n    from pylon.a import b\nfrom pylon.c import x\nimport os"
    assert imported_modules(hidden, known) == {"pylon.a.b", "pylon.c"}
    chain = {"a": {"b"}, "b": {"c"}, "c": set[str](), "d": {"a"}}
    assert circles(chain) == []
    assert circles({**chain, "c": {"a"}}) == [["a", "b", "c"]]


def test_every_folder_has_its_floor() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    homeless = folders - set(FLOOR_OF) - SIDE
    assert homeless == set(), f"{homeless}: give it a floor in the design and in this test"


@pytest.mark.parametrize(
    ("importer", "imported", "is_fine"),
    [
        ("api", "data", True),
        ("data", "api", False),
        ("sync", "auth", False),
        ("auth", "mail", True),
        ("mail", "auth", False),
        ("http", "errors", True),
        ("errors", "http", False),
        ("policy", "schema", True),
        ("schema", "policy", False),
        ("wire", "http", False),
        ("app", "server", False),
        ("plugins", "api", False),
        ("client", "wire", True),
        ("client", "data", False),
        ("api", "testing", False),
    ],
)
def test_the_judge(importer: str, imported: str, is_fine: bool) -> None:
    assert (fault(importer, imported) is None) == is_fine
