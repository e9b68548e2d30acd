"""After everything was done once, no secret is readable anywhere in the database."""

from __future__ import annotations

from proxy.api.first_start import first_start
from tests.proxy.api.conftest import Api, Tenant

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


async def test_no_secret_is_in_the_database(api: Api, acme: Tenant) -> None:
    deployment = api.deployment
    secrets = [api.platform, acme.owner, acme.secret, "sk-proj-CANARY-acme"]
    headers = {"Idempotency-Key": "once"}

    made = await api.ok(
        "POST", "/virtual-keys", {"user_id": acme.user_id, "name": "a"}, key=acme.owner, headers=headers
    )
    secrets.append(made["key"])
    secrets.append((await api.ok("POST", f"/virtual-keys/{made['id']}/rotate", key=acme.owner))["key"])
    literal = "literal-CANARY-0123456789"
    body = {"user_id": acme.user_id, "name": "b", "key": literal}
    await api.ok("POST", "/virtual-keys", body, key=acme.owner, headers={"Idempotency-Key": "import"})
    secrets.append(literal)
    managing = {"role": "viewer", "name": "c"}
    made = await api.ok("POST", "/management-keys", managing, key=acme.owner, headers={"Idempotency-Key": "mk"})
    secrets.append(made["key"])
    secrets.append((await api.ok("POST", f"/management-keys/{made['id']}/rotate", key=acme.owner))["key"])
    value = "mistral-CANARY-0123456789"
    variable = {"scope": "workspace", "provider": "mistral", "value": value}
    await api.ok("POST", "/user-variables", variable, key=acme.owner, headers={"Idempotency-Key": "uv"})
    await api.ok("PATCH", f"/user-variables/{acme.uv}", {"value": value + "9"}, key=acme.owner)
    secrets += [value, value + "9"]
    await first_start(deployment.writer, deployment.hasher, deployment.clock, admin_key="operator-CANARY-012345")
    secrets.append("operator-CANARY-012345")

    dump = b""
    for (table,) in await deployment.pool.fetch(TABLES):
        for row in await deployment.pool.fetch(f"SELECT * FROM {table}"):
            for cell in row.values():
                dump += (cell if isinstance(cell, bytes) else str(cell).encode()) + b"\n"
    assert len(dump) > 5_000
    assert str(acme.user).encode() in dump
    for secret in secrets:
        # neither the whole nor most of it
        assert secret.encode() not in dump
        assert secret[:-4].encode() not in dump
        assert secret[8:-4].encode() not in dump
