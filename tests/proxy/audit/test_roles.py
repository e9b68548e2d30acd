from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.actor import SYSTEM, Actor, Role
from proxy.audit.roles import ALLOWED, reach, require, require_rank
from proxy.wire.refusals import Reason, Refused

ONE, TWO = UUID(int=1), UUID(int=2)
ROLES: tuple[Role, ...] = ("owner", "admin", "billing", "member", "viewer")


def actor(role: Role, workspace_id: UUID | None = ONE) -> Actor:
    return Actor("management_key", UUID(int=9), workspace_id, role)


@given(st.text(), st.text(), st.sampled_from(ROLES))
def test_what_the_table_does_not_name_nobody_may(verb: str, resource: str, role: Role) -> None:
    for someone in (actor(role), actor("admin", None), SYSTEM):
        if (verb, resource) not in ALLOWED:
            with pytest.raises(Refused) as caught:
                require(someone, verb, resource)
            assert caught.value.reason is Reason.FORBIDDEN


def test_the_platform_may_all_that_anybody_may() -> None:
    for allowed in ALLOWED.values():
        assert "platform" in allowed


def test_a_role_that_reads_only_never_changes_anything() -> None:
    for (verb, _), allowed in ALLOWED.items():
        if verb != "read":
            assert not allowed & {"billing", "member", "viewer"}


def test_the_role_of_a_platform_key_is_its_standing_and_not_its_label() -> None:
    with pytest.raises(Refused):
        require(actor("admin"), "create", "workspace")
    require(actor("admin", None), "create", "workspace")


@pytest.mark.parametrize(
    ("role", "may_give"),
    [
        ("owner", {"owner", "admin", "billing", "member", "viewer"}),
        ("admin", {"admin", "billing", "member", "viewer"}),
        ("billing", {"billing", "member", "viewer"}),
        ("member", {"billing", "member", "viewer"}),
        ("viewer", {"viewer"}),
    ],
)
def test_nobody_deals_with_a_role_above_their_own(role: Role, may_give: set[Role]) -> None:
    for other in ROLES:
        if other in may_give:
            require_rank(actor(role), other)
        else:
            with pytest.raises(Refused):
                require_rank(actor(role), other)
        require_rank(actor("admin", None), other)


def test_reach() -> None:
    assert reach(actor("owner"), None) == ONE
    assert reach(actor("owner"), ONE) == ONE
    with pytest.raises(Refused) as caught:
        reach(actor("owner"), TWO)
    assert caught.value.reason is Reason.NOT_FOUND
    assert reach(actor("admin", None), None) is None
    assert reach(actor("admin", None), TWO) == TWO
