from __future__ import annotations

from datetime import timedelta

import pytest

from proxy.vault import store, variables
from proxy.vault.seal import SealBroken
from proxy.vault.store import Scope
from proxy.wire.refusals import Reason, Refused
from tests.management import Deployment

VALUE = "sk-proj-CANARY-0123456789"


async def create(
    deployment: Deployment, workspace: object, *, value: str = VALUE, scope: Scope = "workspace", **changes: object
) -> variables.VariableChanged:
    values = {
        "id": deployment.id(), "workspace_id": workspace, "scope": scope, "user_id": None, "provider": "openai",
        "value": value, "expires_at": None, "now": deployment.clock.now(),
    } | changes  # fmt: skip
    async with deployment.pool.acquire() as db, db.transaction():
        return await variables.create(db, deployment.vault, **values)  # type: ignore[arg-type]


async def test_a_value_goes_in_and_only_the_vault_gets_it_out(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    done = await create(deployment, workspace)
    assert done.scopes == {workspace}
    assert (done.value.last4, VALUE in repr(done)) == ("6789", False)
    sealed = await deployment.pool.fetchval("SELECT sealed FROM user_variables")
    assert VALUE.encode() not in sealed
    place = {"workspace_id": workspace, "provider": "openai", "row_id": done.value.id}
    assert deployment.vault.open(sealed, **place) == VALUE


async def test_a_blob_copied_into_another_row_does_not_open(deployment: Deployment) -> None:
    one, two = await deployment.workspace("one"), await deployment.workspace("two")
    user = await deployment.member(two, "thief@two.test")
    await create(deployment, one)
    stolen = (await create(deployment, two, value="sk-proj-thiefs-own-key")).value
    await deployment.run(
        "UPDATE user_variables SET sealed = (SELECT sealed FROM user_variables WHERE workspace_id = $1) WHERE id = $2",
        one, stolen.id,
    )  # fmt: skip
    async with deployment.pool.acquire() as db:
        (usable,) = await store.usable(db, workspace_id=two, user_id=user)
    with pytest.raises(SealBroken):
        deployment.vault.open(usable.sealed, workspace_id=two, provider="openai", row_id=usable.id)


async def test_a_replaced_value_is_sealed_anew_for_the_same_row(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    variable = (await create(deployment, workspace)).value
    async with deployment.pool.acquire() as db, db.transaction():
        done = await variables.change(
            db, deployment.vault, variable.id, reach=workspace, value="sk-proj-a-new-one-4321", expires_at=None,
            clear_expiry=False, now=deployment.clock.now(),
        )  # fmt: skip
    assert (done.value.last4, done.scopes) == ("4321", {workspace})
    sealed = await deployment.pool.fetchval("SELECT sealed FROM user_variables")
    place = {"workspace_id": workspace, "provider": "openai", "row_id": variable.id}
    assert deployment.vault.open(sealed, **place) == "sk-proj-a-new-one-4321"


async def test_one_per_scope_user_and_provider(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    user = await deployment.member(workspace, "a@acme.test")
    await create(deployment, workspace)
    await create(deployment, workspace, scope="user", user_id=user)
    for again in ({}, {"scope": "user", "user_id": user}):
        with pytest.raises(Refused) as caught:
            await create(deployment, workspace, **again)  # type: ignore[arg-type]
        assert caught.value.reason is Reason.CONFLICT


@pytest.mark.parametrize(
    "value", ["has space 1234", "line\r\nx-evil: 1", "nul\x0012345678", "ünïcode-key", "sk-syn-" + "a" * 46, "sk-adm-x"]
)
async def test_what_cannot_be_a_providers_key(deployment: Deployment, value: str) -> None:
    workspace = await deployment.workspace()
    with pytest.raises(Refused) as caught:
        await create(deployment, workspace, value=value)
    assert caught.value.param == "value"
    assert value not in caught.value.message


async def test_scope_and_user_belong_together(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    user = await deployment.member(workspace, "a@acme.test")
    for scope, user_id in (("user", None), ("workspace", user)):
        with pytest.raises(Refused) as caught:
            await create(deployment, workspace, scope=scope, user_id=user_id)  # type: ignore[arg-type]
        assert caught.value.param == "user_id"


async def test_an_expiry_lies_ahead(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    with pytest.raises(Refused) as caught:
        await create(deployment, workspace, expires_at=deployment.clock.now() - timedelta(seconds=1))
    assert caught.value.param == "expires_at"


async def test_a_short_secret_shows_nothing_of_itself(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    assert (await create(deployment, workspace, value="12345678")).value.last4 == ""


async def test_another_workspace_finds_nothing(deployment: Deployment) -> None:
    one, two = await deployment.workspace("one"), await deployment.workspace("two")
    variable = (await create(deployment, one)).value
    async with deployment.pool.acquire() as db:
        for attempt in (
            variables.get(db, variable.id, reach=two),
            variables.delete(db, variable.id, reach=two),
        ):
            with pytest.raises(Refused) as caught:
                await attempt
            assert caught.value.reason is Reason.NOT_FOUND
        assert (await variables.get(db, variable.id, reach=one)) == variable
