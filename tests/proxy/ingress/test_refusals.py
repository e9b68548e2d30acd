"""Every refusal in OpenAI's shape, saying what to do; nothing is sent to a provider and nothing is recorded."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson
import pytest

from proxy.identity.virtual_key import mint
from tests.gateway import RunningGateway
from tests.upstream.server import Upstream

ASK: dict[str, Any] = {"model": "scripted-llm", "messages": [{"role": "user", "content": "Hello"}]}


async def refused(response: aiohttp.ClientResponse, status: int, code: str) -> dict[str, Any]:
    body = orjson.loads(await response.read())
    assert (response.status, body["error"]["code"]) == (status, code), body
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"].startswith("req_")
    assert response.headers["content-type"].startswith("application/json")
    error: dict[str, Any] = body["error"]
    return error


async def post(
    gateway: RunningGateway, path: str = "/v1/chat/completions", data: bytes | None = None, **headers: str
) -> aiohttp.ClientResponse:
    response = await gateway.session.post(
        gateway.url + path, data=orjson.dumps(ASK) if data is None else data, headers=headers
    )
    await response.read()
    return response


@pytest.fixture(autouse=True)
async def nothing_recorded(gateway: RunningGateway, upstream: Upstream) -> Any:
    yield
    assert upstream.requests == []
    assert (await gateway.api("usage/events"))["data"] == []


async def test_keys(gateway: RunningGateway) -> None:
    bearer = f"Bearer {gateway.key}"
    error = await refused(await post(gateway), 401, "missing_api_key")
    assert "Bearer sk-syn-" in error["message"]
    await refused(await post(gateway, Authorization=f"Basic {gateway.key}"), 401, "missing_api_key")
    last = gateway.key[-1]
    broken = gateway.key[:-1] + ("a" if last != "a" else "b")
    await refused(await post(gateway, Authorization=f"Bearer {broken}"), 401, "invalid_api_key")
    await refused(await post(gateway, Authorization=f"Bearer {mint()}"), 401, "invalid_api_key")
    error = await refused(
        await post(gateway, Authorization="Bearer sk-ant-api03-" + "A" * 60), 401, "provider_key_sent"
    )
    assert "Anthropic" in error["message"]
    await refused(await post(gateway, Authorization=f"Bearer {gateway.admin_key}"), 401, "wrong_key_kind")
    await refused(await post(gateway, Authorization=bearer, **{"x-api-key": mint()}), 400, "conflicting_keys")


async def test_the_same_key_twice_is_no_conflict(gateway: RunningGateway) -> None:
    """Some clients send their key in two headers."""
    headers = {"x-api-key": gateway.key, "api-key": gateway.key}
    await refused(
        await post(gateway, data=b"{}", Authorization=f"Bearer {gateway.key}", **headers), 400, "invalid_value"
    )


async def test_llms(gateway: RunningGateway) -> None:
    error = await refused(await gateway.chat({**ASK, "model": "scripted-lm"}), 404, "model_not_found")
    assert error["param"] == "model" and "`scripted-llm`" in error["message"]
    (workspace,) = (await gateway.api("workspaces"))["data"]
    (user,) = (await gateway.api("users"))["data"]
    made = await gateway.api(
        "virtual-keys",
        method="POST",
        json={"workspace_id": workspace["id"], "user_id": user["id"], "name": "narrow", "llms": ["synapscale/echo"]},
    )
    error = await refused(await gateway.chat(ASK, key=made["key"]), 403, "model_not_allowed")
    assert "synapscale/echo" in error["message"]


async def test_no_provider_key(gateway: RunningGateway) -> None:
    (workspace,) = (await gateway.api("workspaces"))["data"]
    await gateway.api(f"workspaces/{workspace['id']}", method="PATCH", json={"key_policy": "own_only"})
    error = await refused(await gateway.chat(ASK), 403, "no_provider_key")
    assert "synapscale variables set scripted" in error["message"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'{"model":"scripted-llm","messages":[{"role":"user","content":"\xff"}]}', "invalid_json", None),
        (b'{"messages":[{"role":"user","content":"x"}]}', "invalid_value", "model"),
        (b'{"model":5,"messages":[{}]}', "invalid_value", "model"),
        (b'{"model":"scripted-llm","messages":"x"}', "invalid_value", "messages"),
        (b'{"model":"scripted-llm","messages":[]}', "invalid_value", "messages"),
        (b'{"model":"scripted-llm","messages":[{}],"stream":"yes"}', "invalid_value", "stream"),
        (b'{"model":"scripted-llm","messages":[{}],"n":0}', "invalid_value", "n"),
        (b'{"model":"scripted-llm","messages":[{}],"max_tokens":-1}', "invalid_value", "max_tokens"),
        (b'{"model":"scripted-llm","messages":[{}],"max_completion_tokens":1e400}', "invalid_value", "max_completion_tokens"),
    ],
)  # fmt: skip
async def test_bodies(gateway: RunningGateway, body: bytes, code: str, param: str | None) -> None:
    error = await refused(await gateway.chat(body), 400, code)
    assert error["param"] == param


async def test_too_large(gateway: RunningGateway) -> None:
    limit = gateway.gateway.settings.server.max_body_mib * 1024 * 1024
    await refused(await gateway.chat(b"x" * (limit + 1)), 413, "request_too_large")

    async def in_chunks() -> Any:
        for _ in range(limit // 65536 + 2):
            yield b"x" * 65536

    headers = {"Authorization": f"Bearer {gateway.key}"}
    try:
        response = await gateway.session.post(f"{gateway.url}/v1/chat/completions", data=in_chunks(), headers=headers)
    except aiohttp.ClientConnectionError:
        return  # cut in the middle of the upload: also a no
    await refused(response, 413, "request_too_large")


async def test_content_encoding(gateway: RunningGateway) -> None:
    bearer = f"Bearer {gateway.key}"
    response = await gateway.session.post(
        f"{gateway.url}/v1/chat/completions",
        data=b"\x1f\x8b",
        headers={"Authorization": bearer, "Content-Encoding": "gzip"},
        compress=None,
    )
    await refused(response, 415, "unsupported_content_encoding")


async def test_paths(gateway: RunningGateway) -> None:
    bearer = f"Bearer {gateway.key}"
    error = await refused(await post(gateway, "/chat/completions", Authorization=bearer), 404, "unknown_url")
    assert "/v1/chat/completions" in error["message"]
    error = await refused(await post(gateway, "/v1/v1/chat/completions", Authorization=bearer), 404, "unknown_url")
    assert "twice" in error["message"] and "Right: /v1/chat/completions" in error["message"]
    await refused(await post(gateway, "/v1/nonsense", Authorization=bearer), 404, "unknown_url")
    response = await gateway.session.get(f"{gateway.url}/v1/chat/completions", headers={"Authorization": bearer})
    await refused(response, 405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]
