"""Bytes that came back on a raw socket, as answers: a strict reader, so that a torn or doubled answer fails the test."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import orjson

_STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3}) [ -~]*")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t\x20-\x7e\x80-\xff]*)")


@dataclass(slots=True)
class Answer:
    """`body` without its chunk framing. Header names in lower case, in order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    chunked: bool = False
    complete: bool = True  # as its framing says
    closes: bool = False  # says that the connection ends with it

    def header(self, name: str) -> str | None:
        found = [value for known, value in self.headers if known == name]
        assert len(found) < 2, f"{name} is there twice"
        return found[0] if found else None

    @property
    def code(self) -> str | None:
        """Of an error in OpenAI's shape, which is checked."""
        error = orjson.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert (self.header("content-type") or "").startswith("application/json")
        code: str | None = error["code"]
        return code


@dataclass(slots=True)
class Heard:
    """All that a client got until the server closed. `reset`: not in order (RST)."""

    data: bytes
    reset: bool
    methods: tuple[str, ...] = ()
    answers: list[Answer] = field(init=False)

    def __post_init__(self) -> None:
        self.answers = read_answers(self.data, self.methods)

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


def read_answers(data: bytes, methods: tuple[str, ...] = ()) -> list[Answer]:
    """AssertionError for anything that is not a row of HTTP/1.1 answers. `methods`: HEAD has no body."""
    found: list[Answer] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        assert end, f"a torn head: {data[:200]!r}"
        answer = _head(head)
        number = len([each for each in found if each.status >= 200])
        # A head that could not be read had no method.
        bodiless = number < len(methods) and methods[number] == "HEAD" and answer.status != 400
        data = rest if bodiless else _body(answer, rest)
        found.append(answer)
    return found


def _head(head: bytes) -> Answer:
    start, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(start)
    assert status, f"not a status line: {start[:200]!r}"
    headers = []
    for line in lines:
        pair = _FIELD.fullmatch(line)
        assert pair, f"not a header: {line[:200]!r}"
        headers.append((pair[1].decode().lower(), pair[2].decode("latin-1").strip()))
    answer = Answer(int(status[2]), headers)
    answer.closes = answer.header("connection") == "close" or (status[1] == b"0" and not answer.header("connection"))
    return answer


def _body(answer: Answer, rest: bytes) -> bytes:
    """Fills in the body; what follows it."""
    if answer.status < 200 or answer.status == 204:
        return rest
    length = answer.header("content-length")
    if answer.header("transfer-encoding") is not None:
        assert answer.header("transfer-encoding") == "chunked" and length is None, answer.headers
        answer.chunked = True
        return _chunks(answer, rest)
    if length is None:
        answer.body = rest
        return b""
    answer.body, after = rest[: int(length)], rest[int(length) :]
    answer.complete = len(answer.body) == int(length)
    return after


def _chunks(answer: Answer, rest: bytes) -> bytes:
    at, parts = 0, []
    while True:
        end = rest.find(b"\r\n", at)
        if end < 0:
            break
        size_line = rest[at:end]
        assert re.fullmatch(rb"[0-9a-fA-F]+", size_line), f"not a chunk size: {size_line[:100]!r}"
        at, size = end + 2, int(size_line, 16)
        if len(rest) < at + size + 2:
            parts.append(rest[at : at + size])
            break
        assert rest[at + size : at + size + 2] == b"\r\n", (
            f"a chunk of another size: {rest[at + size : at + size + 20]!r}"
        )
        parts.append(rest[at : at + size])
        at += size + 2
        if size == 0:
            answer.body = b"".join(parts)
            return rest[at:]
    answer.body, answer.complete = b"".join(parts), False
    return b""
