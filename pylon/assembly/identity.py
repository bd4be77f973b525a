"""Who is asking: sessions, what the app says of their users, and the routes that make them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pylon import limits
from pylon.api.auth.pairing import PairingRoutes
from pylon.api.auth.sessions import AuthRoutes, guest_allowance
from pylon.assembly.loop import LoopGroup
from pylon.auth.claims import UserClaims
from pylon.auth.pairing import Pairing
from pylon.auth.sessions import AUTH_TABLES, Sessions, end_all_in
from pylon.auth.telling import SessionTeller
from pylon.changes.model import Change, RowData
from pylon.http.rate_limit import RateLimit, RateLimiter
from pylon.identity import Identity
from pylon.metrics import Metrics
from pylon.part import Listener, Part, Periodic, Worker
from pylon.policy.callers import claim_fields


class IdentityGroup(LoopGroup):
    """Sessions and claims."""

    @cached_property
    def claims(self) -> UserClaims | None:
        """What the user's row says of a caller; None where no such field is declared."""
        fields = claim_fields(self.manifest)
        entity = self.manifest.user_entity
        return UserClaims(self.store, fields, entity=entity) if fields else None

    @cached_property
    def sessions(self) -> Sessions:
        claims = None if self.claims is None else self.claims.of
        return Sessions(
            self.session_store or self.store, self.clock, claims=claims, calls=self.calls
        )

    @cached_property
    def session_teller(self) -> SessionTeller | None:
        """Tells the app's hooks of sessions; None where there are none."""
        return SessionTeller(self.hooks.on_session) if self.hooks.on_session else None

    @cached_property
    def sessions_made(self) -> RateLimiter:
        """How many sessions an address makes without a password."""
        return self.rate_limiter("guests", guest_allowance(is_dev=self.config.dev_mode))

    @cached_property
    def auth(self) -> AuthRoutes:
        name = self.manifest.name
        return AuthRoutes(
            self.sessions,
            self.config,
            app_name=name,
            guests=self.sessions_made,
            user_row=self.user_row,
        )

    async def user_row(self, identity: Identity) -> RowData | None:
        """The caller's own row of the users; of what is made above, where rows are read."""
        raise NotImplementedError

    @cached_property
    def pairing(self) -> Pairing:
        return Pairing(self.session_store or self.store, self.clock, self.sessions)

    @cached_property
    def pairing_routes(self) -> PairingRoutes:
        return PairingRoutes(self.pairing, made=self.sessions_made)

    @cached_property
    def rate_limit(self) -> RateLimit:
        """One allowance an address; administrators have no limit."""
        apart = [path for part in self.parts for path in part.paths_apart]
        return RateLimit(
            self.rate_limiter("requests"), is_exempt=self.auth.is_admin, paths_apart=apart
        )


def _listeners(house: IdentityGroup) -> Sequence[Listener]:
    sessions = house.sessions
    found = [Listener(name="sessions", hear=sessions.hear, hears=sessions.HEARS)]
    if house.claims is not None:
        hear = house.claims.listener(sessions.forget_user)
        found.append(Listener(name="claims", hear=hear, hears=(Change,)))
    teller = house.session_teller
    if teller is not None:
        found.append(
            Listener(
                name="hooks of sessions", hear=teller.hear, hears=teller.HEARS, runs_in="owner"
            )
        )
    return found


def _periodic(house: IdentityGroup) -> Sequence[Periodic]:
    sessions = house.sessions
    return (
        Periodic(
            name="note sessions",
            seconds=limits.SESSION_SWEEP_SECONDS,
            work=sessions.save_last_seen,
            runs_in="every process",
        ),
        Periodic(
            name="end sessions", seconds=limits.SESSION_LOOK_SECONDS, work=sessions.end_expired
        ),
        Periodic(
            name="forget pairing codes",
            seconds=limits.SESSION_SWEEP_SECONDS,
            work=house.pairing.purge,
        ),
    )


def _workers(house: IdentityGroup) -> Sequence[Worker]:
    teller = house.session_teller
    return () if teller is None else (Worker(name="tell hooks of sessions", run=teller.run),)


def _metrics(house: IdentityGroup, metrics: Metrics) -> None:
    teller = house.session_teller
    if teller is not None:
        name = "pylon_session_hook"
        metrics.register_gauge(f"{name}_events_waiting", "To be told.", lambda: teller.waiting)
        metrics.register_counter(
            f"{name}_failures_total", "Calls that failed.", lambda: teller.failures
        )
        metrics.register_counter(f"{name}_events_lost_total", "Not told.", lambda: teller.lost)


async def _start(house: IdentityGroup) -> None:
    if house.session_store is not None and "owner" in house.process.duties:
        await end_all_in(house.store)


IDENTITY = Part[IdentityGroup](
    name="auth",
    tables=AUTH_TABLES,
    routes=lambda house: (house.auth, house.pairing_routes),
    stages=lambda house: {"rate limit": house.rate_limit, "identity": house.auth.identify},
    calls=lambda house: (house.sessions.seen,),
    secret_paths=("/api/auth/",),
    listeners=_listeners,
    periodic=_periodic,
    workers=_workers,
    metrics=_metrics,
    start=_start,
    stop=lambda house: house.sessions.close(),
    erases=lambda house: {"sessions": house.sessions.revoke_all},
    exports=lambda house: {"sessions": house.sessions.kept_of},
)
