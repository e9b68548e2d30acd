"""Calls about what lies at a provider: to the account that holds it, whole answers, not metered.

Nothing goes out before it is known whose the object is; what an answer names for the first time is recorded before it is given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from proxy.catalog.route import Provider
from proxy.catalog.snapshot import Catalog
from proxy.flow.answer import broken_refusal, instead_of_unread, is_text
from proxy.flow.request import RequestFlow
from proxy.flow.ties import may_use
from proxy.flow.upstreams import ECHO, ObjectCall
from proxy.identity.principal import OwnCredential, Principal
from proxy.objects.kinds import Account, Minted
from proxy.objects.minted import minted
from proxy.objects.owner import reachable
from proxy.objects.paths import ObjectPath
from proxy.objects.references import Reference
from proxy.outbound.response_headers import for_client, is_encoded
from proxy.outbound.sink import Broken, Headers, UpstreamCall
from proxy.providers.registry import DIALECTS
from proxy.wire.ids import NIL
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024 * 1024  # of an answer: generated images lie in it
_INPUT_ITEMS = "responses/{response}/input_items"
_ASKED_OF_CLIENTS = frozenset(["user", "system", "developer"])


class ObjectRequest(NamedTuple):
    """`query`: encoded, of known names only. `beside`: what the query names."""

    method: Literal["GET", "POST", "DELETE"]
    path: ObjectPath
    query: str
    beside: Sequence[Reference]
    forward_headers: Sequence[tuple[bytes, bytes]]


class ObjectAnswer(NamedTuple):
    """`headers`: for the client."""

    status: int
    headers: Headers
    body: bytes


class _Holder(NamedTuple):
    """Where an object lies, and with which key it is asked for. `own` None: the global one."""

    provider: Provider
    own: OwnCredential | None


class ObjectFlow:
    """One per gateway."""

    def __init__(self, flow: RequestFlow) -> None:
        self._flow = flow
        self._named: tuple[Catalog, dict[str, Provider]] = (Catalog(), {})

    async def call(self, principal: Principal, request: ObjectRequest) -> ObjectAnswer:
        """`principal`: what `authorise` just found. Raises `Refused`: 404 for what is not the caller's, 503 where nobody knows."""
        path, objects = request.path, self._flow.objects
        named = [*path.references, *request.beside]
        owner = await objects.owner_of(principal.workspace_id, named)
        assert owner is not None, "a path names something"
        holders = {account: self._holder(principal, account) for account in owner.accounts}
        account = reachable(owner, named, lambda each: holders[each] is not None).accounts[0]
        holder = holders[account]
        assert holder is not None
        call = self._prepared(principal, holder, request)
        status, headers, body = await self._held(call, holder.provider.name)
        is_ok = 200 <= status < 300
        if is_ok and request.method == "DELETE" and path.deleted is not None:
            await objects.forget(principal.workspace_id, account, path.deleted)
        if not is_ok:
            headers, body = self._cleaned(call, holder, status, headers, body)
        elif body is None or (body and is_encoded(headers)):
            raise Refused(
                Reason.UPSTREAM_BROKE,
                f"The provider {holder.provider.name} answered with a body that is not passed on: compressed, or too large.",
            )
        else:
            top = _decoded(body)
            if request.method != "DELETE":
                await objects.record(principal.workspace_id, account, _new(path, body, top))
            if call.clean is not None and isinstance(top, dict) and top.get("error"):
                body = call.clean(body)
        own = holder.own
        said = [
            (b"x-synapscale-provider", holder.provider.name.encode()),
            (b"x-synapscale-key-source", b"global" if own is None else own.scope.encode()),
        ]
        return ObjectAnswer(status, [*for_client(headers, own_key=own is not None), *said], body or b"")

    def _holder(self, principal: Principal, account: Account) -> _Holder | None:
        """None: the caller has no key for this account (any more)."""
        provider = self._provider(account.provider)
        if provider is None or provider.dialect == ECHO or not may_use(principal, account):
            return None
        if account.user_variable_id == NIL:
            known = account.provider in self._flow.desks.upstreams.global_keys
            return _Holder(provider, None) if known else None
        now = self._flow.desks.clock.now()
        for own in principal.own_credentials:
            if own.user_variable_id == account.user_variable_id and (own.expires_at is None or own.expires_at > now):
                return _Holder(provider, own)
        return None

    def _provider(self, name: str) -> Provider | None:
        """As the catalog has it now."""
        catalog, named = self._named
        if catalog is not self._flow.catalog.current:
            catalog = self._flow.catalog.current
            named = {route.provider.name: route.provider for llm in catalog.llms.values() for route in llm.routes}
            self._named = catalog, named
        return named.get(name)

    def _prepared(self, principal: Principal, holder: _Holder, request: ObjectRequest) -> ObjectCall:
        ids = [reference.id for reference in request.path.references]
        path = DIALECTS[holder.provider.dialect].object_path(request.path.template, ids)
        if request.query:
            path = f"{path}?{request.query}"
        return self._flow.desks.upstreams.object_call(
            holder.provider, holder.own, principal, request.method, path, request.forward_headers
        )

    async def _held(self, call: ObjectCall, provider: str) -> tuple[int, Headers, bytes | None]:
        """The whole answer; its body None where it is too large. Raises `Refused` where there is none."""
        place = self._flow.ways.places.of(provider)
        if place.is_full:
            raise place.full()
        place.taken += 1
        sink = _Whole(asyncio.get_running_loop().create_future())
        sink.call = running = call.start(sink)
        try:
            broken = await sink.done
        finally:
            place.taken -= 1
            running.cancel()
        if broken is not None:
            log.warning("the provider %s broke: %s %s", provider, broken.value, running.detail)
            raise broken_refusal(provider, broken)
        return sink.status, sink.headers, None if sink.is_oversized else b"".join(sink.parts)

    def _cleaned(
        self, call: ObjectCall, holder: _Holder, status: int, headers: Headers, body: bytes | None
    ) -> tuple[Headers, bytes]:
        name = holder.provider.name
        if status in (401, 403) and holder.own is None:
            log.warning("the provider %s refuses the global key: HTTP %s", name, status)
        if body is None or (call.clean is not None and (is_encoded(headers) or not is_text(body))):
            return instead_of_unread(headers, name, status)
        return headers, body if call.clean is None else call.clean(body)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None




