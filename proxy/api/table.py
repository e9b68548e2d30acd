"""The table of endpoints: all of the management API but its own description."""

from __future__ import annotations

from proxy.api import (
    audit,
    billing,
    llms,
    management_keys,
    me,
    members,
    provider_objects,
    usage,
    user_variables,
    users,
    virtual_keys,
    workspaces,
)
from proxy.api.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *workspaces.ENDPOINTS,
    *members.ENDPOINTS,
    *users.ENDPOINTS,
    *virtual_keys.ENDPOINTS,
    *management_keys.ENDPOINTS,
    *user_variables.ENDPOINTS,
    *llms.ENDPOINTS,
    *provider_objects.ENDPOINTS,
    *usage.ENDPOINTS,
    *billing.ENDPOINTS,
    *audit.ENDPOINTS,
    *me.ENDPOINTS,
)
