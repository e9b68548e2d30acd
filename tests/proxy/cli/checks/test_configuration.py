"""What settings alone tell `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.cli.checks.configuration import configuration
from proxy.cli.checks.finding import Finding
from proxy.settings.load import load
from proxy.settings.tree import Settings

REPOSITORY = Path(__file__).parents[4]


BASE = "http://localhost:4000"


def check(settings: Settings, name: str, base: str = BASE, host: str = "127.0.0.1") -> Finding | None:
    return next((finding for finding in configuration(settings, base, host) if finding.check == name), None)


def with_provider(**values: Any) -> Settings:
    return Settings(providers={"a": {"dialect": "openai", "base_url": "https://a/v1", **values}})  # type: ignore[dict-item]


def test_shipped_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-canary")
    found = list(configuration(load(REPOSITORY / "config.yaml"), BASE, "127.0.0.1"))
    assert {finding.state for finding in found} == {"ok"}, found  # every llm has a price in the book
    assert "groq; not: openai" in str(found) and "canary" not in str(found)


def test_no_key_at_all() -> None:
    finding = check(with_provider(), "provider keys")
    assert finding and finding.state == "warn" and "OPENAI_API_KEY" in str(finding.fix)


def test_llm_without_a_price() -> None:
    settings = Settings(
        providers={"a": {"dialect": "openai", "base_url": "https://a/v1"}},  # type: ignore[dict-item]
        llms=({"name": "mine", "routes": [{"provider": "a", "model": "m"}]},),  # type: ignore[arg-type]
    )
    finding = check(settings, "prices")
    assert finding and finding.state == "warn" and "mine at a" in finding.found


@pytest.mark.parametrize(
    ("url", "key", "warns"),
    [
        ("http://llm.internal:8000/v1", "secret-key", True), ("http://llm.internal:8000/v1", None, False),
        ("http://127.0.0.1:8080/v1", "secret-key", False), ("http://[::1]:8080/v1", "secret-key", False),
        ("https://llm.internal/v1", "secret-key", False),
    ],
)
def test_key_over_a_plain_line(url: str, key: str | None, warns: bool) -> None:
    finding = check(with_provider(base_url=url, api_key=key), "provider address")
    assert (finding is not None) is warns


def test_tls(tmp_path: Path) -> None:
    states = {
        "ok": [{}, {"host": "0.0.0.0", "tls_cert_file": tmp_path, "tls_key_file": tmp_path}],
        "warn": [{"host": "0.0.0.0", "behind_proxy": True}],
    }
    for state, cases in states.items():
        for server in cases:
            finding = check(Settings(server=server), "TLS", host=server.get("host", "127.0.0.1"))  # type: ignore[arg-type]
            assert finding and finding.state == state


def test_what_options_of_serve_made_of_it() -> None:
    """Its configuration here says nothing of TLS and of an address; the running one does."""
    finding = check(Settings(), "TLS", base="https://localhost:4000", host="0.0.0.0")
    assert finding == Finding("ok", "TLS", "on, at https://localhost:4000")
    finding = check(Settings(), "TLS", host="0.0.0.0")
    assert finding and finding.state == "warn" and "a proxy in front" in finding.found