def _new(path: ObjectPath, body: bytes, top: Any) -> list[Minted]:
    """What an answer names that this workspace may name from now on.

    Of input items only what clients wrote: its ids are the provider's (OpenAPI: an input message has none). An item that a
    client sent with an id is repeated with it, and whose that is was never proved.
    """
    if path.template != _INPUT_ITEMS:
        return minted(body, surface=path.template.partition("/")[0])
    if not isinstance(top, dict) or not isinstance(items := top.get("data"), list):
        return []
    written = [
        {"id": item.get("id")} for item in items if isinstance(item, dict) and item.get("role") in _ASKED_OF_CLIENTS
    ]
    listed = msgspec.json.encode({"object": "list", "data": written})
    return [each._replace(lasting=False) for each in minted(listed)]


class _Whole:
    """Sink of one call. `done`: how it broke, or None."""

    def __init__(self, done: asyncio.Future[Broken | None]) -> None:
        self.done = done
        self.call: UpstreamCall | None = None
        self.status = 502
        self.headers: Headers = []
        self.parts: list[bytes] = []
        self.is_oversized = False
        self._size = 0

    def on_head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers

    def on_body(self, chunk: bytes) -> None:
        self.parts.append(chunk)
        self._size += len(chunk)
        if self._size > MOST_BYTES:
            self.is_oversized = True
            self.parts.clear()
            if self.call is not None:
                self.call.cancel()
            self._end(None)

    def on_end(self) -> None:
        self._end(None)

    def on_broken(self, reason: Broken) -> None:
        self._end(reason)

    def _end(self, broken: Broken | None) -> None:
        if not self.done.done():
            self.done.set_result(broken)
