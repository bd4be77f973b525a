"""What newcomers write, and what they are told: the code, the mend, and the line where it stands.

Each app is loaded as `pylon manifest`, `dev` and `start` do it. The line that is wrong says `# <-`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pylon.cli.loading import Entry, LoadError, load_app
from pylon.schema.diagnostics import Diagnostic

HEAD = """
from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar
from uuid import uuid4

from pylon import (
    App, Entity, Id, RichText, User, auth, data, exists, field, index, now, relation, row
)

app = App("mistakes")
"""

TODO = """
@app.entity
class Todo(Entity):
    title: str
    done: bool = False
    state: str = "open"
    n: int = 0
    ownerId: Id[User] | None = field(default=auth.userId)
"""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A mistake: what is in the class body (`written`) or the whole file (`file`), and what is told
    of it. `mend` stands in the message or the hint."""

    code: str
    mend: str
    written: str = ""
    file: str = ""
    rule: str = ""

    def source(self) -> str:
        if self.file:
            return HEAD + self.file
        written = self.written
        if self.rule:
            written = f"    class policy:\n        read = {self.rule}  # <-"
        return HEAD + TODO + written + "\n"


def rule(text: str, code: str, mend: str) -> Mistake:
    return Mistake(rule=text, code=code, mend=mend)


def body(text: str, code: str, mend: str) -> Mistake:
    return Mistake(written=f"    {text}  # <-", code=code, mend=mend)


