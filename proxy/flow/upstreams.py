"""From a way to serve a request to a call that can be started: address, key, headers, body, and who reads the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

from proxy.catalog.route import Provider
from proxy.flow.candidates import Candidate
from proxy.identity.principal import OwnCredential, Principal
from proxy.metering.reading import UsageReader
from proxy.outbound.origin import Origin, split_base_url
from proxy.outbound.pool import Pool
from proxy.outbound.request import BadHeader, Target, target
from proxy.outbound.sink import Headers, Sink, UpstreamCall
from proxy.providers.openai import OpenAIDialect
from proxy.providers.readers import reader_for
from proxy.providers.registry import DIALECTS
from proxy.relay.echo import Echo
from proxy.relay.pump import StartCall
from proxy.vault.seal import SealBroken, Vault
from proxy.wire.client_request import ClientRequest
from proxy.wire.refusals import Reason, Refused
from proxy.wire.splice import upstream_body

log = logging.getLogger(__name__)
ECHO = "echo"
# Of calls that make no llm speak: what they ask for lies ready.
_OBJECT_S = 60.0
_ALWAYS = [(b"content-type", b"application/json"), (b"user-agent", b"synapscale-gateway")]


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 120.0


class Prepared(NamedTuple):
    """What is the same for every call by one way. `to` None: served in-process; it has the global key in it, never an own one."""

    to: Target | None
    dialect: OpenAIDialect
    reader: UsageReader
    renames: Mapping[str, str]
    clean: Callable[[bytes], bytes] | None  # takes our account out of the provider's errors


class Outgoing(NamedTuple):
    """One call, ready to start. `body` as the provider gets it."""

    start: StartCall
    body: bytes
    strip_usage_chunk: bool
    clean: Callable[[bytes], bytes] | None  # takes the key, and our account, out of the provider's errors


class ObjectCall(NamedTuple):
    """One call about what lies at a provider, ready to start."""

    start: StartCall
    clean: Callable[[bytes], bytes] | None  # as of `Outgoing`


class Upstreams:
    """`global_keys` by provider name, from the environment: never stored. An empty one: that provider needs none."""

    def __init__(
        self, pool: Pool, vault: Vault, global_keys: Mapping[str, str], timeouts: Timeouts, echo: Echo
    ) -> None:
        self._pool = pool
        self._vault = vault
        self.global_keys = global_keys
        self._timeouts = timeouts
        self._echo = echo
        self._targets: dict[tuple[str, str], Target] = {}

    def prepare(self, way: Candidate, surface: str) -> Prepared:
        """Raises `Refused` where the global key cannot be sent."""
        provider = way.route.provider
        in_process = provider.dialect == ECHO
        dialect = DIALECTS["openai" if in_process else provider.dialect]
        renames = dialect.renames(provider.usage_reader, surface)
        reader = reader_for(surface, provider.usage_reader)
        if in_process:
            return Prepared(None, dialect, reader, renames, None)
        to = self._target(provider.base_url, dialect.path(surface))
        if way.own is not None:
            return Prepared(to, dialect, reader, renames, None)
        key = self.global_keys[provider.name]
        if not key:
            return Prepared(to, dialect, reader, renames, None)
        return Prepared(
            to.with_headers(_key_headers(dialect, provider.name, key)), dialect, reader, renames,
            partial(dialect.clean_error, key=key),
        )  # fmt: skip

    def outgoing(self, way: Candidate, prepared: Prepared, principal: Principal, request: ClientRequest) -> Outgoing:
        """Raises `Refused` where the provider key cannot be used."""
        provider = way.route.provider
        ask_usage = (
            request.stream and provider.stream_usage == "asked" and prepared.dialect.reports_if_asked(request.surface)
        )
        body = upstream_body(
            request,
            model=way.route.upstream_model,
            ask_usage=ask_usage,
            keep_extensions=provider.usage_reader == "openrouter",
            rename=prepared.renames,
        )
        strip = ask_usage and not (request.include_usage or request.usage_include)
        to = prepared.to
        if to is None:
            return Outgoing(partial(self._echo.call, body), body, strip, None)
        clean = prepared.clean
        if way.own is None:
            headers = [_of_workspace(header, principal) for header in request.forward_headers]
        else:
            key = self._open(way.own, principal)
            headers = [*_key_headers(prepared.dialect, provider.name, key), *request.forward_headers]
            clean = partial(_without, key.encode())
        try:
            data = to.request(headers, body)
        except BadHeader as wrong:
            raise Refused(Reason.BAD_HTTP, f"A header cannot be passed on: {wrong}.") from None
        return Outgoing(partial(self._start, self._timeouts, to.origin, data), body, strip, clean)

    def object_call(
        self, provider: Provider, own: OwnCredential | None, principal: Principal, method: str, path: str,
        forward_headers: Sequence[tuple[bytes, bytes]],
    ) -> ObjectCall:  # fmt: skip
        """`path`: below the base_url, built by the dialect, with its query. Raises `Refused` where the key cannot be used."""
        dialect = DIALECTS[provider.dialect]
        key = self.global_keys[provider.name] if own is None else self._open(own, principal)
        headers = _key_headers(dialect, provider.name, key) if key or own is not None else []
        clean: Callable[[bytes], bytes] | None
        if own is not None:
            headers += forward_headers
            clean = partial(_without, key.encode())
        else:
            headers += [_of_workspace(header, principal) for header in forward_headers]
            clean = partial(dialect.clean_error, key=key) if key else None
        origin, base = split_base_url(provider.base_url)
        try:
            to = target(origin, method, base + path, [(b"user-agent", b"synapscale-gateway")])
            data = to.request(headers, b"" if method == "POST" else None)
        except BadHeader as wrong:
            raise Refused(Reason.BAD_HTTP, f"A header cannot be passed on: {wrong}.") from None
        waits = self._timeouts
        waits = Timeouts(waits.connect_s, min(waits.first_byte_s, _OBJECT_S), min(waits.idle_s, _OBJECT_S))
        return ObjectCall(partial(self._start, waits, origin, data), clean)

    def _start(self, timeouts: Timeouts, origin: Origin, data: bytes, sink: Sink) -> UpstreamCall:
        return self._pool.call(
            origin, data, sink, connect_timeout_s=timeouts.connect_s, idle_timeout_s=timeouts.idle_s,
            first_byte_timeout_s=timeouts.first_byte_s,
        )  # fmt: skip

    def _target(self, base_url: str, path: str) -> Target:
        found = self._targets.get((base_url, path))
        if found is None:
            origin, base = split_base_url(base_url)
            found = self._targets[(base_url, path)] = target(origin, "POST", base + path, _ALWAYS)
        return found

    def _open(self, own: OwnCredential, principal: Principal) -> str:
        try:
            return self._vault.open(
                own.sealed, workspace_id=principal.workspace_id, provider=own.provider, row_id=own.user_variable_id
            )
        except SealBroken as broken:
            log.error("user variable %s cannot be opened: %s", own.user_variable_id, broken)
            raise Refused(
                Reason.NO_PROVIDER_KEY, f"The stored key for {own.provider} cannot be opened. Set it again."
            ) from None


def _of_workspace(header: tuple[bytes, bytes], principal: Principal) -> tuple[bytes, bytes]:
    """On our account at the provider two workspaces may choose the same idempotency key: one must not get the other's answer."""
    name, value = header
    if name != b"idempotency-key":
        return header
    return name, blake2b(value, key=principal.workspace_id.bytes, digest_size=16).hexdigest().encode()


def _without(key: bytes, body: bytes) -> bytes:
    """An own key's account is its owner's to know, the key itself is nobody's: others of the workspace use it too."""
    return body.replace(key, b"[removed]")


def _key_headers(dialect: OpenAIDialect, provider: str, key: str) -> Headers:
    try:
        return dialect.headers(key)
    except ValueError as wrong:
        raise Refused(
            Reason.NO_PROVIDER_KEY, f"The key for {provider} cannot be used: {wrong}. Set it again."
        ) from None
