"""Stored responses by their path: whose each is decides, before anything goes out."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from proxy.relay.pump import PumpPolicy
from tests.gateway import PROVIDER_KEY, RunningGateway, one_provider, running, settings_of
from tests.line import Line
from tests.proxy.ingress.stored import (
    ID,
    ITEM,
    MODEL,
    NAMED,
    OTHER,
    OWN_KEY,
    Said,
    another,
    answer,
    create,
    first_workspace,
    key_of,
    own_key,
    refused_everywhere,
    say,
    stored,
    streamed,
)
from tests.proxy.objects.conftest import over
from tests.upstream.script import whole
from tests.upstream.server import Upstream

# ---- from its making to its end


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_from_its_making_to_its_end(gateway: RunningGateway, upstream: Upstream, stream: bool) -> None:
    upstream.expect(streamed() if stream else answer(stored()))
    made = await say(gateway, "POST", "responses", json={"model": MODEL, "input": "Hello", "stream": stream})
    assert made.status == 200 and ID.encode() in made.body

    pretty = orjson.dumps(stored(), option=orjson.OPT_INDENT_2)
    listed = {"object": "list", "data": [{"id": "msg_1", "type": "message", "role": "user", "content": []}]}
    cancelled = stored(status="cancelled")
    deleted = {"id": ID, "object": "response.deleted", "deleted": True}
    account = (("content-type", "application/json"), ("openai-organization", "org-ours"), ("set-cookie", "a=b"),
               ("x-request-id", "up_1"), ("x-ratelimit-limit-requests", "7"))  # fmt: skip
    upstream.expect(
        answer(stored(OTHER, previous_response_id=ID)), whole(pretty, headers=account), answer(listed), answer(cancelled),
        answer(deleted),
    )  # fmt: skip
    on = {"model": MODEL, "input": "And then?", "previous_response_id": ID}
    assert (await say(gateway, "POST", "responses", json=on)).status == 200
    got = await say(gateway, "GET", f"responses/{ID}?include[]=message.output_text.logprobs&include[]=a.b&stream=false")
    assert (got.status, got.body) == (200, pretty)
    assert got.headers["x-synapscale-provider"] == "scripted" and got.headers["x-synapscale-key-source"] == "global"
    assert got.headers["x-upstream-request-id"] == "up_1" and got.headers["x-request-id"].startswith("req_")
    assert got.headers["cache-control"] == "private, no-store"
    for name in ("openai-organization", "set-cookie", "x-ratelimit-limit-requests"):
        assert name not in got.headers
    query = f"limit=20&order=asc&after={ITEM}"
    assert (await say(gateway, "GET", f"responses/{ID}/input_items?{query}")).json == listed
    assert (await say(gateway, "POST", f"responses/{ID}/cancel")).json == cancelled
    assert (await say(gateway, "DELETE", f"responses/{ID}")).json == deleted
    await refused_everywhere(gateway, upstream, ID)

    sent = [(call.method, call.path) for call in upstream.requests]
    assert sent == [
        ("POST", "/v1/responses"),
        ("POST", "/v1/responses"),
        ("GET", f"/v1/responses/{ID}?include%5B%5D=message.output_text.logprobs&include%5B%5D=a.b"),
        ("GET", f"/v1/responses/{ID}/input_items?{query}"),
        ("POST", f"/v1/responses/{ID}/cancel"),
        ("DELETE", f"/v1/responses/{ID}"),
    ]
    assert {call.header("authorization") for call in upstream.requests} == {f"Bearer {PROVIDER_KEY}"}
    assert [call.body for call in upstream.requests[2:]] == [b""] * 4
    assert upstream.requests[2].header("content-length") is None
    assert upstream.requests[4].header("content-length") == "0"
    assert len(await gateway.rows(2)) == 2, "only what makes an llm speak is metered"


async def test_a_response_that_was_not_stored_is_unknown(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(answer(stored(store=False)))
    await say(gateway, "POST", "responses", json={"model": MODEL, "input": "Hello", "store": False})
    await refused_everywhere(gateway, upstream, ID)


async def test_what_a_provider_names_in_an_answer_by_path_may_be_named(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    """Of the input what clients wrote (its ids are the provider's); an item that came with an id proves nothing by it."""
    await create(gateway, upstream)
    listed = {"object": "list", "data": [
        {"id": "msg_written", "type": "message", "role": "user", "content": []},
        {"id": "msg_repeated", "type": "message", "role": "assistant", "content": []},
        {"id": "rs_repeated", "type": "reasoning", "summary": []},
    ]}  # fmt: skip
    late = stored(output=[{"id": "fc_late", "type": "function_call"}])
    upstream.expect(answer(listed), answer(late), answer(stored(OTHER)), answer(stored("resp_3")))
    assert (await say(gateway, "GET", f"responses/{ID}/input_items")).json == listed
    assert (await say(gateway, "GET", f"responses/{ID}")).json == late

    async def refer(id: str) -> Said:
        items = [{"type": "item_reference", "id": id}]
        return await say(gateway, "POST", "responses", json={"model": MODEL, "input": items})

    assert ((await refer("msg_written")).status, (await refer("fc_late")).status) == (200, 200)
    for id in ("msg_repeated", "rs_repeated"):
        assert (await refer(id)).refused(404, "not_found")["param"] == "input[0].id"


async def test_a_response_too_large_to_hold_can_be_named_too(gateway: RunningGateway, upstream: Upstream) -> None:
    """It passes as it comes; its own id stands at its beginning."""
    large = orjson.dumps(stored(text="x" * PumpPolicy().max_body_bytes))
    upstream.expect(whole(large), answer(stored()))
    made = await say(gateway, "POST", "responses", json={"model": MODEL, "input": "Hello"})
    assert made.status == 200 and made.body == large
    assert (await say(gateway, "GET", f"responses/{ID}")).status == 200


# ---- whose


async def test_another_workspace_finds_nothing(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    theirs, _ = await key_of(gateway)
    await refused_everywhere(gateway, upstream, ID, key=theirs)
    (await say(gateway, "GET", f"responses/{ID}/input_items?after={ITEM}", key=theirs)).refused(404, "not_found")
    upstream.expect(answer(stored()))
    assert (await say(gateway, "GET", f"responses/{ID}")).status == 200, "and its owner still does"


async def test_a_page_mark_of_another_workspace_is_not_passed_on(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    theirs, _ = await key_of(gateway)
    upstream.expect(answer(stored(OTHER, output=[])))
    await say(gateway, "POST", "responses", json={"model": MODEL, "input": "Hello"}, key=theirs)
    said = await say(gateway, "GET", f"responses/{OTHER}/input_items?after={ITEM}", key=theirs)
    assert said.refused(404, "not_found")["param"] == "after"
    assert len(upstream.requests) == 2


async def test_what_lies_at_a_users_own_key_is_theirs_alone(gateway: RunningGateway, upstream: Upstream) -> None:
    owner, workspace = await key_of(gateway, scope="user")
    colleague, _ = await key_of(gateway, workspace=workspace, name="colleague")
    await create(gateway, upstream, key=owner)
    await refused_everywhere(gateway, upstream, ID, key=colleague)
    upstream.expect(answer(stored()))
    got = await say(gateway, "GET", f"responses/{ID}", key=owner)
    assert got.headers["x-synapscale-key-source"] == "user"
    assert {call.header("authorization") for call in upstream.requests} == {f"Bearer {OWN_KEY}"}


async def test_a_colleague_finds_what_lies_at_our_account(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    colleague, _ = await key_of(gateway, workspace=await first_workspace(gateway), name="colleague")
    upstream.expect(answer(stored()))
    assert (await say(gateway, "GET", f"responses/{ID}", key=colleague)).status == 200


async def test_each_is_asked_for_with_the_key_that_made_it(gateway: RunningGateway, upstream: Upstream) -> None:
    workspace = await first_workspace(gateway)
    await create(gateway, upstream)
    variable = await own_key(gateway, workspace)
    await create(gateway, upstream, OTHER)
    ours, own = f"Bearer {PROVIDER_KEY}", f"Bearer {OWN_KEY}"
    limits = answer(stored(OTHER), headers=(("x-ratelimit-limit-requests", "7"), ("content-type", "application/json")))
    upstream.expect(answer(stored()), limits)
    assert (await say(gateway, "GET", f"responses/{ID}")).headers["x-synapscale-key-source"] == "global"
    got = await say(gateway, "GET", f"responses/{OTHER}")
    assert got.headers["x-synapscale-key-source"] == "workspace" and got.headers["x-ratelimit-limit-requests"] == "7"
    assert [call.header("authorization") for call in upstream.requests] == [ours, own, ours, own]

    await gateway.api(f"workspaces/{workspace}", method="PATCH", json={"key_policy": "own_only"})
    (await say(gateway, "GET", f"responses/{ID}")).refused(404, "not_found")
    await gateway.api(f"workspaces/{workspace}", method="PATCH", json={"key_policy": "global_only"})
    (await say(gateway, "GET", f"responses/{OTHER}")).refused(404, "not_found")
    await gateway.api(f"workspaces/{workspace}", method="PATCH", json={"key_policy": "own_else_global"})
    upstream.expect(answer(stored(OTHER)))
    assert (await say(gateway, "GET", f"responses/{OTHER}")).status == 200
    await gateway.api(f"user-variables/{variable}", method="DELETE")
    await refused_everywhere(gateway, upstream, OTHER)


async def test_a_blocked_key_is_refused_at_the_next_request(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    (key,) = (await gateway.api("virtual-keys"))["data"]
    await gateway.api(f"virtual-keys/{key['id']}/block", method="POST", json={})
    for method, path in [("GET", ID), ("DELETE", ID), ("POST", f"{ID}/cancel"), ("GET", f"{ID}/input_items")]:
        (await say(gateway, method, f"responses/{path}")).refused(401, "key_blocked")
    assert len(upstream.requests) == 1


# ---- more than one process


async def test_two_gateways_and_a_restart(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> None:
    providers, llms = one_provider(upstream.base_url)
    settings = settings_of(tmp_path, database_url, redis_url, providers, llms)
    async with running(settings) as gateway, another(settings) as second:
        await refused_everywhere(gateway, upstream, OTHER, url=second)
        theirs, _ = await key_of(gateway)
        await create(gateway, upstream)
        upstream.expect(answer(stored()), answer(stored(OTHER)))
        assert (await say(gateway, "GET", f"responses/{ID}", url=second)).status == 200
        await refused_everywhere(gateway, upstream, ID, url=second, key=theirs)
        on = {"model": MODEL, "input": "On", "previous_response_id": ID}
        assert (await say(gateway, "POST", "responses", json=on, url=second)).status == 200
    async with running(settings) as gateway:
        upstream.expect(answer(stored()), answer({"id": ID, "deleted": True}))
        assert (await say(gateway, "GET", f"responses/{ID}")).status == 200
        await refused_everywhere(gateway, upstream, ID, key=theirs)
        assert (await say(gateway, "DELETE", f"responses/{ID}")).status == 200
    async with running(settings) as gateway:
        await refused_everywhere(gateway, upstream, ID)


async def test_without_postgres_known_ones_go_on_and_nobody_says_that_others_are_not_there(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> None:
    providers, llms = one_provider(upstream.base_url)
    parts = urlsplit(database_url)
    at = dict(parse_qsl(parts.query))
    socket_path = f"{at.get('host')}/.s.PGSQL.{at.get('port', '5432')}"
    target = socket_path if "host" in at else (str(parts.hostname), parts.port or 5432)
    async with Line(target) as line:
        settings = settings_of(tmp_path, over(line, database_url), redis_url, providers, llms)
        async with running(settings) as gateway:
            await create(gateway, upstream)
            line.refuse()
            upstream.expect(answer(stored()))
            assert (await say(gateway, "GET", f"responses/{ID}")).status == 200
            for method, path, json in NAMED:
                body = None if json is None else {**json, "previous_response_id": OTHER}
                said = await say(gateway, method, path.format(id=OTHER), json=body)
                said.refused(503, "service_unavailable")
                assert said.headers["retry-after"] == "1"
            assert len(upstream.requests) == 2
            line.accept()
