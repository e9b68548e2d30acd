"""The vendored ranks are tiktoken's, and nothing ever opens a socket."""

from __future__ import annotations

import lzma
import socket
from importlib.resources import files

import pytest
import tiktoken
import tiktoken_ext.openai_public as published
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering import tokenizer as module
from proxy.metering.tokenizer import Tokenizer, encoding_name

NAMES = ["cl100k_base", "o200k_base"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the tokenizer opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", NAMES)
def test_pattern_and_hash_are_tiktokens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes: list[str] = []

    def load(_: str, expected_hash: str) -> dict[bytes, int]:
        hashes.append(expected_hash)
        return {b"a": 0}

    monkeypatch.setattr(published, "load_tiktoken_bpe", load)
    theirs = published.ENCODING_CONSTRUCTORS[name]()
    assert module._KNOWN[name].pattern == theirs["pat_str"]
    assert [module._KNOWN[name].sha256] == hashes


@pytest.mark.parametrize(
    ("text", "cl100k", "o200k"),
    [("hello world", 2, 2), ("", 0, 0), ("<|endoftext|>", 7, 7), ("Olá, você está bem?", 7, 6)],
)
def test_known_counts(tokenizer: Tokenizer, text: str, cl100k: int, o200k: int) -> None:
    assert (tokenizer.count(text, "cl100k_base"), tokenizer.count(text, "o200k_base")) == (cl100k, o200k)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_ranks_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lzma.decompress((files("proxy.metering") / "data" / f"{name}.tiktoken.xz").read_bytes())
    monkeypatch.setattr(module.lzma, "decompress", lambda _: whole[:-1])
    with pytest.raises(RuntimeError, match="damaged"):
        Tokenizer().count("x", name)


@pytest.mark.parametrize("text", ["a" * 250_000, " " * 250_000, "word " * 50_000])
def test_long_text_is_counted_in_pieces(tokenizer: Tokenizer, text: str) -> None:
    whole = (
        len(tokenizer._encodings.get("o200k_base", tiktoken.Encoding).encode_ordinary(text))
        if tokenizer.loaded("o200k_base")
        else None
    )
    counted = tokenizer.count(text, "o200k_base")
    assert whole is None or abs(counted - whole) <= 3


@settings(max_examples=100)
@given(st.text())
def test_any_text_is_counted(tokenizer: Tokenizer, text: str) -> None:
    assert 0 <= tokenizer.count(text, "o200k_base") <= len(text.encode(errors="replace")) + 1


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("openai/gpt-4", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("claude-x", "o200k_base"),
        ("gpt-6", "o200k_base"),
    ],
)
def test_encodings_by_model(model: str, name: str) -> None:
    assert encoding_name(model) == name
