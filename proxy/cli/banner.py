"""What `serve` says once everything is up: for a person, or as one JSON line."""

from __future__ import annotations

import json
from typing import NamedTuple

ECHO = "synapscale/echo"


class Up(NamedTuple):
    """`key`: the first virtual key, where it may be shown. `key_file`: where it lies otherwise."""

    version: str
    base: str  # http://localhost:4000
    stores: str  # "embedded Postgres 18.6 and Valkey 9.1.2"; empty: somebody else's
    data_dir: str
    providers: tuple[str, ...]  # with a global key
    keyless: tuple[str, ...]  # that need none
    variables: tuple[str, ...]  # of the environment, which would be global keys of further ones
    llms: int
    loopback: bool
    command: str = "synapscale"  # or where it lies, where it is not on the PATH
    data_option: str = ""  # " --data-dir DIR", where commands would not find it by themselves
    key: str | None = None
    key_file: str | None = None
    cert_file: str | None = None  # a certificate that nobody else may trust


def curl(base: str, key: str, cert_file: str | None = None) -> str:
    """A line that works when it is pasted."""
    trust = f"--cacert {cert_file} " if cert_file else ""
    body = json.dumps({"model": ECHO, "messages": [{"role": "user", "content": "hi"}]}, separators=(",", ":"))
    return (
        f'curl {trust}{base}/v1/chat/completions -H "Authorization: Bearer {key}" \\\n'
        f'           -H "Content-Type: application/json" -d \'{body}\''
    )


def for_people(up: Up) -> str:
    where = "your Postgres and Redis"
    if up.stores:
        where = f"{up.stores} in {up.data_dir} (set DATABASE_URL, REDIS_URL to use yours)"
    lines = [f"SynapScale {up.version} · {where}", f"API      {up.base}/v1"]
    if up.key:
        lines += [
            f"Key      {up.key}   (shown this once; `{up.command} keys create NAME{up.data_option}` makes more)",
            "",
            f"Try it   {curl(up.base, up.key, up.cert_file)}",
        ]
    elif up.key_file:
        lines += [f"Key      in {up.key_file}", "", f"Try it   {curl(up.base, f'$(cat {up.key_file})', up.cert_file)}"]
    else:
        key = f"$({up.command} keys create NAME{up.data_option})"
        lines += ["", f"Try it   SYNAPSCALE_API_KEY={key} {up.command} chat {ECHO} hi{up.data_option}"]
    live = [f"providers with a key: {', '.join(up.providers)}"] if up.providers else []
    if up.keyless:
        live.append(f"providers without keys: {', '.join(up.keyless)}")
    if live:
        lines.append(f"Live     {'; '.join([*live, f'llms: {up.base}/v1/models'])}")
    elif up.variables:
        names = ", ".join(up.variables[:3]) + (", …" if len(up.variables) > 3 else "")
        lines.append(f"Next     export a provider's key ({names}), restart: it is picked up")
    else:
        lines.append("Next     name a provider and its llms in config.yaml, restart: it is picked up")
    if up.loopback:
        lines.append("Note     listening on this machine only; --host 0.0.0.0 needs TLS files or --behind-proxy")
    lines.append("Stop     Ctrl-C")
    return "\n".join(lines)


def for_programs(up: Up) -> str:
    """One line; a key is in it only where somebody asked for it."""
    line: dict[str, object] = {
        "event": "ready", "version": up.version, "base_url": f"{up.base}/v1", "stores": up.stores or "external",
        "data_dir": up.data_dir, "providers": [*up.providers, *up.keyless], "llms": up.llms,
    }
    if up.key:
        line["key"] = up.key
    if up.key_file:
        line["key_file"] = up.key_file
    return json.dumps(line)
