"""Whose key, at which provider: the ordered ways to serve a request (pure)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal, NamedTuple

from proxy.catalog.route import Llm, Route
from proxy.identity.principal import OwnCredential, Principal
from proxy.wire.refusals import Reason, Refused

# Dialects that are served in-process and need no provider key.
KEYLESS_DIALECTS = frozenset(["echo"])


class Candidate(NamedTuple):
    """`own` None: the global key of the provider. `account`: whose bill at the provider."""

    route: Route
    own: OwnCredential | None
    key_source: Literal["user", "workspace", "global"]
    account: Literal["own", "ours"]


def candidates(
    principal: Principal, llm: Llm, global_keys: Collection[str], now: datetime, *, tied: bool = False
) -> list[Candidate]:
    """In order of preference; the key policy of the workspace decides per provider. `tied`: the request goes where what it
    names lies, so every key that the policy does not forbid is one, not only the first.

    Raises `Refused` where no route has a key that the policy allows.
    """
    found: list[Candidate] = []
    for route in llm.routes:
        provider = route.provider
        if provider.dialect in KEYLESS_DIALECTS:
            found.append(Candidate(route, None, "global", "ours"))
            continue
        policy = principal.key_policy
        owns = [] if policy == "global_only" else own_credentials(principal, provider.name, now)
        found += [Candidate(route, own, own.scope, "own") for own in (owns if tied else owns[:1])]
        # Under own_else_global an own key excludes the global one: its refusal is an error, not a change of payer.
        may_use_global = policy != "own_only" and (policy != "own_else_global" or tied or not owns)
        if may_use_global and provider.name in global_keys:
            found.append(Candidate(route, None, "global", "ours"))
    if not found:
        names = " or ".join(sorted({route.provider.name for route in llm.routes})) or "its provider"
        raise Refused(
            Reason.NO_PROVIDER_KEY,
            f"No provider key can be used for `{llm.name}`: workspace `{principal.workspace_name}` has the key policy "
            f"{principal.key_policy} and there is no key for {names}. Add an own one "
            f"(`synapscale variables set {names.split(' or ')[0]} --stdin`) or set the global one and restart.",
            param="model",
        )
    return found


def own_credentials(principal: Principal, provider: str, now: datetime) -> list[OwnCredential]:
    """The user's own go before the workspace's; an expired one does not count."""
    return [
        own
        for scope in ("user", "workspace")
        for own in principal.own_credentials
        if own.scope == scope and own.provider == provider and (own.expires_at is None or own.expires_at > now)
    ]
