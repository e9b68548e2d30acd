"""`synapscale roles`: who may do what."""

from __future__ import annotations

from proxy.cli.options import Json
from proxy.cli.output import Column, show_rows

ORDER = ("platform", "owner", "admin", "billing", "member", "viewer")
COLUMNS = (Column("VERB", "verb"), Column("WHAT", "what"), Column("ROLES", "roles"))


def roles(as_json: Json = False) -> None:
    """List what each role may do. `platform` is a management key without a workspace."""
    from proxy.audit.roles import ALLOWED

    rows = [
        {"verb": verb, "what": resource.replace("_", " "), "roles": [name for name in ORDER if name in standings]}
        for (verb, resource), standings in ALLOWED.items()
    ]
    show_rows(rows, COLUMNS, as_json=as_json, empty="")
