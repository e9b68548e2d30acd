"""Rules that look at more than one setting. Each problem names the setting to change."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pricing.price_text import SECTIONS, read_price
from pricing.units import UNITS
from proxy.holds import address
from proxy.providers.registry import DIALECTS, READERS
from proxy.settings import tls_files
from proxy.settings.problem import Path, Problem
from proxy.settings.tree import Settings

BUILT_IN_PROVIDER = "synapscale"
BUILT_IN_LLM = "synapscale/echo"


def problems(settings: Settings) -> Iterator[Problem]:
    """Everything that is wrong, not only the first thing."""
    yield from _server(settings)
    yield from _addresses(settings)
    yield from _holds(settings)
    if settings.master_key and settings.master_key_file:
        yield Problem(("master_key_file",), "set either the master key or a file with it, not both.")
    yield from _providers(settings)
    yield from _llms(settings)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed(value: str, choices: Iterable[str]) -> str:
    """`Did you mean 'openai'? Allowed: 'echo', 'openai'.`"""
    names = list(choices)
    near = get_close_matches(value, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return hint + "Allowed: " + ", ".join(map(repr, names)) + "." if names else hint + "Nothing is allowed here."


def _server(settings: Settings) -> Iterator[Problem]:
    server = settings.server
    if (server.tls_cert_file is None) != (server.tls_key_file is None):
        lacking = "tls_key_file" if server.tls_key_file is None else "tls_cert_file"
        yield Problem(("server", lacking), "TLS needs both tls_cert_file and tls_key_file.")
    files: Mapping[Path, object] = {
        ("server", "tls_cert_file"): server.tls_cert_file, ("server", "tls_key_file"): server.tls_key_file,
        ("upstream", "ca_file"): settings.upstream.ca_file, ("master_key_file",): settings.master_key_file,
    }
    unreadable = [path for path, file in files.items() if file is not None and not _readable(str(file))]
    for path in unreadable:
        yield Problem(path, f"{files[path]} is not a file that this account can read.")
    if not unreadable:
        yield from tls_files.problems(server.tls_cert_file, server.tls_key_file, settings.upstream.ca_file)
    if not (is_loopback(server.host) or server.behind_proxy or server.tls_cert_file):
        yield Problem(
            ("server", "host"),
            f"keys would cross the network in the clear on {server.host}. Give --tls-cert-file and --tls-key-file, "
            "or --behind-proxy where a proxy in front ends TLS, or listen on 127.0.0.1.",
        )


def _addresses(settings: Settings) -> Iterator[Problem]:
    """Of stores. They may hold a password: nothing of them is repeated."""
    schemes = {
        "database_url": (settings.stores.database_url, ("postgresql", "postgres"), "postgresql://user:…@host:5432/name"),
        "redis_url": (settings.stores.redis_url, ("redis", "rediss", "unix"), "redis://:…@host:6379/0 or rediss://…"),
    }
    for name, (url, allowed_schemes, example) in schemes.items():
        if url is None:
            continue
        try:
            parts = urlsplit(url.get_secret_value())
            if name == "database_url" and parts.query:
                parse_qs(parts.query, strict_parsing=True)  # as asyncpg does
            several = "," in parts.netloc  # hosts of a failover group, which asyncpg reads itself
            good = parts.scheme in allowed_schemes and (several or parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good:
            yield Problem(("stores", name), f"is no address. It looks like {example}.")
        elif name == "redis_url":
            yield from _redis(url.get_secret_value())


def _redis(url: str) -> Iterator[Problem]:
    path: Path = ("stores", "redis_url")
    try:
        address.parse(url)
    except OSError as error:
        yield Problem(path, f"names a certificate, key or list of authorities that cannot be used: {error.strerror}.")
    except ValueError:
        text = "is no address. What follows host and port is the number of a database, as in redis://:…@host:6379/0."
        yield Problem(path, text)


def _readable(file: str) -> bool:
    try:
        with open(file, "rb"):
            return True
    except OSError:
        return False


def _holds(settings: Settings) -> Iterator[Problem]:
    holds = settings.holds
    if holds.renew_after_s * 2 > holds.lease_s:
        yield Problem(
            ("holds", "renew_after_s"),
            f"{holds.renew_after_s:g} s leaves no second chance within lease_s ({holds.lease_s:g} s). "
            "Allowed: at most half of it.",
        )


def _providers(settings: Settings) -> Iterator[Problem]:
    for name, provider in settings.providers.items():
        here = ("providers", name)
        if name == BUILT_IN_PROVIDER:
            yield Problem(here, f"{name!r} is the built-in provider. Choose another name.")
        if provider.dialect not in DIALECTS:
            text = f"{provider.dialect!r} is not known; {allowed(provider.dialect, DIALECTS)}"
            yield Problem((*here, "dialect"), text)
        if provider.usage_reader not in READERS:
            text = f"{provider.usage_reader!r} is not known; {allowed(provider.usage_reader, READERS)}"
            yield Problem((*here, "usage_reader"), text)
        path = urlsplit(provider.base_url).path
        if path.rstrip("/").endswith("/chat/completions"):
            yield Problem((*here, "base_url"), "leave /chat/completions out: the gateway adds it.")


def _llms(settings: Settings) -> Iterator[Problem]:
    first_at: dict[str, int] = {}
    for index, llm in enumerate(settings.llms):
        here: Path = ("llms", index)
        if llm.name == BUILT_IN_LLM:
            yield Problem((*here, "name"), f"{llm.name!r} is built in. Choose another name, or set `echo: false`.")
        if llm.name in first_at:
            yield Problem((*here, "name"), f"{llm.name!r} is already llms[{first_at[llm.name]}].")
        first_at.setdefault(llm.name, index)
        if llm.max_output and llm.context_window and llm.max_output > llm.context_window:
            yield Problem((*here, "max_output"), f"must not exceed context_window ({llm.context_window}).")
        yield from _prices((*here, "price"), llm.price)
        places: set[tuple[str, str]] = set()
        for number, route in enumerate(llm.routes):
            there = (*here, "routes", number)
            if route.provider not in settings.providers:
                text = f"no provider {route.provider!r}; {allowed(route.provider, settings.providers)}"
                yield Problem((*there, "provider"), text)
            if (route.provider, route.model) in places:
                yield Problem(there, f"{route.provider} / {route.model} stands here twice.")
            places.add((route.provider, route.model))
            yield from _prices((*there, "price"), route.price)


def _prices(path: Path, prices: Mapping[str, Any] | None) -> Iterator[Problem]:
    if prices is None:
        return
    if not prices:
        yield Problem(path, "holds no unit. Leave it out to take the price book.")
        return
    found = list(_price_parts(path, prices))
    yield from found
    if not found:
        try:
            read_price(prices)
        except ValueError as error:
            yield Problem(path, f"{error}.")


def _price_parts(path: Path, prices: Mapping[str, Any]) -> Iterator[Problem]:
    """What can be told with a line of its own; the rest is read_price's."""
    for key, value in prices.items():
        here = (*path, key)
        if isinstance(value, int | float):
            text = f'a price is text: write "{value}". YAML reads a bare number as a binary float, and 0.1 is none.'
            yield Problem(here, text)
        elif isinstance(value, Mapping) and key == "batch":
            yield from _price_parts(here, value)
        elif isinstance(value, Mapping) and key in SECTIONS:
            for name, part in value.items():
                if isinstance(part, Mapping):
                    yield from _price_parts((*here, name), part)
        elif isinstance(value, Mapping) and key in UNITS:  # by variant, each of which is a price of this unit
            for name, price in value.items():
                yield from (Problem((*here, name), p.text) for p in _price_parts(here, {key: price}))
        elif key not in UNITS and key not in SECTIONS:
            yield Problem(here, f"{key!r} is no unit; {allowed(key, [*UNITS, *SECTIONS])}")
