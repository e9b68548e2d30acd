"""The catalog of one moment: immutable, so that a request sees one state from its first stage to its last."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pricing.price import PriceVersion, Unpriced
from pricing.rate import in_force
from proxy.catalog.route import Llm

# Beyond this a name is noise, and comparing it would be work that a client chooses for us.
_NAME_MAX = 200
_NEAR_MAX = 3


@dataclass(frozen=True, slots=True)
class Catalog:
    """`epoch`: the global epoch that was read before the rows. `llms` by name."""

    epoch: int = 0
    llms: Mapping[str, Llm] = field(default_factory=dict)

    def find(self, name: str) -> Llm | None:
        """Exact: no prefix, no case folding. A near miss is a question to the client, never a guess."""
        return self.llms.get(name)

    def price_of(self, provider: str, model: str, moment: datetime) -> PriceVersion | Unpriced:
        """Of a model that another one called there: the price of the first llm that has a route to it."""
        for llm in self.llms.values():
            for route in llm.routes:
                if route.upstream_model == model and route.provider.name == provider:
                    found = in_force(route.prices, moment)
                    if isinstance(found, PriceVersion):
                        return found
        return Unpriced(f"no price is known for {model[:100]}")

    def near(self, name: str, among: Collection[str] | None = None) -> list[str]:
        """At most three names that the client may have meant, best first; of `among` only, if given."""
        if len(name) > _NAME_MAX:
            return []
        names = [llm for llm in self.llms if among is None or llm in among]
        by_folded = {llm.lower(): llm for llm in names}
        wanted = name.strip().lower()
        last = wanted.rpartition("/")[2]  # "openai/gpt-4o-mini": other gateways prefix the provider
        found = difflib.get_close_matches(wanted, by_folded, n=_NEAR_MAX) if wanted else []
        exact = [folded for folded in by_folded if last and folded.rpartition("/")[2] == last]
        return [by_folded[folded] for folded in dict.fromkeys([*exact, *found])][:_NEAR_MAX]
