"""A request goes to the account where what it names lies, with the key that made it, whatever has changed since."""

from __future__ import annotations

from pathlib import Path

from tests.gateway import PROVIDER_KEY, RunningGateway, one_provider, running, settings_of
from tests.proxy.ingress.stored import (
    ID,
    MODEL,
    OTHER,
    OWN_KEY,
    another,
    answer,
    create,
    first_workspace,
    own_key,
    say,
    stored,
)
from tests.upstream.server import Upstream

ON = {"model": MODEL, "input": "On", "previous_response_id": ID}


async def test_a_key_that_another_process_was_given_is_known_at_the_next_request(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> None:
    providers, llms = one_provider(upstream.base_url)
    settings = settings_of(tmp_path, database_url, redis_url, providers, llms)
    async with running(settings) as gateway, another(settings) as second:
        upstream.expect(answer(stored(OTHER, output=[])))
        first = {"model": MODEL, "input": "Hello"}
        assert (await say(gateway, "POST", "responses", json=first, url=second)).status == 200
        await own_key(gateway, await first_workspace(gateway))
        await create(gateway, upstream)
        upstream.expect(answer(stored("resp_3", output=[])))
        assert (await say(gateway, "POST", "responses", json=ON, url=second)).status == 200
        assert upstream.requests[2].header("authorization") == f"Bearer {OWN_KEY}"


async def test_what_was_made_with_the_global_key_goes_on_with_it(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    await own_key(gateway, await first_workspace(gateway))
    upstream.expect(answer(stored("resp_3", output=[])), answer(stored("resp_4", output=[])))
    said = await say(gateway, "POST", "responses", json=ON)
    assert (said.status, said.headers["x-synapscale-key-source"]) == (200, "global")
    said = await say(gateway, "POST", "responses", json={"model": MODEL, "input": "Anew"})
    assert (said.status, said.headers["x-synapscale-key-source"]) == (200, "workspace")
    sent = [call.header("authorization") for call in upstream.requests]
    assert sent == [f"Bearer {PROVIDER_KEY}", f"Bearer {PROVIDER_KEY}", f"Bearer {OWN_KEY}"]


async def test_unless_the_workspace_uses_own_keys_only(gateway: RunningGateway, upstream: Upstream) -> None:
    workspace = await first_workspace(gateway)
    await create(gateway, upstream)
    await own_key(gateway, workspace)
    await gateway.api(f"workspaces/{workspace}", method="PATCH", json={"key_policy": "own_only"})
    assert (await say(gateway, "POST", "responses", json=ON)).status == 400  # found out by `admit` only
    (await say(gateway, "POST", "responses", json=ON)).refused(404, "previous_response_not_found")
    assert len(upstream.requests) == 1