MISTAKES = [
    # --- fields
    body("x = False", "FIELD_NOT_ANNOTATED", "`x: bool = False`"),
    body("x = ''", "FIELD_NOT_ANNOTATED", "`x: str = ''`"),
    body("x = None", "FIELD_NOT_ANNOTATED", "Write its type"),
    body("x = field(unique=True)", "FIELD_NOT_ANNOTATED", "`x: str = field(...)`"),
    body("x = now", "FIELD_NOT_ANNOTATED", "`x: datetime = field(...)`"),
    body("x = str", "FIELD_NOT_ANNOTATED", "`x: str`, with a colon"),
    body("x: str, y: str", "APP_SYNTAX_ERROR", "invalid syntax"),
    body("x: datetime = datetime.now()", "DEFAULT_FROZEN", "`field(default=now)`"),
    body("x: datetime = field(default=datetime.utcnow())", "DEFAULT_FROZEN", "default=now"),
    body("x: str = datetime.now().isoformat()", "DEFAULT_FROZEN", "default=now"),
    body("x: str = str(uuid4())", "DEFAULT_FROZEN", "before-insert hook"),
    body("x: datetime = field(default=datetime.now)", "DEFAULT_INVALID", "default=now"),
    body("x: str = field(default_factory=str)", "DECLARATION_INVALID", "A default is a value"),
    body("x: str = field('a')", "DECLARATION_INVALID", "`field(default='a')`"),
    body("x: str = field(uniqe=True)", "DECLARATION_INVALID", 'Did you mean "unique"?'),
    body("x: str = None", "DEFAULT_INVALID", "`| None`"),
    body("x: str = auth.email", "DEFAULT_INVALID", "auth.userId"),
    body("x: bool = 'false'", "DEFAULT_TYPE_MISMATCH", "Give true or false"),
    body("x: str = field(readonly=True)", "FIELD_NEVER_SET", "Give it a default"),
    body("x: str = field(private=True)", "FIELD_NEVER_SET", "Give it a default"),
    body("x: str = field(unique=True, default='a')", "DEFAULT_UNIQUE", "Leave the default out"),
    body("x: User", "ANNOTATION_UNKNOWN", '`Id["User"]`'),
    body("x: Todo | None", "ANNOTATION_UNKNOWN", '`Id["Todo"]`'),
    body("x: str | int", "ANNOTATION_UNKNOWN", "Use str, int"),
    body("x: Id['Usr']", "FIELD_ID_TARGET_NOT_FOUND", 'Did you mean "User"?'),
    body("id: str", "NAME_RESERVED", "leave it out"),
    body("x: str = field(crdt='txt')", "CRDT_ANNOTATION_INVALID", 'Did you mean "text"?'),
    # --- inner classes
    body("class polcy: read = True", "SLOT_UNKNOWN", 'Did you mean "policy"?'),
    body("class Meta: read = True", "SLOT_UNKNOWN", "policy, indexes, relations, search"),
    body("policy = {'read': True}", "SLOT_INVALID", "`class policy:`"),
    body("by_title = index('title')", "SLOT_INVALID", "`class indexes:`"),
    body("class policy: reed = True", "SLOT_UNKNOWN", 'Did you mean "read"?'),
    body("class indexes: a = 'title'", "SLOT_INVALID", "`a = index(...)`"),
    body("class indexes: a = index('titel')", "INDEX_FIELD_NOT_FOUND", 'Did you mean "title"?'),
    body(
        "class relations: a = relation('Usr', field='ownerId')",
        *("RELATION_TARGET_NOT_FOUND", 'Did you mean "User"?'),
    ),
    body("class search: text = 'title'", "SLOT_INVALID", '`text = ("title",)`'),
    body("class search: text = ('done',)", "SEARCH_FIELD_TYPE_MISMATCH", "use facets"),
    # --- rules
    rule("auth.userID == data.ownerId", "APP_FAILED", 'Did you mean "userId"?'),
    rule("auth.user_id == data.ownerId", "APP_FAILED", 'Did you mean "userId"?'),
    rule("auth.hasRole('x')", "APP_FAILED", 'Did you mean "has_role"?'),
    rule("auth.isAdmin()", "APP_FAILED", "cannot be called"),
    rule("(data.n == 1) & (data.n == 2)", "POLICY_NEVER_TRUE", "never both true"),
    rule("(data.n != 1) | (data.n != 2)", "POLICY_ALWAYS_TRUE", "did you mean `&&`?"),
    rule("auth.userId == data.ownerID", "POLICY_UNKNOWN_NAME", "`data.ownerId`"),
    rule("auth.userId == data.ownerId & data.done", "APP_FAILED", "in parentheses"),
    rule("data.n == 1 & data.done", "APP_FAILED", "in parentheses"),
    rule("(data.done == True) | data.state == 'x'", "APP_FAILED", "in parentheses"),
    rule("auth.userId == data.ownerId & data.n == 1", "APP_FAILED", "in parentheses"),
    rule("~auth.userId == data.ownerId", "APP_FAILED", "`~(data.a == data.b)`"),
    rule("data.state in ['open']", "APP_FAILED", "in_([...])"),
    rule("'editor' in auth.roles", "APP_FAILED", "auth.roles.contains(x)"),
    rule("data.done and data.state == 'x'", "APP_FAILED", "& | ~ instead of and, or, not"),
    rule("data.done or auth.isGuest", "APP_FAILED", "& | ~ instead of and, or, not"),
    rule("not data.done", "APP_FAILED", "`~(...)` instead of `not`"),
    rule("1 < data.n < 3", "APP_FAILED", "do not chain comparisons"),
    rule("data.ownerId is None", "SLOT_INVALID", "Write == instead of is"),
    rule("data.title.startswith('x')", "APP_FAILED", "in_(), contains()"),
    rule("len(data.title) < 10", "APP_FAILED", "max_length"),
    rule("data.n + 1 < 10", "APP_FAILED", "rules compute nothing"),
    rule("lambda: True", "SLOT_INVALID", "A rule is an expression"),
    rule("(auth.userId == data.ownerId,)", "SLOT_INVALID", "a comma behind it"),
    rule("auth.roles == 'admin'", "POLICY_TYPE_MISMATCH", '"name" in auth.roles'),
    rule("data.n == 'x'", "POLICY_TYPE_MISMATCH", "one kind"),
    rule("exists('Tdo', row.n == 1)", "POLICY_UNKNOWN_NAME", "Did you mean `Todo`?"),
    rule("'auth.userId = data.ownerId'", "POLICY_SYNTAX", "Compare with `==`"),
    rule("'data.done and auth.isGuest'", "POLICY_SYNTAX", "Write `&&`"),
    rule("'data.done == True'", "POLICY_UNKNOWN_NAME", "Write `true`"),
    # --- the file
    Mistake(
        file="\n@app.entity  # <-\nclass Todo:\n    x: str\n",
        code="ENTITY_INVALID",
        mend="`class Todo(Entity):`",
    ),
    Mistake(
        file=TODO + "\nclass Note(Entity):  # <-\n    x: str\n",
        code="ENTITY_NOT_REGISTERED",
        mend="`@app.entity`",
    ),
    Mistake(
        file="\nclass Stamps:\n    at: datetime\n\n\n@app.entity\n"
        "class Todo(Stamps, Entity):  # <-\n    x: str\n",
        code="FIELD_LOST",
        mend="`class Stamps(Entity):`",
    ),
    Mistake(
        file=TODO + "\napp.policy('x', entity='Tod', read=True)  # <-\n",
        code="POLICY_ENTITY_NOT_FOUND",
        mend='Did you mean "Todo"?',
    ),
    Mistake(
        file=TODO + "\napp.query('x', input={'y': bytes})  # <-\n",
        code="ANNOTATION_UNKNOWN",
        mend='the input "y" of the query "x"',
    ),
    Mistake(
        file="\nfrom pylon import Feild  # <-\n", code="APP_FAILED", mend='Did you mean "field"?'
    ),
    Mistake(
        file="\nimport nothing_so_called  # <-\n",
        code="APP_FAILED",
        mend="Install 'nothing_so_called'",
    ),
]


