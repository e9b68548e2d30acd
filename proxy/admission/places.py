"""Places at providers: how many requests each may hold at once, so that one that stalls leaves room for the others."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.wire.refusals import Reason, Refused

_UNBOUNDED = 1 << 62


class Place:
    """Of one provider. Whoever sends takes one (`taken` += 1) before anything is announced, and gives it back at the end."""

    __slots__ = ("most", "provider", "refused", "taken")

    def __init__(self, provider: str, most: int) -> None:
        self.provider = provider
        self.most = most
        self.taken = 0
        self.refused = 0  # since somebody last told the log

    @property
    def is_full(self) -> bool:
        return self.taken >= self.most

    def full(self) -> Refused:
        self.refused += 1
        return Refused(
            Reason.OVERLOADED,
            f"All {self.most} places for requests to the provider {self.provider} are taken on this gateway. Retry shortly.",
            retry_after_s=1,
        )


class Places:
    """One per gateway. `most`: of a provider without an entry in `own`."""

    def __init__(self, most: int = _UNBOUNDED, own: Mapping[str, int] | None = None) -> None:
        self._most = most
        self._own = own or {}
        self._places: dict[str, Place] = {}

    def of(self, provider: str, *, stalls: bool = True) -> Place:
        """The same object for the same provider. `stalls` False: served in-process, without a bound."""
        place = self._places.get(provider)
        if place is None:
            most = self._own.get(provider, self._most) if stalls else _UNBOUNDED
            place = self._places[provider] = Place(provider, most)
        return place

    def refused(self) -> list[tuple[Place, int]]:
        """Who has refused how often since the last time."""
        found = [(place, place.refused) for place in self._places.values() if place.refused]
        for place, _ in found:
            place.refused = 0
        return found
