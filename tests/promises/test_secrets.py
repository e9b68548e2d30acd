"""Promises 6, 7 and 11: provider keys, virtual keys, prompts and answers are where they belong and nowhere else.

One house lives through everything that might make it talk: providers that repeat keys in their errors, malformed
requests with keys in odd places, kills. Then every place is searched. It logs at its most talkative.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import re
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.promises import canaries
from tests.promises.canaries import (
    ADMIN_KEY,
    ANSWER,
    GLOBAL_KEY,
    LITERAL_KEY,
    MASTER_KEY,
    OWN_KEY,
    PROMPT,
    REPLACED_KEY,
    STRANGER,
    Places,
)
from tests.promises.house import House, living
from tests.promises.telltale import MODELS, answer, body, config, odd_requests, post
from tests.upstream.server import Upstream

ENVIRONMENT = {
    "SCRIPTED_API_KEY": GLOBAL_KEY, "SYNAPSCALE_ADMIN_KEY": ADMIN_KEY, "SYNAPSCALE_MASTER_KEY": MASTER_KEY,
    "SYNAPSCALE_LOG__LEVEL": "debug", "SYNAPSCALE_SERVER__BODY_TIMEOUT_S": "1", "SYNAPSCALE_SERVER__HEADER_TIMEOUT_S": "1",
}  # fmt: skip


class Lived(NamedTuple):
    """`to_clients`: every byte that a client of the first tenant got, by what it had asked for."""

    places: Places
    to_clients: dict[str, bytes]
    to_stranger: dict[str, bytes]
    heard: list[str]  # keys that the provider was called with
    asked: bytes  # bodies that the provider got
    virtual_keys: list[str]
    management_keys: list[str]


# ---- the traffic


async def call(house: House, data: bytes) -> bytes:
    """Raw bytes out, all that comes back, also where the house is killed meanwhile."""
    answer = b""
    try:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            writer.write(data)
            while piece := await reader.read(65536):
                answer += piece
            writer.close()
    except OSError:
        pass
    return answer


async def keys_in_paths(house: House, secrets: list[str]) -> None:
    """Answers may say the path back to who sent it; no log may."""
    end = "HTTP/1.1\r\nhost: house\r\nconnection: close\r\n\r\n"
    for secret in secrets:
        for path in (f"/{secret}", f"/v1/{secret}", f"/v1/models/{secret}", f"/v1/chat/completions?api_key={secret}",
                     f"/api/v1/virtual-keys/{secret}", f"/api/v1/usage/events?end_user={secret}&x={secret}"):  # fmt: skip
            await call(house, f"GET {path} {end}".encode())
            await call(house, f"POST {path} {end}".encode())


async def traffic(house: House, upstream: Upstream) -> Lived:
    to_clients: dict[str, bytes] = {}
    numbers = itertools.count()
    first = house.key
    workspace = house.api("workspaces")["data"][0]["id"]
    user = house.api("users")["data"][0]["id"]
    _, literal = house.new_key("imported", key=LITERAL_KEY)
    assert literal == LITERAL_KEY
    made_id, made = house.new_key("made")
    rotated = house.api(f"virtual-keys/{made_id}/rotate", "POST")["key"]
    managing = house.api("management-keys", "POST", {"workspace_id": workspace, "role": "owner", "name": "of one"})["key"]
    stranger_key, stranger_managing = stranger(house)

    async def ask(model: str, stream: bool, key: str) -> None:
        to_clients[f"{next(numbers)} {model} stream={stream}"] = await call(house, post(key, body(model, stream)))

    async def all_kinds(key: str) -> None:
        await asyncio.gather(*(ask(model, stream, key) for model in MODELS if model != "paced" for stream in (True, False)))

    await all_kinds(first)
    await all_kinds(LITERAL_KEY)
    variable = {"workspace_id": workspace, "scope": "user", "user_id": user, "provider": "scripted", "value": REPLACED_KEY}
    stored = house.api("user-variables", "POST", variable)["id"]
    await ask("answers", False, rotated)
    house.api(f"user-variables/{stored}", "PATCH", {"value": OWN_KEY})
    await all_kinds(rotated)
    to_stranger = {"answer": await call(house, post(stranger_key, body("answers", False)))}
    for name, data in odd_requests(first):
        to_clients[f"{next(numbers)} odd: {name}"] = await call(house, data)
    await keys_in_paths(house, [first, rotated, made, LITERAL_KEY, ADMIN_KEY, managing, GLOBAL_KEY, OWN_KEY])

    seen = Places(canaries.processes(house))
    house.signal("valkey", signal.SIGSTOP)  # so that events are spooled
    under_way = [asyncio.create_task(ask("paced", True, first)) for _ in range(4)]
    await asyncio.sleep(1)
    house.signal("valkey", signal.SIGCONT)
    await asyncio.gather(*under_way)
    under_way = [asyncio.create_task(ask("paced", True, key)) for key in [first, rotated] * 6]
    await asyncio.sleep(0.8)
    seen.texts["Redis, full of holds"] = canaries.redis_keys(house)
    for role in ("gateway", "postgres", "worker", "valkey"):
        await house.kill(role)  # type: ignore[arg-type]
    await asyncio.gather(*under_way)
    await house.quiet()

    seen.texts["Redis"] = canaries.redis_keys(house)
    seen.texts["tables"] = await canaries.tables(house)
    seen.texts["/metrics"] = house.metrics().encode()
    seen.texts |= canaries.api_answers(house, ADMIN_KEY)
    to_stranger |= canaries.api_answers(house, stranger_managing)
    to_clients |= {f"as owner: {name}": data for name, data in canaries.api_answers(house, managing).items()}
    seen.texts["running.json"] = (house.data / "running.json").read_bytes()
    assert house.stop() == 0
    seen.folders.append(house.folder)  # logs, the database's own files, AOF, spool, metrics
    heard = [(request.header("authorization") or "").removeprefix("Bearer ") for request in upstream.requests]
    asked = b"\n".join(request.body for request in upstream.requests)
    return Lived(
        seen, to_clients, to_stranger, heard, asked, [first, made, rotated, LITERAL_KEY, stranger_key],
        [ADMIN_KEY, managing, stranger_managing],
    )  # fmt: skip


def stranger(house: House) -> tuple[str, str]:
    """Another tenant, in each of whose texts its canary is: a virtual key, a management key."""
    workspace = house.api("workspaces", "POST", {"name": f"{STRANGER} workspace"})["id"]
    user = house.api("users", "POST", {"email": f"{STRANGER}@example.com", "name": f"{STRANGER} user"})["id"]
    house.api(f"workspaces/{workspace}/members", "POST", {"user_id": user, "role": "owner"})
    fields: dict[str, Any] = {"workspace_id": workspace, "name": f"{STRANGER} key"}
    key = house.api("virtual-keys", "POST", {**fields, "user_id": user})["key"]
    return key, house.api("management-keys", "POST", {**fields, "role": "owner"})["key"]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    folder: Path = tmp_path_factory.mktemp("secrets")

    async def live() -> Lived:
        async with Upstream() as upstream:
            upstream.always(answer)
            with living(folder, config(upstream.base_url), env=ENVIRONMENT) as house:
                return await traffic(house, upstream)

    return asyncio.run(live())


# ---- the searches


def test_the_secrets_were_there_to_be_found(lived: Lived) -> None:
    """Else the searches prove nothing."""
    assert {GLOBAL_KEY, OWN_KEY, REPLACED_KEY} == set(lived.heard)
    assert lived.heard.count(GLOBAL_KEY) > 50 and lived.heard.count(OWN_KEY) > 30
    assert PROMPT.encode() in lived.asked
    statuses = {name: data.split(b" ", 2)[1] for name, data in lived.to_clients.items() if data.startswith(b"HTTP/1.1 ")}
    assert set(statuses.values()) >= {b"200", b"400", b"401", b"403", b"404", b"415", b"429", b"502"}, statuses
    answered = {name for name, data in lived.to_clients.items() if ANSWER.encode() in data}
    assert any(" answers " in name for name in answered) and any(" streams " in name for name in answered)
    known = {"scripted", "{s0}:gen", "starting", "starting PostgreSQL", "Server initialized"}
    assert lived.places.with_any(known) >= {
        "tables", "Redis", "Redis, full of holds", "GET usage/events", "GET audit", "/metrics", "serve.log",
        "data/stores/valkey.log", "data/stores/postgres.log",
    }  # fmt: skip
    assert any("/valkey/appendonlydir/" in name for name in lived.places.with_any(["scripted"]))


@pytest.mark.parametrize("key", [GLOBAL_KEY, OWN_KEY, REPLACED_KEY])
def test_a_provider_key_goes_to_its_provider_only(lived: Lived, key: str) -> None:
    # It came in the environment of serve, and so it reaches the processes that call the provider; no worker, no store.
    allowed = {"environ of gateway"} if key == GLOBAL_KEY else set()
    assert lived.places.with_any([key]) <= allowed
    # A user's own key is a user's: his provider's words about it pass as they are (DESIGN 1.6 cleans ours).
    own = set() if key == GLOBAL_KEY else {name for name in lived.to_clients if re.search(" error-| redirect| breaks", name)}
    assert {name for name, data in lived.to_clients.items() if found(data, [key])} <= own
    assert not {name for name, data in lived.to_stranger.items() if found(data, [key])}


def test_virtual_keys_are_in_no_place_but_the_first_ones_file(lived: Lived) -> None:
    first, *others = lived.virtual_keys
    assert lived.places.with_any([first]) == {"data/first-key"}
    assert lived.places.with_any(others) == set()
    assert not {name for name, data in (lived.to_clients | lived.to_stranger).items() if found(data, lived.virtual_keys)}


def test_management_keys_are_in_no_place(lived: Lived) -> None:
    assert lived.places.with_any(lived.management_keys) == set()
    assert not {name for name, data in (lived.to_clients | lived.to_stranger).items() if found(data, lived.management_keys)}


def test_prompts_and_answers_are_stored_nowhere(lived: Lived) -> None:
    assert lived.places.with_any([PROMPT, ANSWER]) == set()
    assert not {name for name, data in lived.to_clients.items() if found(data, [PROMPT])}


def test_the_master_key_and_the_databases_password_stay_where_they_are_used(lived: Lived) -> None:
    [folder] = lived.places.folders
    password = (folder / "data/stores/passfile").read_text().strip().rpartition(":")[2]
    assert lived.places.with_any([MASTER_KEY]) == {"environ of gateway"}
    assert lived.places.with_any([password]) == {"data/stores/passfile"}


def test_one_tenant_sees_nothing_of_another(lived: Lived) -> None:
    assert lived.places.with_any([STRANGER]) >= {"tables", "GET workspaces"}
    assert len(lived.to_stranger) > 10 and any(found(data, [STRANGER]) for data in lived.to_stranger.values())
    assert not {name for name, data in lived.to_clients.items() if found(data, [STRANGER])}
    ours = {row["id"] for row in json.loads(lived.places.texts["GET virtual-keys"])["data"] if STRANGER not in row["name"]}
    assert ours and not {name for name, data in lived.to_stranger.items() if found(data, ours)}


def found(data: bytes, secrets: Any) -> bool:
    if b"\r\n\r\n\x1f\x8b" in data:
        data += gzip.decompress(data.partition(b"\r\n\r\n")[2])
    return any(form in data for secret in secrets for form in canaries.forms(secret))
