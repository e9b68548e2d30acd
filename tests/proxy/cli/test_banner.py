"""The banner: the line to try works when it is pasted, and a key is only where it was asked for."""

from __future__ import annotations

import json
import shlex

from proxy.cli.banner import Up, curl, for_people, for_programs

UP = Up(
    version="0.1.0", base="http://localhost:4000", stores="embedded Postgres 18.6 and Valkey 9.1.2",
    data_dir="./.synapscale", providers=(), keyless=(), variables=("OPENAI_API_KEY",), llms=13, loopback=True, key="sk-syn-abc",
)


def test_curl_line_is_a_shell_command() -> None:
    words = shlex.split(curl("http://localhost:4000", "sk-syn-abc"))
    assert words[:2] == ["curl", "http://localhost:4000/v1/chat/completions"]
    assert "Authorization: Bearer sk-syn-abc" in words
    assert json.loads(words[-1])["model"] == "synapscale/echo"


def test_first_start_shows_base_url_key_and_the_line() -> None:
    text = for_people(UP)
    assert "http://localhost:4000/v1\n" in text and curl(UP.base, "sk-syn-abc") in text
    assert "embedded Postgres 18.6 and Valkey 9.1.2 in ./.synapscale" in text
    assert "export a provider's key (OPENAI_API_KEY)" in text and "--behind-proxy" in text


def test_later_start_shows_no_key() -> None:
    text = for_people(UP._replace(key=None, providers=("openai", "groq")))
    assert "sk-syn" not in text and "providers with a key: openai, groq" in text and "synapscale keys create" in text


def test_commands_to_type_name_the_folder() -> None:
    up = UP._replace(data_option=" --data-dir '/my data'")
    assert "keys create NAME --data-dir '/my data'`" in for_people(up)
    text = for_people(up._replace(key=None))
    assert "keys create NAME --data-dir '/my data') synapscale chat synapscale/echo hi --data-dir '/my data'\n" in text


def test_providers_without_keys_are_live_too() -> None:
    text = for_people(UP._replace(keyless=("local",)))
    assert "providers without keys: local" in text and "export" not in text.split("Try it")[1]
    text = for_people(UP._replace(providers=("openai",), keyless=("local",)))
    assert "Live     providers with a key: openai; providers without keys: local; llms: " in text


def test_next_step_names_only_variables_that_the_configuration_asks_for() -> None:
    assert "(A, B, C, …)" in for_people(UP._replace(variables=("A", "B", "C", "D")))
    text = for_people(UP._replace(variables=()))
    assert "export" not in text.split("Try it")[1] and "config.yaml" in text


def test_own_certificate_is_in_the_line_to_paste() -> None:
    assert "curl --cacert /own.pem https://localhost:4000/v1/" in for_people(
        UP._replace(base="https://localhost:4000", cert_file="/own.pem")
    )


def test_program_gets_one_line() -> None:
    line = for_programs(UP._replace(key=None, key_file="/data/first-key"))
    assert "\n" not in line
    assert json.loads(line) == {
        "event": "ready", "version": "0.1.0", "base_url": "http://localhost:4000/v1",
        "stores": "embedded Postgres 18.6 and Valkey 9.1.2", "data_dir": "./.synapscale", "providers": [], "llms": 13,
        "key_file": "/data/first-key",
    }
    assert json.loads(for_programs(UP))["key"] == "sk-syn-abc"
