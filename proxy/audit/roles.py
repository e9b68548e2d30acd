"""Who may do what: one table, verb and resource → standings. What is not in it is allowed to nobody.

A management key is not bound to a user, so "one's own" does not exist here: whoever may issue keys may do so for every
member of the workspace. That is why `member` reads and changes nothing.
"""

from __future__ import annotations

from uuid import UUID

from proxy.audit.actor import Actor, Role, Standing
from proxy.wire.refusals import Reason, Refused

_NOBODY: frozenset[Standing] = frozenset()
_PLATFORM: frozenset[Standing] = frozenset(["platform"])
_ADMINS: frozenset[Standing] = frozenset(["platform", "owner", "admin"])
_BILLING: frozenset[Standing] = frozenset(["platform", "owner", "admin", "billing"])
_SEEING: frozenset[Standing] = frozenset(["platform", "owner", "admin", "billing", "viewer"])
_ALL: frozenset[Standing] = frozenset(["platform", "owner", "admin", "billing", "member", "viewer"])

ALLOWED: dict[tuple[str, str], frozenset[Standing]] = {
    ("read", "workspace"): _ALL,
    ("create", "workspace"): _PLATFORM,
    ("update", "workspace"): _ADMINS,
    ("block", "workspace"): _PLATFORM,
    ("unblock", "workspace"): _PLATFORM,
    # Prices of a workspace are between it and the operator, who makes them.
    ("read", "plan"): _BILLING,
    ("update", "plan"): _PLATFORM,
    ("read", "price_override"): _BILLING,
    ("update", "price_override"): _PLATFORM,
    ("delete", "price_override"): _PLATFORM,
    ("read", "member"): _ALL,
    ("create", "member"): _ADMINS,
    ("update", "member"): _ADMINS,
    ("delete", "member"): _ADMINS,
    ("read", "user"): _ALL,
    ("create", "user"): _ADMINS,
    # A user may belong to workspaces that the caller does not know.
    ("update", "user"): _PLATFORM,
    ("block", "user"): _PLATFORM,
    ("unblock", "user"): _PLATFORM,
    ("read", "virtual_key"): _ALL,
    ("create", "virtual_key"): _ADMINS,
    ("update", "virtual_key"): _ADMINS,
    ("rotate", "virtual_key"): _ADMINS,
    ("block", "virtual_key"): _ADMINS,
    ("unblock", "virtual_key"): _ADMINS,
    ("delete", "virtual_key"): _ADMINS,
    ("read", "management_key"): _ADMINS,
    ("create", "management_key"): _ADMINS,
    ("update", "management_key"): _ADMINS,
    ("rotate", "management_key"): _ADMINS,
    ("block", "management_key"): _ADMINS,
    ("unblock", "management_key"): _ADMINS,
    ("delete", "management_key"): _ADMINS,
    ("read", "user_variable"): _ADMINS,
    ("create", "user_variable"): _ADMINS,
    ("update", "user_variable"): _ADMINS,
    ("delete", "user_variable"): _ADMINS,
    ("read", "llm"): _ALL,
    ("read", "provider"): _ALL,
    ("read", "price"): _ALL,
    ("create", "price"): _PLATFORM,
    ("delete", "price"): _PLATFORM,
    ("import", "price"): _PLATFORM,
    ("read", "provider_object"): _SEEING,
    ("create", "provider_object"): _ADMINS,
    ("read", "usage"): _SEEING,
    ("read", "billing"): _BILLING,
    # What is given back is the operator's money, and so are the prices that it is worked out from.
    ("rerate", "billing"): _PLATFORM,
    ("refund", "billing"): _PLATFORM,
    ("credit", "billing"): _PLATFORM,
    ("read", "alert"): _SEEING,
    ("read", "export"): _BILLING,
    ("read", "audit"): _ADMINS,
    ("create", "deployment"): _PLATFORM,
    ("rotate", "master_key"): _PLATFORM,
    ("retire", "master_key"): _PLATFORM,
    ("reset", "master_key"): _PLATFORM,
}

_RANK: dict[Standing, int] = {"viewer": 0, "member": 1, "billing": 1, "admin": 2, "owner": 3, "platform": 4}


def require(actor: Actor, verb: str, resource: str) -> None:
    """Raises `Refused` where the actor's standing may not do this anywhere."""
    allowed = ALLOWED.get((verb, resource), _NOBODY)
    if actor.standing not in allowed:
        names = ", ".join(standing for standing in _RANK if standing in allowed) or "nobody"
        raise Refused(
            Reason.FORBIDDEN,
            f"A key with the role `{actor.standing}` may not {verb} a {resource.replace('_', ' ')}. Allowed: {names}.",
        )


def require_rank(actor: Actor, role: Role) -> None:
    """Nobody gives, takes away or takes over a role above their own."""
    if _RANK[role] > _RANK[actor.standing]:
        raise Refused(
            Reason.FORBIDDEN,
            f"A key with the role `{actor.standing}` cannot deal with the role `{role}`, which stands above it.",
            param="role",
        )


def reach(actor: Actor, asked: UUID | None) -> UUID | None:
    """The workspace that a call is about; None: all of them, for the platform only.

    Another workspace than one's own is not forbidden but absent: its existence is its own business.
    """
    if actor.workspace_id is None:
        return asked
    if asked is not None and asked != actor.workspace_id:
        raise Refused(Reason.NOT_FOUND, "No such workspace. Check the id; this key reaches only its own workspace.")
    return actor.workspace_id
