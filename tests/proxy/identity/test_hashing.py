from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.identity.hashing import KeyHasher


@given(secret=st.binary(min_size=32, max_size=200), token=st.text(max_size=200))
def test_equals_the_hmac_of_the_standard_library(secret: bytes, token: str) -> None:
    assert KeyHasher(secret).digest(token) == hmac.digest(secret, token.encode("utf-8", "surrogatepass"), "sha256")


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 31])
def test_a_secret_that_anybody_could_guess_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        KeyHasher(secret)


def test_any_header_text_can_be_hashed() -> None:
    KeyHasher(b"s" * 32).digest("\ud800\x00ÿ" + "x" * 65_536)
