"""The ways in which a key's requests for an llm can be served, worked out once and kept until something of them changes.

Whose key and which route (`candidates`), the price in force, the bytes that every request and every event of it begin with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pricing.price import PriceVersion, Unpriced
from pricing.rate import in_force
from proxy.admission.places import Place, Places
from proxy.catalog.route import Llm, Provider, Route
from proxy.catalog.snapshot import Catalog
from proxy.flow.answer import head_of_way
from proxy.flow.candidates import Candidate, candidates
from proxy.flow.events import Constant, PlainAnnouncement, PriceThen, constant_fields, plain_announcement
from proxy.flow.upstreams import ECHO, Prepared, Upstreams
from proxy.identity.principal import Principal
from proxy.providers.support import surfaces_of
from proxy.telemetry.clock import Clock
from proxy.wire.ids import moment_of
from proxy.wire.refusals import Reason, Refused

WAYS_MOST = 20_000
_IN_PROCESS = frozenset(["chat"])


@dataclass(slots=True)
class Way:
    """`price` is in force up to `until_ms` (exclusive)."""

    candidate: Candidate
    prepared: Prepared
    constant: Constant  # of its events
    head: bytes  # of its answers
    price: PriceVersion | Unpriced
    until_ms: int
    announcement: PlainAnnouncement | None  # at that price
    place: Place

    @property
    def route(self) -> Route:
        return self.candidate.route

    def price_at(self, moment: datetime) -> PriceVersion | Unpriced:
        """Beyond `until_ms`."""
        return in_force(self.route.prices, moment)


class _Kept(NamedTuple):
    principal: Principal
    catalog: Catalog
    until_ms: int
    ways: list[Way]


class Ways:
    """One per gateway."""

    def __init__(self, upstreams: Upstreams, clock: Clock) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self.places = Places()  # without a bound, until a gateway gives one
        self._kept: dict[tuple[int, str, str, bool], _Kept] = {}

    def find(
        self, principal: Principal, catalog: Catalog, llm_name: str, surface: str, *, tied: bool = False
    ) -> list[Way]:
        """In order of preference. `tied`: by every key that may be used, for who goes where something lies.

        Raises `Refused`: no such llm, not for this key, no provider key.
        """
        key = (principal.key_id.int, llm_name, surface, tied)
        kept = self._kept.get(key)
        if (
            kept is not None
            and kept.principal is principal
            and kept.catalog is catalog
            and self._clock.now_ms() < kept.until_ms
        ):
            return kept.ways
        ways, until_ms = self._work_out(principal, catalog, llm_name, surface, tied)
        if len(self._kept) >= WAYS_MOST:
            self._kept.clear()
        self._kept[key] = _Kept(principal, catalog, until_ms, ways)
        return ways

    def _work_out(
        self, principal: Principal, catalog: Catalog, llm_name: str, surface: str, tied: bool
    ) -> tuple[list[Way], int]:
        now = self._clock.now()
        changes = [own.expires_at for own in principal.own_credentials if own.expires_at is not None]
        llm = usable_llm(catalog, principal, llm_name)
        ways = []
        for candidate in having(surface, candidates(principal, llm, self._upstreams.global_keys, now, tied=tied), llm):
            route = candidate.route
            changes += _price_changes(route)
            price = in_force(route.prices, now)
            if isinstance(price, Unpriced) and llm.unpriced == "reject":
                continue
            constant = constant_fields(principal, candidate, llm_name, surface, _price_then(catalog, route.provider.name))
            ways.append(
                Way(
                    candidate,
                    self._upstreams.prepare(candidate, surface),
                    constant,
                    head_of_way(candidate),
                    price,
                    0,
                    plain_announcement(price, constant.terms),
                    self.places.of(route.provider.name, stalls=route.provider.dialect != ECHO),
                )
            )
        if not ways:
            raise unpriced(llm)
        until_ms = min((int(change.timestamp() * 1000) for change in changes if change > now), default=1 << 62)
        for way in ways:
            way.until_ms = until_ms
        return ways, until_ms


def _price_then(catalog: Catalog, provider: str) -> PriceThen:
    return lambda attempt_id, model: catalog.price_of(provider, model, moment_of(attempt_id))


def having(surface: str, found: list[Candidate], llm: Llm) -> list[Candidate]:
    """Those whose provider has the surface."""
    fit = [way for way in found if surface in surfaces_of_provider(way.route.provider)]
    if not fit:
        offered = sorted({name for way in found for name in surfaces_of_provider(way.route.provider)})
        raise Refused(
            Reason.LLM_NOT_FOUND,
            f"The llm `{llm.name}` has no {surface} at its provider. It has: {', '.join(offered)}.",
            param="model",
        )
    return fit


def unpriced(llm: Llm) -> Refused:
    return Refused(
        Reason.LLM_UNPRICED,
        f"The llm `{llm.name}` has no price now, and is set to refuse requests until it has one. "
        f"Ask the platform's admin to set one (`synapscale prices set {llm.name}`).",
        param="model",
    )


def surfaces_of_provider(provider: Provider) -> frozenset[str]:
    return _IN_PROCESS if provider.dialect == ECHO else surfaces_of(provider.base_url)


def usable_llm(catalog: Catalog, principal: Principal, name: str) -> Llm:
    found = catalog.find(name)
    allowed = principal.llms
    if found is None:
        near = catalog.near(name, among=allowed)
        hint = f" Did you mean {' or '.join(f'`{other}`' for other in near)}?" if near else ""
        raise Refused(
            Reason.LLM_NOT_FOUND,
            f"The llm `{name[:200]}` does not exist here.{hint} GET /v1/models lists what this key can use.",
            param="model",
        )
    if allowed is not None and name not in allowed:
        raise Refused(
            Reason.LLM_NOT_ALLOWED,
            f"This key may not use `{name}`. It may use: {', '.join(sorted(allowed)[:20]) or 'none'}.",
            param="model",
        )
    return found


def _price_changes(route: Route) -> list[datetime]:
    moments = [version.effective_from for version in route.prices]
    return moments + [version.effective_to for version in route.prices if version.effective_to is not None]
