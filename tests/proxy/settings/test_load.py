"""The configuration: what is read from where, and that every mistake is told with its place and what is allowed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from proxy.settings.load import load
from proxy.settings.problem import ConfigError
from proxy.settings.tree import Settings

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SYNAPSCALE_") or name.endswith("_API_KEY") or name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)


class Yaml:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "gateway.yaml"

    def load(self, text: str, **overrides: object) -> Settings:
        self.path.write_text(text)
        return load(self.path, {("server", name): value for name, value in overrides.items()})

    def problems(self, text: str, **overrides: object) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, **overrides)
        return [line.replace(str(self.path), "F") for line in caught.value.lines]


@pytest.fixture
def yaml(tmp_path: Path) -> Yaml:
    return Yaml(tmp_path)


def test_shipped_file_holds_llms_of_six_providers() -> None:
    settings = load(REPOSITORY / "config.yaml")
    talking = [llm for llm in settings.llms if not llm.name.startswith(("text-embedding-", "omni-moderation-"))]
    assert (len(talking), len(settings.llms)) == (12, 15)
    assert set(settings.providers) == {"openai", "anthropic", "google", "mistral", "groq", "deepseek"}
    assert {route.provider for llm in settings.llms for route in llm.routes} == set(settings.providers)
    assert all(llm.context_window and llm.max_output for llm in talking)
    assert all(provider.api_key is None for provider in settings.providers.values())


def test_empty_file_is_all_defaults(yaml: Yaml) -> None:
    settings = yaml.load("")
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 4000)
    assert settings.llms == () and settings.echo
    assert settings.stores.data_dir == Path.cwd() / ".synapscale"


def test_section_that_holds_nothing_is_empty(yaml: Yaml) -> None:
    settings = yaml.load("server:\nproviders:\n  # all taken out\nllms:\n")
    assert settings.providers == {} and settings.llms == () and settings.server.port == 4000


def test_file_under_environment_under_command_line(yaml: Yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "server: {port: 1000, max_body_mib: 1, workers: 1}"
    monkeypatch.setenv("SYNAPSCALE_SERVER__PORT", "2000")
    monkeypatch.setenv("SYNAPSCALE_SERVER__WORKERS", "2")
    server = yaml.load(text, port=3000).server
    assert (server.port, server.workers, server.max_body_mib) == (3000, 2, 1)


def test_option_that_was_not_given_overrides_nothing(yaml: Yaml) -> None:
    assert yaml.load("server: {port: 1000}", port=None).server.port == 1000


def test_usual_names(yaml: Yaml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret-1@h/d")
    monkeypatch.setenv("REDIS_URL", "redis://:secret-2@h/0")
    monkeypatch.setenv("SYNAPSCALE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SYNAPSCALE_ADMIN_KEY", "sk-adm-secret-3")
    settings = yaml.load("")
    assert settings.stores.database_url is not None and settings.admin_key is not None
    assert settings.stores.database_url.get_secret_value() == "postgresql://u:secret-1@h/d"
    assert settings.stores.data_dir == tmp_path
    assert "secret-" not in repr(settings) and "secret-" not in settings.model_dump_json()


def test_provider_by_environment(yaml: Yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNAPSCALE_PROVIDERS__LOCAL__BASE_URL", "http://127.0.0.1:9/v1")
    text = 'providers: {local: {dialect: openai, base_url: "http://127.0.0.1:8/v1"}}'
    assert yaml.load(text).providers["local"].base_url == "http://127.0.0.1:9/v1"


PROVIDER = """
providers:
  openai:
    dialect: openai
    base_url: "https://api.openai.com/v1"
    api_key: "${OPENAI_API_KEY}"
