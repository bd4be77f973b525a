"""`GET /api/openapi.json` (spec 01 sections 8.2 and 10), for anyone.

The document is made when it is first asked for, since all routes are known only then, and kept as
bytes. Private fields are told to administrators, policies to them and in dev mode on the same
machine, as in `GET /api/manifest`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from pylon.api.openapi.document import Subject, document
from pylon.codec import encode
from pylon.http.describe import Docs, json
from pylon.http.dev_gate import has_dev_rights
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Route, Router

PREFIXES_KEPT_MAX = 8
"""How many addresses of a mounted app are kept; there is one, and a header may invent others."""

OPENAPI = Docs(
    operation_id="getOpenApiSpec",
    tag="system",
    answers=json({"type": "object"}),
    takes_any_query=True,
    description="Private fields are described for administrators only, policies for them and in dev"
    " mode on the same machine.",
)


class OpenApiRoutes:
    """The handler."""

    def __init__(
        self, subject: Subject, routes: Callable[[], Sequence[Route]], *, dev_mode: bool
    ) -> None:
        self._subject = subject
        self._routes = routes
        self._dev_mode = dev_mode
        self._made: dict[tuple[bool, bool, str], bytes] = {}
        self._making = asyncio.Lock()

    def register(self, router: Router) -> None:
        """Add the route."""
        path = "/api/openapi.json"
        router.add("GET", path, self.read_document, summary="This document", docs=OPENAPI)

    async def read_document(self, request: Request) -> Response:
        is_admin = request.identity.is_admin
        shows_policies = is_admin or has_dev_rights(request, dev_mode=self._dev_mode)
        server = str(request.scope.get("root_path") or "").rstrip("/") or "/"
        key = (is_admin, shows_policies, server)
        body = self._made.get(key)
        if body is None:
            async with self._making:
                body = self._made.get(key) or await self._make(*key)
        return raw_json(body)

    async def _make(self, is_admin: bool, shows_policies: bool, server: str) -> bytes:
        """Beside the loop: it takes milliseconds for each entity."""
        subject = self._subject
        if not is_admin:
            subject = replace(subject, manifest=subject.manifest.public)
        routes = self._routes()

        def make() -> bytes:
            return encode(document(subject, routes, server=server, shows_policies=shows_policies))

        body = await asyncio.get_running_loop().run_in_executor(None, make)
        if len(self._made) < PREFIXES_KEPT_MAX:
            self._made[is_admin, shows_policies, server] = body
        return body
