"""What the API says to whoever calls it, said to whoever types commands."""

from __future__ import annotations

import re

_LISTS = {
    "users": "synapscale users list", "workspaces": "synapscale workspaces list", "llms": "synapscale llms list",
    "providers": "synapscale providers list", "prices": "synapscale prices list",
}  # fmt: skip
# A parameter of the API → the option that fills it.
_OPTIONS = {
    "group_by": "--by", "from": "--from", "to": "--to", "llm": "--llm", "llms": "--llm", "role": "--role",
    "expires_at": "--expires", "workspace_id": "--workspace", "user_id": "--user", "limit": "--limit",
    "key_policy": "--key-policy", "time_zone": "--time-zone", "client_leaves": "--client-leaves",
    "free_fees_usd": "--free-fees", "markup_bps": "--markup", "platform_fee_bps": "--platform-fee",
    "virtual_key_id": "--virtual-key", "provider": "--provider", "key_source": "--key-source", "format": "--format",
}
_LISTED_AT = re.compile(r"GET /api/v1/([a-z-]+) lists them\.")
_PARAMETER = re.compile(r"`(\w+)(?:\.\d+)?`(?=: | is required)")
_INPUT = re.compile(r"(--[a-z-]+|`\w+`): input should be ")
_EMAIL = re.compile(r"`email`: string should match pattern '.*'\.")


def for_commands(message: str) -> str:
    message = message.replace(" Change the role with PATCH on the member.", "")
    message = _EMAIL.sub("That is no e-mail address: it looks like name@example.com.", message)
    message = _LISTED_AT.sub(lambda found: _where_listed(found[1]), message)
    message = _PARAMETER.sub(lambda found: _OPTIONS.get(found[1], found[0]), message)
    return _INPUT.sub(r"\1: allowed is ", message)


def _where_listed(kind: str) -> str:
    if kind in _LISTS:
        return f"{_LISTS[kind]} shows them."
    return "The gateway's config.yaml names them."