"""


@pytest.mark.parametrize("value", [None, "", "  "])
def test_unset_key_is_no_global_key(yaml: Yaml, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    assert yaml.load(PROVIDER).providers["openai"].api_key is None


def test_key_is_read_and_never_shown(yaml: Yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-1")
    settings = yaml.load(PROVIDER)
    key = settings.providers["openai"].api_key
    assert key is not None and key.get_secret_value() == "sk-canary-1"
    assert "canary" not in repr(settings)
    broken = "\n".join(yaml.problems(PROVIDER + "    stream_usage: never\n    nonsense: 1\nserver: {port: x}"))
    assert "canary" not in broken


def test_secret_of_a_wrong_type_is_not_shown(yaml: Yaml) -> None:
    found = yaml.problems("admin_key: [canary-1]\nstores: {database_url: {canary-2: 1}}")
    assert len(found) == 2 and "canary" not in "".join(found).replace("stores.database_url.canary-2", "")


# What stands in the file, and a part of the one sentence that it must lead to.
MISTAKES = {
    "unknown key, with a near name": (
        "server:\n  host: 127.0.0.1\n  prot: 1\n",
        "F:3: server.prot: 'prot' is not a setting here; did you mean 'port'? Allowed: 'host', 'port'",
    ),
    "unknown key at the top": ("sever: {}\n", "F:1: sever: 'sever' is not a setting here; did you mean 'server'?"),
    "wrong type": (
        "server:\n  port: high\n",
        "F:2: server.port: 'high' is not allowed: input should be a valid integer",
    ),
    "out of bounds": ("server:\n  port: 70000\n", "F:2: server.port: 70000 is not allowed: input should be less than"),
    "one of a list": ("\nlog: {level: loud}", "F:2: log.level: 'loud' is not allowed; Allowed: 'debug', 'info'"),
    "a policy that is not built": (
        "policies: {redis_away: serve_and_spool}",
        "F:1: policies.redis_away: 'serve_and_spool' is not allowed; Allowed: 'refuse'.",
    ),
    "key twice": ("log: {level: info}\nserver: {}\nlog: {}\n", "F:3: log stands here twice (first in line 1)."),
    "no YAML": ("server: {port: 1\n", "F:2: this is not YAML"),
    "no mapping": ("- a\n", "F:1: the file must hold settings"),
    "unset variable where a value is needed": (
        'server:\n  port: "${NO_SUCH_PORT}"\n',
        "F:2: server.port: needs the environment variable NO_SUCH_PORT, which is not set.",
    ),
    "unset variable inside a text": (
        'providers:\n  a: {dialect: openai, base_url: "https://${NO_SUCH_HOST}/v1"}\n',
        "F:2: providers.a.base_url: the environment variable NO_SUCH_HOST is not set.",
    ),
    "name of a provider": (
        "providers:\n  Open AI: {dialect: openai, base_url: 'https://a/v1'}",
        "a name is 1 to 64 of a-z",
    ),
    "missing": ("providers:\n  a: {dialect: openai}", "F:2: providers.a.base_url: is missing"),
    "address with a query": (
        "providers:\n  a: {dialect: openai, base_url: 'https://a/v1?key=1'}",
        "F:2: providers.a.base_url",
    ),
    "address of the endpoint": (
        "providers:\n  a: {dialect: openai, base_url: 'https://a/v1/chat/completions'}",
        "leave /chat/completions out",
    ),
    "dialect": (
        "providers:\n  a:\n    dialect: openia\n    base_url: 'https://a/v1'",
        "F:3: providers.a.dialect: 'openia' is not known; did you mean 'openai'?",
    ),
    "reader": (
        "providers:\n  a: {dialect: openai, base_url: 'https://a/v1', usage_reader: grok}",
        "F:2: providers.a.usage_reader: 'grok' is not known; did you mean 'groq'? Allowed:",
    ),
    "built-in provider": (
        "providers:\n  synapscale: {dialect: openai, base_url: 'https://a/v1'}",
        "'synapscale' is the built-in provider",
    ),
    "provider of a route": (
        PROVIDER + "llms:\n  - name: a\n    routes: [{provider: opena, model: a}]",
        "F:9: llms[0].routes[0].provider: no provider 'opena'; did you mean 'openai'? Allowed: 'openai'.",
    ),
    "llm twice": (
        PROVIDER + "llms:\n" + "  - name: a\n    routes: [{provider: openai, model: a}]\n" * 2,
        "F:10: llms[1].name: 'a' is already llms[0].",
    ),
    "route without a model": (
        PROVIDER + "llms:\n  - name: a\n    routes: [{provider: openai}]",
        "F:9: llms[0].routes[0].model: is missing",
    ),
    "unset variable where a section is needed": ('server: "${NO_SUCH}"', "F:1: server: needs the environment variable"),
    "llm without a route": ("llms:\n  - name: a\n    routes: []", "F:3: llms[0].routes"),
    "renewal too late": (
        "holds: {lease_s: 10, renew_after_s: 6}",
        "F:1: holds.renew_after_s: 6 s leaves no second chance",
    ),
    "half of TLS": ("server:\n  tls_key_file: /dev/null", "server.tls_cert_file: TLS needs both"),
    "TLS file that is not there": (
        "server:\n  tls_cert_file: /no/such/file\n  tls_key_file: /dev/null",
        "F:2: server.tls_cert_file: /no/such/file is not",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_told_once_with_place_and_remedy(yaml: Yaml, name: str) -> None:
    text, expected = MISTAKES[name]
    found = yaml.problems(text)
    assert len(found) == 1, found
    assert expected in found[0]


def llm_with_price(price: str) -> str:
    return PROVIDER + "llms:\n  - name: a\n    routes: [{provider: openai, model: a}]\n    price:\n" + price


@pytest.mark.parametrize("number", ["0.15", "3", "1e-3", "0"])
def test_price_must_be_text(yaml: Yaml, number: str) -> None:
    found = yaml.problems(llm_with_price(f"      input: {number}\n"))
    # YAML 1.1 reads 1e-3 as text already: then it is no plain decimal.
    assert len(found) == 1 and re.match(r"F:1[01]: llms\[0\].price", found[0]), found
    assert "a price is text" in found[0] or "not a plain decimal" in found[0]


@pytest.mark.parametrize("bad", ['"-1"', '"1,5"', '"$1"', '".5"', '"1e3"', '"1 "', "[]"])
def test_price_must_be_plain(yaml: Yaml, bad: str) -> None:
    assert len(yaml.problems(llm_with_price(f"      input: {bad}\n"))) == 1


def test_price_of_an_unknown_unit_names_the_near_one(yaml: Yaml) -> None:
    found = yaml.problems(llm_with_price('      input: "1"\n      cached_read: "1"\n'))
    assert found[0].startswith("F:12: llms[0].price.cached_read: 'cached_read' is no unit; did you mean 'cache_read'?")


def test_price_with_tiers_and_a_cliff(yaml: Yaml) -> None:
    price = '      {input: "1", above: {200000: {input: "2"}}, tiers: {flex: {input: "0.5"}}}\n'
    settings = yaml.load(llm_with_price(price))
    assert settings.llms[0].price == {
        "input": "1",
        "above": {"200000": {"input": "2"}},
        "tiers": {"flex": {"input": "0.5"}},
    }
    found = yaml.problems(llm_with_price(price.replace('"0.5"', "0.5")))
    assert "llms[0].price.tiers.flex.input: a price is text" in found[0]


def test_all_mistakes_are_told_at_once(yaml: Yaml) -> None:
    assert len(yaml.problems("server: {port: x, hots: y}\nlog: {level: z}\n")) == 3


@pytest.mark.parametrize("url", ["canary", "mysql://u:canary@h/d", "postgresql://u:canary@h:port/d", "postgresql://["])
def test_address_of_a_store_is_checked_and_not_repeated(yaml: Yaml, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("REDIS_URL", url)
    found = yaml.problems("")
    assert [line[:12] for line in found] == ["DATABASE_URL", "REDIS_URL: s"] and "canary" not in "".join(found)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.internal"])
def test_open_address_needs_tls_or_a_proxy(yaml: Yaml, host: str, upstream_certificate: tuple[Path, Path]) -> None:
    found = yaml.problems("", host=host)
    assert found[0].startswith("--host: server.host: keys would cross the network in the clear")
    assert "--behind-proxy" in found[0] and "--tls-cert-file" in found[0]
    assert yaml.load("", host=host, behind_proxy=True).server.host == host
    cert, key = upstream_certificate
    assert yaml.load("", host=host, tls_cert_file=cert, tls_key_file=key).server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_nothing(yaml: Yaml, host: str) -> None:
    assert yaml.load("", host=host).server.host == host


def test_variable_is_named_where_it_is_wrong(yaml: Yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNAPSCALE_SERVER__PORT", "many")
    assert yaml.problems("server: {port: 1}")[0].startswith(
        "SYNAPSCALE_SERVER__PORT: server.port: 'many' is not allowed"
    )


@pytest.mark.parametrize(("name", "near"), [("SYNAPSCALE_SREVER__PORT", "server"), ("SYNAPSCALE_SERVER__PROT", "port")])
def test_unknown_variable_is_refused(yaml: Yaml, monkeypatch: pytest.MonkeyPatch, name: str, near: str) -> None:
    monkeypatch.setenv(name, "1")
    found = yaml.problems("")
    assert len(found) == 1 and found[0].startswith(name) and f"did you mean '{near}'?" in found[0]


def test_variables_that_kubernetes_sets_are_left_alone(yaml: Yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNAPSCALE_PORT", "tcp://10.0.0.1:4000")
    monkeypatch.setenv("SYNAPSCALE_SERVICE_HOST", "10.0.0.1")
    yaml.load("")


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name it with --config FILE"):
        load(tmp_path / "none.yaml")


def test_settings_cannot_be_changed(yaml: Yaml) -> None:
    settings = yaml.load("")
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]


def test_price_with_a_batch_hours_and_variants(yaml: Yaml) -> None:
    price = ('      {input: "2", batch: {input: "1"}, hours: {"16:30-00:30": {input: "1.5"}}, images: {"1024x1024/high": "0.167", '
             'any: "0.04"}}\n')  # fmt: skip
    assert yaml.load(llm_with_price(price)).llms[0].price is not None
    for wrong, where in [
        (price.replace('"0.04"', "0.04"), "images.any: a price is text"),
        (price.replace('{input: "1"}', "{input: 1}"), "batch.input: a price is text"),
        (price.replace('"1.5"', "1.5"), "hours.16:30-00:30.input: a price is text"),
        (price.replace("batch: {input", "batch: {inptu"), "'inptu' is no unit"),
    ]:
        (found,) = yaml.problems(llm_with_price(wrong))
        assert where in found, found
