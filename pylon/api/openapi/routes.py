"""`GET /api/openapi.json` (spec 01 sections 8.2 and 10), for anyone.

The document is made when it is first asked for, since all routes are known only then, and kept as
bytes. Private fields are told to administrators, policies to them and in dev mode on the same
machine, as in `GET /api/manifest`.
"""

from __future__ import annotations

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
            subject = self._subject
            if not is_admin:
                subject = replace(subject, manifest=subject.manifest.public)
            made = document(subject, self._routes(), server=server, shows_policies=shows_policies)
            body = encode(made)
            if len(self._made) < PREFIXES_KEPT_MAX:
                self._made[key] = body
        return raw_json(body)
