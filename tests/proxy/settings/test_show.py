"""What is in force and why; and that a secret is not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings.show import Shown, shown
from tests.proxy.settings.test_load import clean_environment

__all__ = ["clean_environment"]

TEXT = """\
server: {port: 5000}
providers:
  a: {dialect: openai, base_url: "https://a/v1", api_key: "${A_KEY}"}
  b: {dialect: openai, base_url: "https://b/v1", api_key: "${B_KEY}"}
llms:
  - name: x
    routes: [{provider: a, model: m}]
    price: {input: "1"}
"""


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Shown]:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(TEXT)
    monkeypatch.setenv("A_KEY", "sk-canary")
    monkeypatch.setenv("SYNAPSCALE_LOG__LEVEL", "debug")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:canary@h/d")
    monkeypatch.setenv("SYNAPSCALE_MASTER_KEY", "canary")
    return {each.setting: each for each in shown()}


def test_value_and_source(found: dict[str, Shown]) -> None:
    def told(setting: str) -> tuple[str | None, str]:
        return found[setting].value, found[setting].source

    assert told("server.port") == ("5000", "config.yaml:1")
    assert told("server.host") == ("127.0.0.1", "default")
    assert told("log.level") == ("debug", "SYNAPSCALE_LOG__LEVEL")
    assert told("providers.a.api_key") == ("set, not shown", "config.yaml:3: ${A_KEY}")
    assert told("providers.b.api_key") == (None, "config.yaml:4: ${B_KEY}, not set")
    assert told("providers.a.usage_reader") == ("openai", "default")
    assert told("stores.database_url") == ("set, not shown", "DATABASE_URL")
    assert told("llms[0].routes[0].model") == ("m", "config.yaml:7")
    assert told("llms[0].price") == ('{"input": "1"}', "config.yaml:8")


def test_no_secret_is_in_it(found: dict[str, Shown]) -> None:
    assert "canary" not in str(found)
    assert {name for name, each in found.items() if each.secret} == {
        "providers.a.api_key", "stores.database_url", "master_key"
    }