def told(folder: Path, source: str) -> tuple[Diagnostic, ...]:
    file = folder / "app.py"
    file.write_text(source)
    try:
        return load_app(Entry(file=file, folder=folder)).warnings
    except LoadError as problem:
        return problem.findings


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.rule or m.written or m.file)
def test_a_mistake_is_told_with_its_mend_and_its_line(tmp_path: Path, mistake: Mistake) -> None:
    source = mistake.source()
    (found,) = told(tmp_path, source)
    assert found.code == mistake.code
    assert mistake.mend in f"{found.message} {found.hint}"
    lines = source.splitlines()
    marked = [number for number, line in enumerate(lines, 1) if line.endswith("# <-")]
    assert found.span is not None
    if mistake.code == "ENTITY_INVALID":  # where a decorator stands differs between Pythons
        assert found.span.line in (marked[0], marked[0] + 1)
    else:
        assert [found.span.line] == marked


def test_what_is_no_mistake_passes(tmp_path: Path) -> None:
    source = (
        HEAD
        + TODO
        + """
    LIMIT: ClassVar[int] = 3
    _cache = {}
    made: datetime = datetime(2026, 1, 31, 9, 30)
    text: "str | None" = None

    class policy:
        read = (auth.userId == data.ownerId) & ((data.done == False) | ~auth.isGuest)
        write = exists("Todo", row.ownerId == auth.userId, row.state == "open")

    class indexes:
        by_owner = index("ownerId")

    def shout(self) -> str:
        return self.title.upper()

    @property
    def is_open(self) -> bool:
        return not self.done
"""
    )
    assert told(tmp_path, source) == ()


def test_what_is_a_class_of_an_entity_is_not_imported(tmp_path: Path) -> None:
    (found,) = told(tmp_path, "from pylon import App, search\n")
    assert (found.code, found.hint) == (
        "APP_FAILED",
        "Nothing is imported for it: write `class search:` inside of the entity.",
    )


def test_an_import_that_never_ends_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pylon.limits.APP_IMPORT_TOLD_SECONDS", 0.01)
    # Goes on once it was told of: what was printed is what it waits for.
    waits = "\nimport sys\n\n\ndef wait():\n    while 'app.py:' not in sys.stderr.getvalue():\n"
    waits += "        pass\n\n\nwait()\n"
    told(tmp_path, HEAD + TODO + waits)
    printed = capsys.readouterr().err
    assert "app.py is still being imported" in printed
    assert "in wait(): `" in printed


def test_a_library_that_waits_at_import_is_told_of_with_the_line_that_called_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pylon.limits.APP_IMPORT_TOLD_SECONDS", 0.01)
    # The venv in the app's folder; it goes on once it was told of.
    libraries = tmp_path / ".venv" / "lib" / "site-packages"
    libraries.mkdir(parents=True)
    waits = "import sys, threading\n\n\ndef fetch():\n"
    waits += "    while 'imported after' not in sys.stderr.getvalue():\n"
    waits += "        threading.Event().wait(0.2)\n"
    (libraries / "slowlibrary.py").write_text(waits)
    calls = f"\nimport sys\nsys.path.append({str(libraries)!r})\nimport slowlibrary\n"
    told(tmp_path, f"{HEAD}{TODO}{calls}slowlibrary.fetch()\n")
    printed = capsys.readouterr().err
    assert "app.py:" in printed
    assert ": `slowlibrary.fetch()` (in wait() of threading.py)" in printed


def test_what_a_library_raises_is_told_of_with_the_line_that_called_it(tmp_path: Path) -> None:
    libraries = tmp_path / ".venv" / "lib" / "site-packages"
    libraries.mkdir(parents=True)
    (libraries / "badlibrary.py").write_text("def fetch():\n    raise OSError('no network')\n")
    calls = f"\nimport sys\nsys.path.append({str(libraries)!r})\nimport badlibrary\n"
    source = f"{HEAD}{TODO}{calls}badlibrary.fetch()\n"
    (found,) = told(tmp_path, source)
    assert found.span is not None
    assert Path(found.span.file).name == "app.py"
    assert found.span.line == len(source.splitlines())


def test_a_manifest_file_is_told_of_by_line_as_well(tmp_path: Path) -> None:
    file = tmp_path / "pylon.manifest.json"
    field = '{"name": "done", "type": "bool", "optional": false, "unique": false, "default": 3}'
    policy = '{"name": "p", "entity": "Todo", "allowRead": "data.doen"}'
    lines = [
        '{"manifest_version": 1, "name": "x", "version": "1", "routes": [],',
        '"entities": [{"name": "Todo", "indexes": [',
        '  {"name": "by", "fields": ["titel"], "unique": false}],',
        f'  "fields": [{field}]}}],',
        f'"policies": [{policy}]}}',
    ]
    file.write_text("\n".join(lines))
    with pytest.raises(LoadError) as raised:
        load_app(Entry(file=file, folder=tmp_path))
    where = {finding.code: finding.span.line for finding in raised.value.findings if finding.span}
    assert where == {
        "INDEX_FIELD_NOT_FOUND": 3,
        "DEFAULT_TYPE_MISMATCH": 4,
        "POLICY_UNKNOWN_NAME": 5,
    }
