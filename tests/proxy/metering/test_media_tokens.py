from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.media_tokens import File, audio_tokens, file_content


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wav(seconds: int, rate: int = 24_000) -> bytes:
    size = seconds * rate * 2
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", size + 36) + b"WAVE" + form + b"data" + struct.pack("<I", size) + bytes(size)


ID3 = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10)
MP3 = b"\xff\xfb\x90\x00"  # MPEG 1, layer 3, 128 kbit/s, 44.1 kHz


@pytest.mark.parametrize("rule", ["openai", "gemini"])
def test_audio_by_its_length(rule: str) -> None:
    per_s = {"openai": 10, "gemini": 32}[rule]
    assert audio_tokens(rule, coded(wav(3)), "wav") == pytest.approx(3 * per_s, abs=1)
    assert audio_tokens(rule, coded(wav(3, 8000)), "mp3") == pytest.approx(3 * per_s, abs=1)  # the bytes decide
    assert audio_tokens(rule, coded(ID3 + MP3 + bytes(48_000 - 4)), "mp3") == pytest.approx(3 * per_s, abs=1)
    assert audio_tokens(rule, coded(bytes(48_000)), "flac") == 3 * per_s  # unknown: 128 kbit/s
    assert audio_tokens(rule, "data:audio/x;base64," + coded(bytes(144_000)), "pcm16") == 3 * per_s


def test_an_mp3_that_says_how_many_frames_it_has() -> None:
    info = MP3 + bytes(32) + b"Info" + struct.pack(">II", 1, 383) + bytes(5000)  # 383 × 1152 / 44100 = 10.005 s
    assert audio_tokens("openai", coded(info), "mp3") == 101


def test_files() -> None:
    pdf = b"%PDF-1.4\n" + b"1 0 obj << /Type /Page /Parent 2 0 R >>\n" * 3 + b"2 0 obj << /Type /Pages /Count 3 >>"
    link = "data:application/pdf;base64," + coded(pdf)
    assert file_content("gemini", link) == File(3 * 258)
    assert file_content("claude", link) == File(3 * 1568)
    assert file_content("openai", coded(pdf)) == File(3 * 220)
    packed = coded(b"%PDF-1.7\n/Count 12" + bytes(1_000_000))
    assert file_content("openai", packed) == File(12 * (220 + 500))
    assert file_content("openai", "data:text/plain;base64," + coded(b"hello")) == File(text="hello")
    assert file_content("openai", "data:application/msword;base64," + coded(bytes(120_000))) == File(3 * 500)
    for unknown in (None, "", "file-abc!", 5):
        assert file_content("openai", unknown) == File(720)


def test_a_long_file_goes_on_as_it_began() -> None:
    pdf = b"%PDF-1.4\n" + (b"/Type /Page " + bytes(988)) * 12_000  # 16 MB of base64
    assert file_content("gemini", coded(pdf)).tokens == pytest.approx(12_000 * 258, rel=0.01)


@settings(deadline=None)
@given(
    st.one_of(
        st.none(), st.text(max_size=20), st.binary(max_size=200).map(coded),
        st.binary(max_size=60).map(lambda data: coded(ID3 + b"\xff" + data)),
    )
)  # fmt: skip
def test_anything(data: object) -> None:
    assert audio_tokens("openai", data, "mp3") >= 0
    assert file_content("claude", data).tokens >= 0
