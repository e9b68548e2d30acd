"""What settings alone can tell: keys, prices, TLS."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.catalog.plan import price_history
from proxy.cli.checks.finding import Finding, ok, warn
from proxy.settings.check import is_loopback
from proxy.settings.plan import catalog_plan
from proxy.settings.tree import Settings

# A gateway has those with which it was started, maybe elsewhere.
HERE = "in config.yaml and this shell's environment"


def configuration(settings: Settings, base: str, host: str) -> Iterator[Finding]:
    """`base`: the gateway's address, as commands here use it. `host`: where it listens."""
    yield ok("configuration", f"{len(settings.providers)} providers, {len(settings.llms)} llms")
    yield provider_keys(settings)
    yield prices(settings)
    yield transport(settings, base, host)
    yield from plain_addresses(settings)


def provider_keys(settings: Settings) -> Finding:
    present = [name for name, provider in settings.providers.items() if provider.api_key]
    lacking = [
        name for name, provider in settings.providers.items() if not provider.api_key and provider.auth != "none"
    ]
    if not present:
        return warn(
            "provider keys", f"none {HERE}: with these only synapscale/echo, keyless servers and own keys work",
            "export the variable that config.yaml names as api_key, such as OPENAI_API_KEY, and restart",
        )
    return ok("provider keys", f"{HERE}: {', '.join(present)}" + (f"; not: {', '.join(lacking)}" if lacking else ""))


def prices(settings: Settings) -> Finding:
    """An unknown price is not zero: such rows are marked, and count for no budget."""
    lacking = [
        f"{llm.name} at {route.provider}"
        for llm in catalog_plan(settings).llms for route in llm.routes if not price_history(route)
    ]
    if lacking:
        return warn(
            "prices", f"no price is known for {', '.join(lacking)}",
            "add `price: {input: \"…\", output: \"…\"}` (USD per million tokens) to the llm in config.yaml",
        )
    return ok("prices", "every llm has one")


def transport(settings: Settings, base: str, host: str) -> Finding:
    """Options of `serve` may differ from what is configured: the running one tells."""
    server = settings.server
    if base.startswith("https://"):
        return ok("TLS", f"on, at {base}")
    if server.tls_cert_file:
        return ok("TLS", f"on, with {server.tls_cert_file}")
    if is_loopback(host):
        return ok("TLS", "off; only this machine can connect")
    return warn("TLS", "off; a proxy in front must end it", "make sure that nobody reaches the port but that proxy")


def plain_addresses(settings: Settings) -> Iterator[Finding]:
    for name, provider in settings.providers.items():
        plain = provider.base_url.startswith("http://")
        host = provider.base_url.removeprefix("http://").split("/")[0].rsplit(":", 1)[0].strip("[]")
        if plain and provider.api_key and not is_loopback(host):
            yield warn(
                "provider address", f"{name}: prompts and the key travel in the clear to {host}",
                f"use https in providers.{name}.base_url",
            )
