"""PocketBase with the collections of the data suite, as its manual would write them.

The relation rule is a back-relation (`org.members_via_org.user`), the aggregates are views, and
what comes nearest to a search is `~`, which scans. Indexes are those of our app. Rows are
written straight into its tables, of the owners only the callers are real users.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import closing
from itertools import islice
from urllib.parse import quote

from bench import worlds
from bench.load import Plan, request_bytes
from bench.peers.pocketbase import PASSWORD, SIGNED_IN, PocketBase
from bench.processes import BenchError

SQL_ROWS = 20_000
TOTALS = (
    "SELECT status AS id, COUNT(*) AS count, SUM(amount) AS total, AVG(amount) AS mean"
    " FROM sales WHERE amount >= {least} GROUP BY status"
)
TOTALS_VIEWS = 8
"""Views take no parameters, so there is one for each least amount that is asked for."""


class PocketBaseData(PocketBase):
    """One PocketBase with tasks, organisations, members, tickets, sales and notes."""

    def __init__(self, *, cores: AbstractSet[int], request_log: bool = False) -> None:
        super().__init__(cores=cores, request_log=request_log)
        self.tokens: list[str] = []

    def seed(self, rows: int) -> None:
        """Write the whole world."""
        self._insert(
            "tasks (id, title, owner, rank, weight)",
            (
                (record_id(n), t["title"], t["ownerId"], t["rank"], t["weight"])
                for n, t in enumerate(worlds.tasks(rows))
            ),
        )
        self._insert(
            "orgs (id, name)",
            ((record_id(n), each["name"]) for n, each in enumerate(worlds.orgs())),
        )
        self._insert(
            "members (id, org, user)",
            (
                (record_id(n), record_id(org), user)
                for n, (org, user) in enumerate(worlds.members())
            ),
        )
        self._insert(
            "tickets (id, org, title, rank)",
            (
                (record_id(n), record_id(org), title, rank)
                for n, (org, title, rank) in enumerate(worlds.tickets(rows))
            ),
        )
        self._insert(
            "sales (id, status, amount)",
            (
                (record_id(n), each["status"], each["amount"])
                for n, each in enumerate(worlds.sales(rows))
            ),
        )
        self._insert(
            "notes (id, text)",
            ((record_id(n), each["text"]) for n, each in enumerate(worlds.notes(rows))),
        )

    def plan(self, kind: str, words: list[str]) -> Plan:
        """What our side asks, in PocketBase's words."""
        paths = {
            "indexed": [page("tasks", "sort=-rank")],
            "sorted": [page("tasks", "sort=-weight")],
            "relation": [page("tickets", "sort=-rank")],
            "aggregate": [page(f"totals_{least}", "sort=id") for least in range(TOTALS_VIEWS)],
            "shared": [page("totals_0", "sort=id")],
            "search": [
                page("notes", "filter=" + quote(f'text ~ "{word}"', safe=""), with_total=True)
                for word in words
            ],
        }[kind]
        requests = [
            request_bytes("GET", path, headers={"Authorization": token})
            for path in paths
            for token in (self.tokens if len(paths) == 1 else self.tokens[:1])
        ]
        return Plan(name=f"pocketbase {kind}", port=self.port, requests=tuple(requests))

    def _prepare(self) -> None:
        super()._prepare()
        owned = '@request.auth.id != "" && owner = @request.auth.id'
        number = [{"name": name, "type": "number"} for name in ("rank", "weight", "amount")]
        text = [{"name": name, "type": "text"} for name in ("title", "owner", "user", "name")]
        status, body = ({"name": name, "type": "text"} for name in ("status", "text"))
        rank, weight, amount = number
        title, owner, user, name = text
        self._collect("tasks", [title, owner, rank, weight], owned, ["tasks (owner, rank)"])
        self._collect("orgs", [name], SIGNED_IN, [])
        org = {"name": "org", "type": "relation", "collectionId": self._collection_id("orgs")}
        by_both = ["members (org, user)", "members (user, org)"]
        self._collect("members", [org, user], "user = @request.auth.id", by_both)
        member = "org.members_via_org.user ?= @request.auth.id"
        self._collect("tickets", [title, org, rank], member, ["tickets (org, rank)"])
        self._collect("sales", [status, amount], SIGNED_IN, [])
        self._collect("notes", [body], SIGNED_IN, [])
        for least in range(TOTALS_VIEWS):
            query = TOTALS.format(least=least)
            view = {"name": f"totals_{least}", "type": "view", "viewQuery": query}
            self._admin("POST", "/api/collections", {**view, "listRule": SIGNED_IN})
        for number_of_caller in range(worlds.CALLERS):
            self._sign_up(worlds.caller_id(number_of_caller))

    def _collect(
        self, name: str, fields: list[dict[str, str]], rule: str, indexes: list[str]
    ) -> None:
        statements = [
            f"CREATE INDEX idx_{name}_{place} ON {columns}" for place, columns in enumerate(indexes)
        ]
        self._admin(
            "POST",
            "/api/collections",
            {
                "name": name,
                "type": "base",
                "fields": fields,
                "listRule": rule,
                "viewRule": rule,
                "indexes": statements,
            },
        )

    def _collection_id(self, name: str) -> str:
        assert self._folder is not None
        with closing(sqlite3.connect(self._folder / "data.db", timeout=30)) as database:
            found = database.execute("SELECT id FROM _collections WHERE name = ?", (name,))
            return str(found.fetchone()[0])

    def _sign_up(self, user: str) -> None:
        email = f"{user}@example.com"
        body = {"id": user, "email": email, "password": PASSWORD, "passwordConfirm": PASSWORD}
        self._admin("POST", "/api/collections/users/records", body)
        self.tokens.append(self._sign_in("users", email)["token"])

    def _insert(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        assert self._folder is not None
        marks = ", ".join("?" * (table.count(",") + 1))
        source = iter(rows)
        with closing(sqlite3.connect(self._folder / "data.db", timeout=60)) as database:
            while part := list(islice(source, SQL_ROWS)):
                with database:
                    database.executemany(f"INSERT INTO {table} VALUES ({marks})", part)
            try:
                database.execute("ANALYZE")
            except sqlite3.Error as error:
                raise BenchError(f"PocketBase's file: {error}") from None


def record_id(number: int) -> str:
    """An id of 15 characters."""
    return f"r{number:014d}"


def page(collection: str, query: str, *, with_total: bool = False) -> str:
    """The path of a page of 20; counting all is what ours does for a search only."""
    skips = 0 if with_total else 1
    return f"/api/collections/{collection}/records?perPage=20&skipTotal={skips}&{query}"
