"""Ids that hide, what bodies refer to, queries and methods, and what a provider may answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.flow.objects import MOST_BYTES
from tests.gateway import PROVIDER_KEY, RunningGateway, one_provider, running, settings_of
from tests.proxy.ingress.stored import (
    ERROR,
    FILE,
    ID,
    MODEL,
    OWN_KEY,
    answer,
    create,
    first_workspace,
    key_of,
    own_key,
    say,
    stored,
)
from tests.upstream.script import Reset, Silence, raw, whole
from tests.upstream.server import Upstream

# ---- hidden

_NO = ("not_found", "previous_response_not_found", "invalid_value", "invalid_json")


@pytest.mark.parametrize(
    "field",
    [
        b'"previous_response_id":"%b"', b'"\\u0070revious_response_id":"%b"', b'"previous_response_id":"\\u0072esp_%b"',
        b'"previous_response_id":null,"previous_response_id":"%b"', b'"previous_response_id":"%b","previous_response_id":null',
        b'"Previous_Response_Id":"%b"', b'"previous_response_id":"%b","previous_response_id":"resp_mine"',
        b'"previous_\\u017fresponse_id":"%b"', b'"whatever_comes_next":{"of":["%b"]}',
    ],
)  # fmt: skip
async def test_ids_that_hide_in_a_body(gateway: RunningGateway, upstream: Upstream, field: bytes) -> None:
    await create(gateway, upstream)
    theirs, _ = await key_of(gateway)
    id = ID.removeprefix("resp_") if b"esp_%b" in field else ID
    data = b'{"model":"scripted-llm","input":"On",%b}' % (field % id.encode())
    said = await say(gateway, "POST", "responses", data=data, key=theirs)
    # 400: a key in another case is no field, and says so before anybody asks whose it is.
    assert said.status in (400, 404) and said.json["error"]["code"] in _NO, said.body
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "id",
    ["..", "resp_1..2", "%2e%2e", "resp_1%2F..%2F..%2Ffiles", "resp_1%2fcancel", "resp_1%3Fx=1", "resp_1%0d%0ax", "resp_%00", "a" * 300,
     "resp%C3%A4", "resp_1%20", "resp_1;x", "%25", "resp_1%23", "compact", "input_tokens"],
)  # fmt: skip
async def test_paths_that_are_no_ids(gateway: RunningGateway, upstream: Upstream, id: str) -> None:
    for method, path in [("GET", id), ("DELETE", id), ("POST", f"{id}/cancel"), ("GET", f"{id}/input_items")]:
        said = await say(gateway, method, f"responses/{path}")
        assert said.status in (404, 405) and set(said.json["error"]) == ERROR, said
    assert upstream.requests == []


async def test_a_slash_in_an_id_leads_nowhere_else(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    (await say(gateway, "GET", f"responses/{ID}%2Fcancel")).refused(404, "not_found")
    (await say(gateway, "DELETE", f"responses/{ID}%2Finput_items")).refused(404, "not_found")
    assert len(upstream.requests) == 1


async def test_an_id_may_be_spelled_with_escapes(gateway: RunningGateway, upstream: Upstream) -> None:
    """It is sent on as it was checked."""
    await create(gateway, upstream)
    upstream.expect(answer(stored()))
    assert (await say(gateway, "GET", f"responses/{ID.replace('_', '%5F')}")).status == 200
    assert upstream.requests[1].path == f"/v1/responses/{ID}"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": FILE}}]}]},
         "messages[0].content[0].file.file_id"),
        ("chat/completions", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "messages[0].audio.id"),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": FILE}]}]},
         "input[0].content[0].file_id"),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": FILE}]}]},
         "input[0].content[0].file_id"),
        ("responses", {"prompt": {"id": "pmpt_1"}, "input": "x"}, "prompt.id"),
        ("responses", {"input": "x", "conversation": "conv_1"}, "conversation"),
        ("responses", {"input": "x", "conversation": {"id": "conv_1"}}, "conversation.id"),
        ("responses", {"input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
         "tools[0].vector_store_ids"),
        ("responses", {"input": "x", "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [FILE]}}]},
         "tools[0].container.file_ids"),
    ],
)  # fmt: skip
async def test_what_bodies_refer_to_must_be_the_workspaces(
    gateway: RunningGateway, upstream: Upstream, path: str, body: dict[str, Any], param: str
) -> None:
    said = await say(gateway, "POST", path, json={"model": MODEL, **body})
    error = said.refused(404, "not_found")
    assert error["param"] == param
    assert upstream.requests == [] and (await gateway.api("usage/events"))["data"] == []


async def test_a_file_and_a_prompt_that_were_claimed_are_passed_on(gateway: RunningGateway, upstream: Upstream) -> None:
    workspace = await first_workspace(gateway)
    theirs, _ = await key_of(gateway)
    for kind, id in (("file", FILE), ("prompt", "pmpt_1")):
        claim = {"workspace_id": workspace, "provider": "scripted", "kind": kind, "object_id": id}
        await gateway.api("provider-objects", method="POST", json=claim, status=201)
    file = {"model": MODEL, "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": FILE}}]}]}
    prompt = {"model": MODEL, "prompt": {"id": "pmpt_1"}, "input": "x"}
    (await say(gateway, "POST", "chat/completions", json=file, key=theirs)).refused(404, "not_found")
    (await say(gateway, "POST", "responses", json=prompt, key=theirs)).refused(404, "not_found")
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    completion = {"id": "c", "object": "chat.completion", "choices": [], "usage": usage}
    upstream.expect(answer(completion), answer(stored()))
    assert (await say(gateway, "POST", "chat/completions", json=file)).status == 200
    assert (await say(gateway, "POST", "responses", json=prompt)).status == 200
    assert len(upstream.requests) == 2


# ---- what is refused before anything goes out


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("?stream=true", "stream"), ("?stream=1", "stream"), ("?api_key=x", "api_key"), ("?include=a%26b", "include"),
        ("?include=", "include"),
        ("?starting_after=-1", "starting_after"), ("?include_obfuscation=yes", "include_obfuscation"), ("?limit=1", "limit"),
        ("/input_items?limit=ten", "limit"), ("/input_items?limit=%C2%B2", "limit"), ("/input_items?order=up", "order"),
        ("/input_items?order=asc&order=desc", "order"), ("/input_items?before=x", "before"),
        ("/input_items?" + "&".join(["include[]=a"] * 51), "include[]"),
    ],
)  # fmt: skip
async def test_queries(gateway: RunningGateway, upstream: Upstream, path: str, param: str) -> None:
    await create(gateway, upstream)
    error = (await say(gateway, "GET", f"responses/{ID}{path}")).refused(400, "invalid_value")
    assert error["param"] == param
    assert len(upstream.requests) == 1


async def test_other_methods_and_paths_beside(gateway: RunningGateway, upstream: Upstream) -> None:
    for method, path, allowed in [
        ("POST", f"responses/{ID}", "DELETE, GET"), ("PUT", f"responses/{ID}", "DELETE, GET"), ("PATCH", f"responses/{ID}", "DELETE, GET"),
        ("GET", f"responses/{ID}/cancel", "POST"), ("DELETE", f"responses/{ID}/input_items", "GET"), ("GET", "responses", "POST"),
    ]:  # fmt: skip
        said = await say(gateway, method, path)
        said.refused(405, "method_not_allowed")
        assert said.headers["allow"] == allowed
    for path in ("responses/input_tokens", "responses/compact", f"responses/{ID}/elsewhere"):
        error = (await say(gateway, "POST", path, json={"model": MODEL, "input": "x"})).refused(404, "unknown_url")
        assert "is not offered by this version" in error["message"]
    error = (await say(gateway, "GET", "files")).refused(404, "unknown_url")
    assert "/v1/embeddings" in error["message"]
    assert upstream.requests == []


async def test_keys(gateway: RunningGateway, upstream: Upstream) -> None:
    (await say(gateway, "GET", f"responses/{ID}", key=gateway.admin_key)).refused(401, "wrong_key_kind")
    (await say(gateway, "GET", f"responses/{ID}", headers={"x-api-key": "sk-other"})).refused(400, "conflicting_keys")
    async with gateway.session.get(f"{gateway.url}/v1/responses/{ID}") as response:
        assert response.status == 401
    assert upstream.requests == []


async def test_a_place_at_the_provider_is_taken_and_given_back(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    place = gateway.gateway.flow.ways.places.of("scripted")
    upstream.expect(answer(stored()), raw(Reset()))
    await say(gateway, "GET", f"responses/{ID}")
    await say(gateway, "GET", f"responses/{ID}")
    assert place.taken == 0
    place.taken = place.most
    (await say(gateway, "GET", f"responses/{ID}")).refused(503, "overloaded")
    assert place.taken == place.most and len(upstream.requests) == 3


async def test_overloaded_and_draining(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    up = gateway.gateway
    in_flight, up.load.in_flight = up.load.in_flight, up.settings.server.max_in_flight
    said = await say(gateway, "GET", f"responses/{ID}")
    said.refused(503, "overloaded")
    assert said.headers["retry-after"] == "1"
    assert up.load.in_flight == up.settings.server.max_in_flight
    up.load.in_flight = in_flight
    upstream.expect(answer(stored()))
    up.listener.connections.draining = True
    said = await say(gateway, "GET", f"responses/{ID}")
    up.listener.connections.draining = False
    assert said.status == 200 and said.headers["connection"] == "close"
    assert up.load.in_flight == in_flight


# ---- what a provider may answer


async def test_errors_pass_without_our_account(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    error = {"error": {"message": f"Incorrect key {PROVIDER_KEY} of org-1234567890abc", "code": "x"}}
    gone = {"error": {"message": f"Response with id '{ID}' not found.", "type": "invalid_request_error"}}
    failed = stored(status="failed", error={"code": "rate", "message": "Limit of org-1234567890abc"})
    upstream.expect(answer(error, status=401), answer(gone, status=404), answer(failed), answer(gone, status=404))
    said = await say(gateway, "GET", f"responses/{ID}")
    assert said.status == 401 and said.body == orjson.dumps(
        {"error": {"message": "Incorrect key [removed] of [removed]", "code": "x"}}
    )
    said = await say(gateway, "GET", f"responses/{ID}")
    assert (said.status, said.json) == (404, gone)
    assert (await say(gateway, "GET", f"responses/{ID}")).json["error"]["message"] == "Limit of [removed]"
    assert (await say(gateway, "DELETE", f"responses/{ID}")).status == 404
    upstream.expect(answer(stored()))
    assert (await say(gateway, "GET", f"responses/{ID}")).status == 200, "a DELETE that failed deletes nothing"


async def test_an_own_key_is_not_echoed(gateway: RunningGateway, upstream: Upstream) -> None:
    await own_key(gateway, await first_workspace(gateway))
    await create(gateway, upstream)
    upstream.expect(whole(b"bad key %b, org-1234567890abc" % OWN_KEY.encode(), status=401))
    assert (await say(gateway, "GET", f"responses/{ID}")).body == b"bad key [removed], org-1234567890abc"


async def test_answers_that_cannot_be_read_or_do_not_come(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    zipped = b"content-encoding: gzip\r\n"
    upstream.expect(
        raw(head % (200, zipped, 3) + b"\x1f\x8b\x08"), raw(head % (500, zipped, 3) + b"\x1f\x8b\x08"),
        raw(head % (500, b"", 3) + b"\x1f\x8b\x08"), raw(Reset()), raw(head % (200, b"", 50) + b"{", Reset()),
    )  # fmt: skip
    (await say(gateway, "GET", f"responses/{ID}")).refused(502, "provider_response_broken")
    for _ in ("said", "not said"):
        said = await say(gateway, "GET", f"responses/{ID}")
        assert said.status == 500 and said.json["error"]["code"] == "provider_response_broken"
        assert "content-encoding" not in said.headers
    (await say(gateway, "GET", f"responses/{ID}")).refused(502, "provider_response_broken")
    (await say(gateway, "GET", f"responses/{ID}")).refused(502, "provider_response_broken")
    assert gateway.gateway.load.in_flight == 0


async def test_an_answer_too_large_to_hold_is_not_passed_on(
    gateway: RunningGateway, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_BYTES >= 32 * 1024 * 1024
    monkeypatch.setattr("proxy.flow.objects.MOST_BYTES", 10_000)
    await create(gateway, upstream)
    large = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 20_000, Silence())
    upstream.expect(large, whole(b"x" * 20_000, status=500), answer(stored()))
    (await say(gateway, "GET", f"responses/{ID}")).refused(502, "provider_response_broken")
    assert (await say(gateway, "GET", f"responses/{ID}")).status == 500
    assert (await say(gateway, "GET", f"responses/{ID}")).status == 200


async def test_a_provider_that_is_gone_or_a_response_that_lies_at_none(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> None:
    providers, llms = one_provider(upstream.base_url)
    async with running(settings_of(tmp_path, database_url, redis_url, providers, llms)) as gateway:
        await create(gateway, upstream)
    elsewhere = {"other": {**providers["scripted"]}}
    moved = [{**llms[0], "routes": [{"provider": "other", "model": "upstream-model"}]}]
    async with running(settings_of(tmp_path, database_url, redis_url, elsewhere, moved)) as gateway:
        for method, path in [("GET", ID), ("DELETE", ID), ("POST", f"{ID}/cancel")]:
            (await say(gateway, method, f"responses/{path}")).refused(404, "not_found")
    assert len(upstream.requests) == 1


async def test_idempotency_keys_are_the_workspaces(gateway: RunningGateway, upstream: Upstream) -> None:
    await create(gateway, upstream)
    upstream.expect(answer(stored()))
    headers = {"Idempotency-Key": "once", "OpenAI-Beta": "x=1", "OpenAI-Organization": "org-theirs", "Cookie": "a=b"}
    await say(gateway, "POST", f"responses/{ID}/cancel", headers=headers)
    call = upstream.requests[1]
    assert call.header("openai-beta") == "x=1" and call.header("idempotency-key") not in (None, "once")
    assert call.header("openai-organization") is None and call.header("cookie") is None


async def test_the_documented_surface_is_there(gateway: RunningGateway) -> None:
    table = (Path(__file__).parents[3] / "docs" / "openai.md").read_text()
    documented = [
        each
        for line in table.splitlines()
        if line.startswith("| `")
        for each in re.findall(r"`([A-Z]+) /v1/(\S+)`", line)
    ]
    assert len(documented) == 11
    for method, path in documented:
        said = await say(gateway, method, path.format(id=ID), json={} if method == "POST" else None)
        assert said.status != 405 and b"unknown_url" not in said.body, (method, path)
