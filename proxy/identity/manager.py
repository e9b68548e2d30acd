"""Management key → who manages. Asked for every call: management is rare, and a blocked key must end at once."""

from __future__ import annotations

from datetime import datetime

from proxy.identity.hashing import Hasher
from proxy.identity.keys import store
from proxy.identity.records import ManagementKey
from proxy.identity.virtual_key import KeyShape, check, provider_of
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused


async def authenticate(db: Connection, hasher: Hasher, token: str, now: datetime) -> ManagementKey:
    """Raises `Refused`. The first management key may be a literal of the operator's: any shape can be one."""
    shape = check(token)
    if shape in (KeyShape.VIRTUAL, KeyShape.VIRTUAL_MALFORMED):
        raise Refused(
            Reason.KEY_WRONG_KIND,
            "This is a virtual key (sk-syn-…): it works under /v1 and at /api/v1/me. Here a management key (sk-adm-…) "
            "is needed.",
        )
    found = await store.manager(db, hasher.digest(token))
    if found is None:
        raise _unknown(token, shape)
    key, workspace_status = found
    if key.status != "active":
        raise Refused(Reason.KEY_BLOCKED, "This management key is blocked.")
    if key.expires_at is not None and key.expires_at <= now:
        raise Refused(Reason.KEY_EXPIRED, "This management key has expired.")
    if workspace_status != "active":
        raise Refused(Reason.WORKSPACE_BLOCKED, "The workspace of this key is blocked. Ask the platform's admin.")
    return key


def _unknown(token: str, shape: KeyShape) -> Refused:
    match shape:
        case KeyShape.MANAGEMENT_MALFORMED:
            return Refused(
                Reason.KEY_MALFORMED, "This is not a whole management key: its checksum is wrong. Copy it again."
            )
        case KeyShape.PROVIDER:
            return Refused(
                Reason.KEY_OF_PROVIDER,
                f"This looks like a key of {provider_of(token)}. Send a management key (sk-adm-…). If it reached a log "
                "on its way here, revoke it.",
            )
        case _:
            return Refused(Reason.KEY_UNKNOWN, "Unknown management key. One begins with sk-adm-.")
