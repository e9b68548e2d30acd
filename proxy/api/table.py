"""The table of endpoints: all of the management API but its own description."""

from __future__ import annotations

from proxy.api import (
    alerts,
    audit,
    billing,
    corrections,
    exports,
    llms,
    management_keys,
    me,
    members,
    plans,
    prices,
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
    *plans.ENDPOINTS,
    *users.ENDPOINTS,
    *virtual_keys.ENDPOINTS,
    *management_keys.ENDPOINTS,
    *user_variables.ENDPOINTS,
    *llms.ENDPOINTS,
    *prices.ENDPOINTS,
    *provider_objects.ENDPOINTS,
    *usage.ENDPOINTS,
    *billing.ENDPOINTS,
    *corrections.ENDPOINTS,
    *exports.ENDPOINTS,
    *alerts.ENDPOINTS,
    *audit.ENDPOINTS,
    *me.ENDPOINTS,
)
