"""Secrets that occur nowhere by chance, and every place of a house where one might have been left."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.promises.house import House

# No prefix that a redaction knows: a place is clean because nobody wrote there, not because it was tidied up.
GLOBAL_KEY = "Quartz7xylophone91global55providerkey"
OWN_KEY = "Basalt3zeppelin47own88providerkey"
REPLACED_KEY = "Marble9accordion12replaced34providerkey"
LITERAL_KEY = "obsidian-literal-key-4711-of-a-customer"
ADMIN_KEY = "feldspar-admin-key-1729-of-the-operator"
MASTER_KEY = base64.b64encode(b"garnet-master-key-of-32-bytes-42").decode()
PROMPT = "Ruby11marzipan prompt"
ANSWER = "Topaz22nougat answer"
STRANGER = "Opal33praline"  # in every name of the other tenant


def forms(secret: str) -> set[bytes]:
    """As it is, and as encodings of bytes and texts would show it; its middle too, for one that lost its ends."""
    raw = secret.encode()
    found = {raw, raw[6:-4], raw.hex().encode(), quote(secret, safe="").encode(), secret.encode("utf-16-le")}
    for shift in range(3):  # base64 within a longer text: three alignments, without the characters at the seams
        found.add(base64.b64encode(b"\0" * shift + raw)[4:-4].rstrip(b"="))
    return found


@dataclass(slots=True)
class Places:
    """Where to look: name → bytes. `files` are read when asked: Postgres' are large."""

    texts: dict[str, bytes] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)

    def with_any(self, secrets: Iterable[str]) -> set[str]:
        """The names of the places that hold one of them."""
        wanted = set().union(*map(forms, secrets))
        return {name for name, data in self._all() if any(form in data for form in wanted)}

    def _all(self) -> Iterator[tuple[str, bytes]]:
        yield from self.texts.items()
        for folder in self.folders:
            for path in folder.rglob("*"):
                if path.is_file():
                    yield str(path.relative_to(folder)), path.read_bytes()


def processes(house: House) -> dict[str, bytes]:
    """Environment and command line of everything below serve, as anybody of the same account may read them."""
    found = {}
    roles = {pid: role for role in ("gateway", "worker", "valkey", "postgres") for pid in house.pids(role)}  # type: ignore[arg-type]
    for pid in house.pids_of_all()[1:]:
        for what in ("cmdline", "environ"):
            data = Path(f"/proc/{pid}/{what}").read_bytes()
            name = f"{what} of {roles.get(pid, 'a child of postgres')}"
            found[name] = found.get(name, b"") + data
    assert house.process is not None
    return found | {"cmdline of serve": Path(f"/proc/{house.process.pid}/cmdline").read_bytes()}


async def tables(house: House) -> bytes:
    """Every cell of every table, bytea as hex; and the statements that the server remembers."""
    dump = b""
    names = await house.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    for (name,) in names:
        for (row,) in await house.query(f'SELECT t::text FROM "{name}" t'):
            dump += str(row).encode() + b"\n"
    await house.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    for (statement,) in await house.query("SELECT query FROM pg_stat_statements"):
        dump += str(statement).encode() + b"\n"
    return dump


def redis_keys(house: House) -> bytes:
    """Names and values, as they are now. (What was there before is in the AOF.)"""
    readers = {b"string": "get", b"hash": "hgetall", b"stream": "xrange"}
    with house.valkey() as valkey:
        found: list[Any] = [valkey.keys("*")]
        for key in found[0]:
            found.append(getattr(valkey, readers[valkey.type(key)])(key))
    return repr(found).encode()


def api_answers(house: House, key: str) -> dict[str, bytes]:
    """Every GET that the OpenAPI document names, with every id that the lists show."""
    paths = house.api("openapi.json")["paths"]
    readable = [path.removeprefix("/api/v1/") for path, verbs in paths.items() if "get" in verbs]
    found: dict[str, bytes] = {}
    ids: dict[str, list[str]] = {}
    for path in sorted(readable, key=lambda path: path.count("{")):
        suffix = "?group_by=llm,virtual_key_id" if path.endswith("summary") else ""
        filled = [path.replace("{id}", each) for each in ids.get(path.partition("/{")[0], [])] if "{" in path else [path]
        for one in filled:
            if "{" in one:
                continue  # a second id: members, which their own list shows
            answer = house.api(one + suffix, key=key, any_status=True)
            found[f"GET {one}"] = json.dumps(answer, ensure_ascii=False).encode()
            if "{" not in path and isinstance(answer, dict) and isinstance(answer.get("data"), list):
                ids[path] = [row["id"] for row in answer["data"][:20] if isinstance(row, dict) and "id" in row]
    return found
