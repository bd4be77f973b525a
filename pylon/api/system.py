"""What a server says of itself: its manifest."""

from __future__ import annotations

from pylon.codec import encode
from pylon.http.describe import Docs, Hidden, json, shape
from pylon.http.dev_gate import has_dev_rights
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.schema.model import Manifest

MANIFEST = Docs(
    operation_id="getManifest",
    tag="system",
    answers=json(shape("Manifest")),
    takes_any_query=True,
    description="Private fields are listed for administrators only, policies for them and in dev"
    " mode on the same machine.",
)


class AboutRoutes:
    """`/api`, the address that is printed at a start: where to go from there."""

    def __init__(self, manifest: Manifest) -> None:
        self._answer = encode(
            {
                "name": manifest.name,
                "version": manifest.version,
                "manifest": "/api/manifest",
                "openapi": "/api/openapi.json",
                "health": "/health",
                "live": ["/ws", "/events"],
            }
        )

    def register(self, router: Router) -> None:
        """Add the route."""
        docs = Hidden(reason="an address for people, whose programs read /api/openapi.json")
        router.add("GET", "/api", self.read_about, summary="What is served here", docs=docs)

    async def read_about(self, _: Request) -> Response:
        return raw_json(self._answer)


class SystemRoutes:
    """The handlers. Administrators are shown private fields and policies, dev mode the latter."""

    def __init__(self, manifest: Manifest, *, dev_mode: bool) -> None:
        self._dev_mode = dev_mode
        self._full = encode(manifest.to_wire())
        self._of_dev = encode(manifest.public.to_wire())
        self._public = encode(manifest.public.to_wire(include_policies=False))

    def register(self, router: Router) -> None:
        """Add the routes."""
        path = "/api/manifest"
        router.add("GET", path, self.read_manifest, summary="The app's manifest", docs=MANIFEST)

    async def read_manifest(self, request: Request) -> Response:
        if request.identity.is_admin:
            return raw_json(self._full)
        is_dev = has_dev_rights(request, dev_mode=self._dev_mode)
        return raw_json(self._of_dev if is_dev else self._public)
