"""What all requests pass: the pipeline with the stages of every part, the table of routes, the
probes and what the server says of itself. The loops over parts that make these stand here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import pylon
from pylon.api.crossing import cross, route_calls
from pylon.api.openapi.document import Subject
from pylon.api.openapi.routes import OpenApiRoutes
from pylon.api.pages import Pages
from pylon.api.system import AboutRoutes, SystemRoutes
from pylon.asking import address_key
from pylon.assembly.sync import SyncGroup
from pylon.calls import DirectCalls
from pylon.http.access_log import AccessLog
from pylon.http.body_limit import BodyLimit
from pylon.http.body_room import BodyRoom
from pylon.http.compression import Compression
from pylon.http.cors import Cors
from pylon.http.dev_gate import DevGate
from pylon.http.finish import Finish
from pylon.http.pipeline import Pipeline, Stage
from pylon.http.probes import Probes
from pylon.http.router import Router
from pylon.http.unknown_proxy import UnknownProxy
from pylon.http.unsent import Unsent
from pylon.metrics import Metrics
from pylon.page_policy import page_policy
from pylon.part import PLACES, Part, Routes


class KernelGroup(SyncGroup):
    """The way in."""

    @cached_property
    def pipeline(self) -> Pipeline:
        """What every request passes; the stages stand in the order of `part.PLACES`."""
        secret = tuple(path for part in self.parts for path in part.secret_paths)
        return Pipeline(
            stages=self.stages(),
            router=self.router,
            finish=Finish(
                cors=Cors(self.cors_origins, loopback=self.config.dev_mode),
                metrics=self.metrics,
                clock=self.clock,
                access_log=self.access_log if self.config.access_log else None,
            ),
            clock=self.clock,
            # Answers that hold secrets may repeat what they were asked.
            compression=Compression(self.config.gzip_level, paths_apart=secret),
            unsent=self.unsent,
            trusted_proxy_hops=self.config.trusted_proxy_hops,
        )

    @cached_property
    def access_log(self) -> AccessLog:
        """Where the requests that are answered are noted."""
        token = self.config.admin_token
        return AccessLog(
            self.clock,
            json_lines=self.config.log_format == "json",
            secrets=(token,) if token else (),
        )

    @cached_property
    def unsent(self) -> Unsent:
        """The large answers on their way."""
        return Unsent(
            self.clock,
            total_max=self.config.unsent_bytes_max,
            per_address_max=self.config.unsent_bytes_per_address_max,
        )

    def stages(self) -> tuple[Stage, ...]:
        """The stages of all parts: by place, and within a place in the order of the parts."""
        brought = [part.stages(self) for part in self.parts]
        return tuple(stages[place] for place in PLACES for stages in brought if place in stages)

    @cached_property
    def router(self) -> Router:
        """Every route."""
        router = Router(self.manifest.entities_by_name)
        for part in self.parts:
            for routes in part.routes(self):
                routes.register(router)
        if isinstance(self.calls, DirectCalls):
            for _, call in route_calls(router):
                self.call_table.add(call)
        else:
            cross(router, self.calls, self.call_table.add)
        return router

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """The origins whose pages may read answers, by the settings and by the app."""
        return (*self.config.cors_origins, *self.manifest.trusted_origins)

    @cached_property
    def dev_gate(self) -> DevGate:
        return DevGate(
            (*self.cors_origins, *self.config.csrf_origins),
            allows_remote=self.config.dev_allow_remote,
            host=self.config.host,
        )

    @cached_property
    def probes(self) -> Probes:
        return Probes(
            metrics=self.metrics,
            clock=self.clock,
            version=pylon.__version__,
            dev_mode=self.config.dev_mode,
            admin_token=self.config.admin_token,
            readiness=self.readiness,
        )

    def readiness(self) -> Mapping[str, bool | str]:
        """The checks of all parts: True, or why not."""
        return {name: fine for part in self.parts for name, fine in part.ready(self).items()}

    @cached_property
    def body_limit(self) -> BodyLimit:
        return BodyLimit(
            {path: most for part in self.parts for path, most in part.body_bytes.items()},
            room=self.body_room,
            anonymous=self.config.anonymous_body_bytes_max,
        )

    @cached_property
    def body_room(self) -> BodyRoom:
        """Where large request bodies are kept, all doors together."""
        bytes_max = self.config.bodies_bytes_max
        return BodyRoom(self.clock, key_of=address_key, bytes_max=bytes_max)


def _routes(house: KernelGroup) -> Sequence[Routes]:
    found: list[Routes] = [
        SystemRoutes(house.manifest, dev_mode=house.config.dev_mode),
        AboutRoutes(house.manifest),
        OpenApiRoutes(
            Subject(
                manifest=house.manifest,
                cookie_name=house.config.session_cookie_name(house.manifest.name),
                has_hooks=house.hooks.are_any,
            ),
            lambda: (*house.probes.routes(), *house.router.routes()),
            dev_mode=house.config.dev_mode,
        ),
    ]
    if house.root is not None:
        found.append(
            Pages(
                house.root / "public",
                fallback=house.config.pages_fallback,
                policy=page_policy(house.config.pages_sources),
            )
        )
    return found


def _metrics(house: KernelGroup, metrics: Metrics) -> None:
    room, name = house.body_room, "pylon_http_bodies"
    metrics.register_gauge(f"{name}_bytes", "Large bodies in memory.", lambda: room.taken)
    metrics.register_gauge(f"{name}_waiting", "Bodies that wait for room.", lambda: room.waiting)
    metrics.register_counter(f"{name}_refused_total", "Had no room.", lambda: room.refused)
    metrics.register_counter(f"{name}_slow_total", "Made way for others.", lambda: room.too_slow)
    metrics.register_by_label(
        "pylon_ready",
        "1 where a check of /readyz is passed.",
        "check",
        lambda: {name: float(fine is True) for name, fine in house.readiness().items()},
    )
    unsent = house.unsent
    metrics.register_gauge(
        "pylon_http_unsent_bytes",
        "Bytes of large answers kept for clients that have not taken them yet.",
        lambda: unsent.bytes,
    )
    metrics.register_counter(
        "pylon_http_unsent_refused_total",
        "Large answers that were refused, since too much was unsent already.",
        lambda: unsent.refused,
    )
    metrics.register_counter(
        "pylon_http_unsent_cut_total",
        "Large answers that were ended to make room, since their clients were slow.",
        lambda: unsent.cut,
    )
    _pool_metrics(house, metrics)


def _pool_metrics(house: KernelGroup, metrics: Metrics) -> None:
    for figure, text, is_counter in (
        ("workers", "Threads or processes.", False),
        ("busy", "Calls under way.", False),
        ("waiting", "Calls that wait for their turn.", False),
        ("done", "Calls done.", True),
        ("refused", "Calls refused because too many waited.", True),
        ("lost", "Processes that crashed or were killed for their time.", True),
    ):

        def read(figure: str = figure) -> dict[str, float]:
            return {name: getattr(each, figure) for name, each in house.pools.figures.items()}

        name = f"pylon_pool_{figure}{'_total' if is_counter else ''}"
        metrics.register_by_label(name, text, "pool", read, is_counter=is_counter)


async def _stop(house: KernelGroup) -> None:
    await house.pools.close()
    await house.access_log.close()


KERNEL = Part[KernelGroup](
    name="kernel",
    routes=_routes,
    stop=_stop,
    stages=lambda house: {
        **({"dev": house.dev_gate} if house.config.dev_mode else {}),
        **({} if house.config.knows_proxies else {"proxy": UnknownProxy()}),
        "probes": house.probes,
        "csrf": house.csrf,
        "body": house.body_limit,
    },
    metrics=_metrics,
)
