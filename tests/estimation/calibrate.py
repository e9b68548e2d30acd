"""The factors of families without a public tokenizer, from plain calls: no tools, schemas, images, audio or files."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

from proxy.metering.estimate import Counter
from proxy.metering.families import family_of
from proxy.metering.output_text import CALL
from proxy.metering.prompt import Prompt
from proxy.metering.surfaces import FILLS
from proxy.metering.tokenizer import Tokenizer
from tests.estimation.exchanges import Exchange

LEAST_SAMPLES = 5
_LEAST_TOKENS = 20  # below, framing outweighs the text


class Factor(NamedTuple):
    """In thousandths; None: too few samples."""

    family: str
    input_permille: int | None
    inputs: int
    output_permille: int | None
    outputs: int


def factors(exchanges: Iterable[Exchange]) -> list[Factor]:
    tokenizer = Tokenizer()
    inputs: dict[str, list[float]] = {}
    outputs: dict[str, list[float]] = {}
    for one in exchanges:
        family = family_of(one.model)
        count = Counter(tokenizer, family).count
        if one.surface == "chat" and _plain(one.body) and one.input_tokens is not None:
            prompt = Prompt(family, one.model, count)
            FILLS[one.surface](prompt, one.body)
            if prompt.scaled >= _LEAST_TOKENS:
                inputs.setdefault(family.name, []).append((one.input_tokens - prompt.framing) / prompt.scaled)
        said = count(one.said)
        if one.output_tokens is not None and CALL not in one.said and said >= _LEAST_TOKENS:
            outputs.setdefault(family.name, []).append((one.output_tokens - family.per_answer) / said)
    return [
        Factor(name, _of(inputs.get(name, [])), len(inputs.get(name, [])), _of(outputs.get(name, [])), len(outputs.get(name, [])))
        for name in sorted(inputs.keys() | outputs.keys())
    ]


def _of(ratios: list[float]) -> int | None:
    """Rounded to 10: the samples do not carry more."""
    return round(median(ratios) * 100) * 10 if len(ratios) >= LEAST_SAMPLES else None


def _plain(body: dict[str, object]) -> bool:
    messages = body.get("messages")
    if body.get("tools") or body.get("functions") or body.get("response_format") or not isinstance(messages, list):
        return False
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and any(part.get("type") != "text" for part in content):
            return False
    return True
