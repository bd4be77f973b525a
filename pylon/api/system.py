"""What a server says of itself: its manifest."""

from __future__ import annotations

from pylon.codec import encode
from pylon.http.describe import Docs, json, shape
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.schema.model import Manifest

MANIFEST = Docs(
    operation_id="getManifest",
    tag="system",
    answers=json(shape("Manifest")),
    description="Policies are listed in dev mode and for administrators only.",
)


class SystemRoutes:
    """The handlers. Policies are shown in dev and to administrators only."""

    def __init__(self, manifest: Manifest, *, dev_mode: bool) -> None:
        self._dev_mode = dev_mode
        self._full = encode(manifest.to_wire())
        self._stripped = encode(manifest.to_wire(include_policies=False))

    def register(self, router: Router) -> None:
        """Add the routes."""
        path = "/api/manifest"
        router.add("GET", path, self.read_manifest, summary="The app's manifest", docs=MANIFEST)

    async def read_manifest(self, request: Request) -> Response:
        is_open = self._dev_mode or request.identity.is_admin
        return raw_json(self._full if is_open else self._stripped)
