"""No key, no id of our account in an error that a client sees; everything else as it came."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.clean import clean_error
from tests.wire.recordings import Recording, params

KEY = "sk-proj-Ab12Cd34Ef56Gh78"


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "sk-ab***********wxyz",
        "invalid-*****2345",
        "gsk_1234567890abcdef",
        "AIzaSyA1234567890abcdefghijklmno",
        "org-Ab12Cd34Ef56",
        "org-AbCdEfGhIjKlMnOpQrStUvWx",
        "org_01jmefve36eajb6c1x6k8ppv5m",
        "proj_Ab12Cd34Ef56",
        "user_2wT5ElBE4Es3R4QrNLpZiXICmQP",
        "user-Ab12Cd34Ef56Gh78",
        "xai-abcdefgh12345678",
        "sk-ant-api03-abcdefgh",
        "Bearer abcdef.123456-7890",
        "projects/1234567890",
    ],
)
def test_secrets_and_account_ids_go(secret: str) -> None:
    body = json.dumps({"error": {"message": f"Denied for {secret}, sorry.", "code": "x"}, "user": secret}).encode()
    cleaned = clean_error(body, KEY).decode()
    assert secret.removeprefix("Bearer ").removeprefix("projects/") not in cleaned
    assert cleaned.count("[removed]") == 2
    assert json.loads(cleaned)["error"]["code"] == "x"
    text = clean_error(f"Denied for {secret}, sorry.".encode(), KEY).decode()
    assert text.startswith("Denied for ")
    assert text.endswith("[removed], sorry.")


def test_a_key_of_any_form_goes_also_when_escaped() -> None:
    key = 'weird"key/ü-99'
    body = json.dumps({"error": f"bad key {key}"}).encode()
    assert json.loads(clean_error(body, key)) == {"error": "bad key [removed]"}
    escaped = b'{"error":"bad key \\u0073k-proj-Ab12Cd34Ef56Gh78"}'
    assert json.loads(clean_error(escaped, KEY)) == {"error": "bad key [removed]"}


@pytest.mark.parametrize(
    "message",
    [
        "Unknown parameter: 'user_location'.",
        "team-members, key-value, org_settings",
        "req_1977a4c0535d49eebc81772260b2eb1d",
        "Use max_completion_tokens.",
        "model gpt-4o-2024-08-06 in westeurope",
    ],
)
def test_ordinary_words_stay(message: str) -> None:
    body = f'{{ "error" : {{"message": "{message}", "n": 1.50, "big": 123456789012345678901}} }}'.encode()
    assert clean_error(body, KEY) == body  # to the byte


def test_a_short_key_is_a_word() -> None:
    assert clean_error(b'{"error":"none of 1"}', "none") == b'{"error":"none of 1"}'
    assert clean_error(b'{"error":1}', "1") == b'{"error":1}'


def test_bombs_and_nonsense() -> None:
    deep = b"[" * 1020 + b'"' + KEY.encode() + b'"' + b"]" * 1020
    assert KEY.encode() not in clean_error(deep, KEY)
    assert clean_error(b"\xff" + KEY.encode() + b"\xfe", KEY) == b"\xff[removed]\xfe"
    assert clean_error(b"", KEY) == b""


def test_a_key_that_is_there_twice_hides_nothing() -> None:
    """A parser takes the last of two, and whoever reads the bytes both."""
    for said in (f'{{"error":{{"message":"{KEY}","message":"ok"}}}}', f'{{"error":{{"message":"\\u0073{KEY[1:]}","message":"ok"}}}}'):
        assert clean_error(said.encode(), KEY) == b'{"error":{"message":"ok"}}'


@pytest.mark.parametrize("depth", [100, 253, 254, 255, 256, 300, 500, 1000])
def test_any_depth_is_cleaned(depth: int) -> None:
    for value in (KEY, "nothing"):
        cleaned = clean_error(b"[" * depth + json.dumps(value).encode() + b"]" * depth, KEY)
        assert KEY.encode() not in cleaned and cleaned.startswith(b"[" * depth)


@given(
    st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(alphabet='sk-AIza*org_1"\\é '), st.just(KEY)
        ),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    )
)
def test_json_stays_json(value: object) -> None:
    cleaned = clean_error(json.dumps(value).encode(), KEY)
    json.loads(cleaned)
    assert KEY.encode() not in cleaned


@pytest.mark.parametrize("recording", params(20, 21, 22, 23, 27, 19))
def test_recorded_errors(recording: Recording) -> None:
    cleaned = clean_error(recording.body, KEY)
    json.loads(cleaned)
    if recording.number == 23:
        assert b"invalid-*****2345" not in cleaned
    elif recording.number == 21:
        assert json.loads(cleaned)["user_id"] == "[removed]"
    else:
        assert cleaned == recording.body
