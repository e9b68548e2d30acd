from __future__ import annotations

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.identity.virtual_key import KeyShape, check, last4, literal_problem, mint, mint_management, provider_of

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@given(st.binary(min_size=40, max_size=40))
def test_what_is_minted_is_whole(random: bytes) -> None:
    key = mint(random)
    assert re.fullmatch(r"sk-syn-[0-9A-Za-z]{46}", key)
    assert check(key) is KeyShape.VIRTUAL
    assert check(mint_management(random)) is KeyShape.MANAGEMENT
    value = 0
    for char in key[-6:]:
        value = value * 62 + ALPHABET.index(char)
    assert value == zlib.crc32(key[:-6].encode())


@given(st.binary(min_size=40, max_size=40), st.integers(7, 52), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(random: bytes, place: int, char: str) -> None:
    key = mint(random)
    changed = key[:place] + char + key[place + 1 :]
    assert (check(changed) is KeyShape.VIRTUAL) == (changed == key)


def test_two_keys_differ_and_use_all_their_characters() -> None:
    keys = {mint() for _ in range(200)}
    assert len(keys) == 200
    assert set("".join(key[7:47] for key in keys)) == set(ALPHABET)


def test_a_wrong_amount_of_randomness_is_a_bug() -> None:
    with pytest.raises(ValueError, match="40 random bytes"):
        mint(b"x" * 16)


@pytest.mark.parametrize("text", ["", "hello", "Bearer x", "sk_syn_x", "SK-SYN-" + "a" * 46])
def test_other(text: str) -> None:
    assert check(text) is KeyShape.OTHER


@pytest.mark.parametrize(
    "text",
    ["sk-syn-", "sk-syn-abc", mint()[:-1], mint() + "a", mint()[:-1] + "\n", mint() + "\n", "sk-syn-" + "é" * 46],
    ids=["nothing", "three", "one less", "one more", "newline for the last", "newline after it", "accents"],
)
def test_malformed(text: str) -> None:
    assert check(text) is KeyShape.VIRTUAL_MALFORMED


def test_a_virtual_key_under_the_other_prefix_is_not_whole() -> None:
    assert check("sk-adm-" + mint()[7:]) is KeyShape.MANAGEMENT_MALFORMED


@pytest.mark.parametrize(
    ("text", "provider"),
    [
        ("sk-proj-abc", "OpenAI"),
        ("sk-ant-api03-abc", "Anthropic"),
        ("sk-or-v1-abc", "OpenRouter"),
        ("gsk_abc", "Groq"),
        ("AIzaSyabc", "Google"),
        ("xai-abc", "xAI"),
    ],
)
def test_a_providers_key_is_recognised(text: str, provider: str) -> None:
    assert check(text) is KeyShape.PROVIDER
    assert provider_of(text) == provider


def test_a_bare_sk_may_be_anybodys() -> None:
    assert check("sk-1234567890abcdef1234") is KeyShape.BARE_SK
    assert provider_of("sk-1234567890abcdef1234") is None


def test_literals() -> None:
    assert literal_problem("team-blue-0123456789") is None
    assert literal_problem("short") is not None
    assert literal_problem("x" * 513) is not None
    assert literal_problem("with a space 0123456789") is not None
    assert literal_problem("ünïcode-0123456789") is not None
    assert last4("abcdefgh") == "efgh"
