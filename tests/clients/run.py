"""`make clients`: every client library against a running gateway in front of a scripted provider, and a table of client × case.

Exit status 1 where a case fails or surfaces.py is stale. `--direct`: without the gateway, to see whether a program is right.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.clients import environments
from tests.clients.books import PRICES
from tests.clients.check import Result, check
from tests.clients.expected import CASES
from tests.clients.matrix import CLIENTS, HERE, Client
from tests.clients.provider import Provider
from tests.clients.surfaces import SURFACES
from tests.promises.house import House, living
from tests.upstream.server import Upstream


def main() -> int:
    parser = argparse.ArgumentParser(prog="make clients ARGS=…", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="clients whose name contains it")
    parser.add_argument(
        "--direct", action="store_true", help="straight to the scripted provider, all surfaces, no rows"
    )
    options = parser.parse_args()
    clients = [
        client
        for client in CLIENTS
        if not options.only or any(text.lower() in client.name.lower() for text in options.only)
    ]
    if not clients:
        sys.exit(f"no such client. Clients: {', '.join(client.name for client in CLIENTS)}")
    began = time.monotonic()
    environments.ensure(client.environment for client in clients if client.environment is not None)
    if any(client.is_node for client in clients):
        environments.place_programs()
    made = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="synapscale-clients-") as folder:
        results, stale = asyncio.run(run(clients, Path(folder), direct=options.direct))
    print(table(results))
    failed = report(results, stale)
    print(f"\nEnvironments {made - began:.0f} s, clients {time.monotonic() - made:.0f} s.")
    return int(failed)


async def run(clients: Sequence[Client], folder: Path, *, direct: bool) -> tuple[dict[Client, list[Result]], list[str]]:
    provider, results = Provider(), dict[Client, list[Result]]()
    extra = {"TIKTOKEN_CACHE_DIR": str(environments.tiktoken_cache())}
    async with Upstream(strict=False) as upstream:
        upstream.always(provider.answer)
        if direct:
            for client in clients:
                results[client] = await check(
                    client, upstream.base_url, "none-is-needed", provider, None, folder, extra
                )
            return results, []
        with living(folder, config(upstream.base_url), workers=1) as house:
            stale = await asyncio.to_thread(stale_rows, house)
            for client in clients:
                key_id, key = await asyncio.to_thread(house.new_key, client.name)
                rows = functools.partial(rows_of, house, key_id)
                results[client] = await check(client, f"{house.url}/v1", key, provider, rows, folder, extra)
                print(f"{client.name}: {sum(result.problem is None for result in results[client])} right", flush=True)
    return results, stale


def config(base_url: str) -> str:
    llms = [
        {
            "name": name,
            "routes": [{"provider": "scripted", "model": name}],
            "price": price,
            "context_window": 128000,
            "max_output": 16384,
        }
        for name, price in PRICES.items()
    ]
    providers = {"scripted": {"dialect": "openai", "base_url": base_url, "api_key": "key-of-the-scripted-provider"}}
    return json.dumps({"providers": providers, "llms": llms})  # JSON is YAML


async def rows_of(house: House, key_id: str) -> list[dict[str, Any]]:
    path = f"usage/events?limit=100&order=asc&virtual_key_id={key_id}"
    rows: list[dict[str, Any]] = (await asyncio.to_thread(house.api, path))["data"]
    return rows


def stale_rows(house: House) -> list[str]:
    """Surfaces of which the table says something else than the gateway."""
    found = []
    for name, surface in SURFACES.items():
        request = urllib.request.Request(
            f"{house.url}/v1{surface.paths[0]}", method=surface.method, headers={"Authorization": f"Bearer {house.key}"},
            data=b"{}" if surface.method == "POST" else None,
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=15):
                served = True
        except urllib.error.HTTPError as error:
            served = not (error.code == 404 and json.loads(error.read())["error"]["code"] == "unknown_url")
        if served != surface.served:
            found.append(f"{name} is {'served' if served else 'not served'}: say so in tests/clients/surfaces.py")
    return found


def version(client: Client) -> str:
    if client.environment is None:
        return metadata.version(client.package)
    if client.is_node:
        lock = json.loads((HERE / "node" / "package-lock.json").read_text())
        return str(lock["packages"][f"node_modules/{client.package}"]["version"])
    return environments.versions(client.environment)[client.package]


def table(results: dict[Client, list[Result]]) -> str:
    """✓ right, ✗ not, · surface not served yet, blank: the library has no such thing."""
    cases = [case for case in CASES if any(result.case == case for each in results.values() for result in each)]
    names = {client: f"{client.name} ({version(client)})" for client in results}
    width = max(map(len, names.values()))
    lines = ["", "✓ right   ✗ wrong   · surface not served yet", ""]
    for index, case in enumerate(cases):
        lines.append(" " * width + "  " + "│ " * index + "┌ " + case)
    for client, each in results.items():
        marks = {result.case: {None: "✓", "": "·"}.get(result.problem, "✗") for result in each}
        lines.append(f"{names[client]:<{width}}  " + " ".join(marks.get(case, " ") for case in cases))
    return "\n".join(lines)


def report(results: dict[Client, list[Result]], stale: list[str]) -> bool:
    every = [(client, result) for client, each in results.items() for result in each]
    wrong = [(client, result) for client, result in every if result.problem]
    for client, result in wrong:
        print(f"\n✗ {client.name}, {result.case}: {result.problem}")
    for text in stale:
        print(f"\n✗ {text}")
    right = sum(result.problem is None for _, result in every)
    waiting = sum(result.problem == "" for _, result in every)
    print(f"\n{right} passed, {len(wrong) + len(stale)} failed, {waiting} not served yet.")
    return bool(wrong or stale)


if __name__ == "__main__":
    sys.exit(main())
