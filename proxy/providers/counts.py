"""Numbers of a usage object, read with suspicion: missing, zero, negative, contradictory and nonsense all differ."""

from __future__ import annotations

from pricing.usage import Usage

# No attempt consumes 2^40 tokens; and quantity × price stays far inside a bigint.
MAX_COUNT = 1 << 40


def child(fields: dict[str, object], name: str) -> dict[str, object]:
    """An object inside; empty where something else stands there (Azure and others put what they like)."""
    value = fields.get(name)
    return value if type(value) is dict else {}


def objects(fields: dict[str, object], name: str) -> list[dict[str, object]]:
    """The objects of an array inside; what else stands there is left out."""
    value = fields.get(name)
    return [entry for entry in value if type(entry) is dict] if type(value) is list else []


class Counts:
    """`inconsistent`: something contradicted itself and was clamped, or was no count and is taken as missing."""

    __slots__ = ("_completion", "_prompt", "_usage", "inconsistent")

    def __init__(self, usage: dict[str, object]) -> None:
        self._usage = usage
        self._prompt = child(usage, "prompt_tokens_details")
        self._completion = child(usage, "completion_tokens_details")
        self.inconsistent = False

    def get(self, name: str) -> int | None:
        """A count of the usage object itself."""
        return self.of(self._usage, name)

    def prompt(self, name: str) -> int | None:
        """One of `prompt_tokens_details`."""
        return self.of(self._prompt, name)

    def completion(self, name: str) -> int | None:
        """One of `completion_tokens_details`."""
        return self.of(self._completion, name)

    def of(self, fields: dict[str, object], name: str) -> int | None:
        """None: not reported. Negative counts as 0."""
        value = fields.get(name)
        if value is None or (type(value) is int and 0 <= value <= MAX_COUNT):
            return value
        if isinstance(value, dict):
            return None  # Mistral's `prompt_audio_seconds: {}` is its "unset"
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value > MAX_COUNT:
            self.inconsistent = True
            return None
        if value < 0:
            self.inconsistent = True
            return 0
        return value

    def totals(self) -> tuple[int, int] | None:
        """Prompt and completion, one of them from the total where it is missing. None: not readable."""
        prompt, completion = self.of(self._usage, "prompt_tokens"), self.of(self._usage, "completion_tokens")
        total = self.get("total_tokens")
        if total is not None and (prompt is None) != (completion is None):
            known = prompt if prompt is not None else completion
            missing = self.at_most(total, total - (known or 0))
            prompt, completion = (missing, completion) if prompt is None else (prompt, missing)
        if prompt is None or completion is None:
            return None
        return prompt, completion

    def must_equal(self, left: int | None, right: int) -> None:
        """Flags a total that the provider gave and that its own parts do not add up to."""
        if left is not None and left != right:
            self.inconsistent = True

    def at_most(self, limit: int, value: int) -> int:
        """The value clamped to 0..limit, flagged where that changed it."""
        clamped = max(0, min(value, limit))
        if clamped != value:
            self.inconsistent = True
        return clamped


def input_units(
    counts: Counts, *, prompt: int, cached: int | None, writes: dict[str, int | None], audio: int | None = None,
    image: int | None = None,
) -> dict[str, int]:
    """Disjoint classes of a prompt that includes all of them; a class that was not reported is absent.

    Where cached and media tokens overlap, providers do not say how: text is taken as cached first, so that the dearer
    classes lose least. There is no unit for written media: they count as written.
    """
    if not audio and not image and not any(writes.values()):
        taken = counts.at_most(prompt, cached or 0)
        found = {} if cached is None else {"cache_read": taken}
        for unit, count in (*writes.items(), ("input_audio", audio), ("input_image", image)):
            if count is not None:
                found[unit] = 0
        found["input"] = prompt - taken
        return found
    audio_left = counts.at_most(prompt, audio or 0)
    image_left = counts.at_most(prompt - audio_left, image or 0)
    text_left = prompt - audio_left - image_left
    cached_left = counts.at_most(prompt, cached or 0)

    units: dict[str, int] = {}
    cached_text = min(cached_left, text_left)
    cached_image = min(cached_left - cached_text, image_left)
    cached_audio = cached_left - cached_text - cached_image
    text_left, image_left, audio_left = text_left - cached_text, image_left - cached_image, audio_left - cached_audio
    if cached is not None:
        units["cache_read"] = cached_text
    if cached_image:
        units["cache_read_image"] = cached_image
    if cached_audio:
        units["cache_read_audio"] = cached_audio
    for unit, written in writes.items():
        if written is None:
            continue
        units[unit] = left = counts.at_most(text_left + image_left + audio_left, written)
        for_text = min(left, text_left)
        for_image = min(left - for_text, image_left)
        text_left, image_left = text_left - for_text, image_left - for_image
        audio_left -= left - for_text - for_image
    if audio is not None:
        units["input_audio"] = audio_left
    if image is not None:
        units["input_image"] = image_left
    units["input"] = text_left
    return units


def output_units(
    counts: Counts, *, completion: int, audio: int | None = None, image: int | None = None
) -> dict[str, int]:
    """Disjoint classes of a completion that includes all of them, reasoning too."""
    units: dict[str, int] = {}
    text_left = completion
    for unit, count in (("output_audio", audio), ("output_image", image)):
        if count is not None:
            units[unit] = counts.at_most(text_left, count)
            text_left -= units[unit]
    units["output"] = text_left
    return units


def image_model_units(counts: Counts, told: dict[str, object]) -> dict[str, int]:
    """What an image model says of itself: text and images in, images out, and perhaps text. Missing counts as none.

    Outputs that are not split are images (openai 3.57, types/images_response.py: the split is optional).
    """
    inside, out = child(told, "input_tokens_details"), child(told, "output_tokens_details")
    given, made = counts.of(told, "input_tokens") or 0, counts.of(told, "output_tokens") or 0
    counts.must_equal(counts.of(told, "total_tokens"), given + made)
    images_in = counts.at_most(given, counts.of(inside, "image_tokens") or 0)
    texts_out = counts.at_most(made, counts.of(out, "text_tokens") or 0)
    return {"input": given - images_in, "input_image": images_in, "output": texts_out, "output_image": made - texts_out}


def usage_of(counts: Counts, units: dict[str, int], *, reasoning: int | None) -> Usage:
    """`reasoning` is inside `output`; more of it than output is a contradiction (recording 31: 11 of 10)."""
    if reasoning is not None:
        reasoning = counts.at_most(units["output"], reasoning)
    return Usage(units=units, reasoning_tokens=reasoning, inconsistent=counts.inconsistent)
