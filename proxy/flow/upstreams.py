"""From a way to serve a request to a call that can be started: address, key, headers, body, and who reads the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from uuid import UUID

from proxy.catalog.route import Route
from proxy.flow.candidates import Candidate
from proxy.identity.principal import Principal
from proxy.metering.reading import UsageReader
from proxy.outbound.origin import split_base_url
from proxy.outbound.pool import Pool
from proxy.outbound.request import BadHeader, Target, target
from proxy.outbound.sink import Sink, UpstreamCall
from proxy.providers.openai import OpenAIDialect
from proxy.providers.registry import DIALECTS, READERS
from proxy.relay.echo import Echo
from proxy.relay.pump import StartCall
from proxy.vault.seal import SealBroken, Vault
from proxy.wire.client_request import ClientRequest
from proxy.wire.refusals import Reason, Refused
from proxy.wire.splice import upstream_body

log = logging.getLogger(__name__)
ECHO = "echo"


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 120.0


class Prepared(NamedTuple):
    """What is the same for every call to one route on one surface. `target` None: served in-process."""

    target: Target | None
    dialect: OpenAIDialect
    reader: UsageReader
    renames: Mapping[str, str]


class Outgoing(NamedTuple):
    """One call, ready to start. `body` as the provider gets it; `clean` takes our account out of its errors."""

    start: StartCall
    body: bytes
    reader: UsageReader
    strip_usage_chunk: bool
    clean: Callable[[bytes], bytes] | None


class Upstreams:
    """`global_keys` by provider name, from the environment: never stored."""

    def __init__(
        self, pool: Pool, vault: Vault, global_keys: Mapping[str, str], timeouts: Timeouts, echo: Echo
    ) -> None:
        self._pool = pool
        self._vault = vault
        self.global_keys = global_keys
        self._timeouts = timeouts
        self._echo = echo
        self._prepared: dict[tuple[UUID, str], tuple[Route, Prepared]] = {}

    def outgoing(self, way: Candidate, principal: Principal, request: ClientRequest) -> Outgoing:
        """Raises `Refused` where the provider key cannot be used."""
        route = way.route
        provider = route.provider
        prepared = self._prepare(route, request.surface)
        ask_usage = request.stream and provider.stream_usage == "asked"
        body = upstream_body(
            request,
            model=route.upstream_model,
            ask_usage=ask_usage,
            keep_extensions=provider.usage_reader == "openrouter",
            rename=prepared.renames,
        )
        strip = ask_usage and not (request.include_usage or request.usage_include)
        if prepared.target is None:
            return Outgoing(partial(self._echo.call, body), body, prepared.reader, strip, None)
        key = self._key(way, principal)
        try:
            data = prepared.target.request([*prepared.dialect.headers(key), *request.forward_headers], body)
        except BadHeader as wrong:
            raise Refused(Reason.BAD_HTTP, f"A header cannot be passed on: {wrong}.") from None
        except ValueError as wrong:
            raise Refused(
                Reason.NO_PROVIDER_KEY, f"The key for {provider.name} cannot be used: {wrong}. Set it again."
            ) from None
        clean = None if way.own is not None else lambda text: prepared.dialect.clean_error(text, key)
        return Outgoing(self._starter(prepared.target, data), body, prepared.reader, strip, clean)

    def _starter(self, to: Target, data: bytes) -> StartCall:
        pool, timeouts = self._pool, self._timeouts

        def start(sink: Sink) -> UpstreamCall:
            return pool.call(
                to.origin, data, sink, connect_timeout_s=timeouts.connect_s, idle_timeout_s=timeouts.idle_s,
                first_byte_timeout_s=timeouts.first_byte_s,
            )  # fmt: skip

        return start

    def _prepare(self, route: Route, surface: str) -> Prepared:
        known = self._prepared.get((route.id, surface))
        if known is not None and known[0] is route:
            return known[1]
        provider = route.provider
        dialect = DIALECTS["openai" if provider.dialect == ECHO else provider.dialect]
        to: Target | None = None
        if provider.dialect != ECHO:
            origin, base = split_base_url(provider.base_url)
            to = target(
                origin,
                "POST",
                base + dialect.path(surface),
                [(b"content-type", b"application/json"), (b"user-agent", b"synapscale-gateway")],
            )
        prepared = Prepared(to, dialect, READERS[provider.usage_reader], dialect.renames(provider.usage_reader))
        self._prepared[(route.id, surface)] = (route, prepared)
        return prepared

    def _key(self, way: Candidate, principal: Principal) -> str:
        own = way.own
        provider = way.route.provider.name
        if own is None:
            return self.global_keys[provider]
        try:
            return self._vault.open(
                own.sealed, workspace_id=principal.workspace_id, provider=own.provider, row_id=own.user_variable_id
            )
        except SealBroken as broken:
            log.error("user variable %s cannot be opened: %s", own.user_variable_id, broken)
            raise Refused(
                Reason.NO_PROVIDER_KEY, f"The stored key for {provider} cannot be opened. Set it again."
            ) from None
