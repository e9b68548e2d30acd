"""What a request's body holds for the model, added up by kind. Pure but for the tokenizer that it is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from proxy.metering import media_tokens, tools_text
from proxy.metering.families import Family
from proxy.metering.image_size import size_in_url
from proxy.metering.image_tokens import image_tokens
from proxy.metering.output_text import texts_in

_KEY = re.compile(r'"\s*:')
SYSTEM = ("system", "developer")  # tuples: a role may be anything, unhashable too
RESULTS = ("tool", "function")
_MAX_PARTS = 100_000  # more parts, messages or tools are not looked into: they still cost `per_message`


class Prompt:
    """`scaled`: texts in the encoding's tokens; the other figures are the model's own tokens."""

    __slots__ = ("_count", "audio", "family", "framing", "images", "model", "parts", "scaled")

    def __init__(self, family: Family, model: str, count: Callable[[str], int]) -> None:
        self.family = family
        self.model = model
        self._count = count
        self.scaled = self.framing = self.images = self.audio = self.parts = 0

    def units(self) -> dict[str, int]:
        """Disjoint; images and audio only where there are any."""
        text = scale(self.scaled, self.family.input_permille) + self.framing
        units = {"input": max(0, text)}
        if self.images:
            units["input_image"] = self.images
        if self.audio:
            units["input_audio"] = self.audio
        return units

    # ---- what any surface holds

    def text(self, value: object) -> None:
        if isinstance(value, str):
            if value:
                self.scaled += self._count(value)
        else:
            for text in texts_in(value):
                self.scaled += self._count(text)

    def message(self, role: object, content: object, name: object = None) -> None:
        family = self.family
        if role in SYSTEM:
            self.framing += family.per_system
        else:
            self.framing += family.per_result if role in RESULTS else family.per_message
        if isinstance(name, str) and name:
            self.framing += 1
            self.text(name)
        self.content(content)

    def content(self, content: object) -> None:
        if not isinstance(content, list):
            self.text(content)
            return
        for part in content:
            self.parts += 1
            if self.parts > _MAX_PARTS:
                return
            if isinstance(part, dict):
                self._part(part)
            else:
                self.text(part)

    def _part(self, part: Mapping[str, Any]) -> None:
        match part.get("type"):
            case "image_url" | "input_image":
                image = part.get("image_url")
                url, detail = image, part.get("detail")
                if isinstance(image, dict):
                    url, detail = image.get("url"), image.get("detail", detail)
                self.image(url, detail)
            case "image":  # Anthropic's
                source = part.get("source")
                data = source.get("data") if isinstance(source, dict) else None
                self.image(f"data:image;base64,{data}" if isinstance(data, str) else None, None)
            case "input_audio":
                held = part.get("input_audio")
                held = held if isinstance(held, dict) else part
                self.audio += media_tokens.audio_tokens(self.family.image, held.get("data"), held.get("format"))
            case "file" | "input_file" | "document":
                held = part.get("file") or part.get("source") or part
                self.file(held.get("file_data") or held.get("data") if isinstance(held, dict) else None)
            case "tool_result":
                self.content(part.get("content"))
            case _:
                self.text(part)

    def image(self, url: object, detail: object) -> None:
        size = size_in_url(url) if isinstance(url, str) else None
        self.images += image_tokens(self.family.image, self.model, size, detail)

    def file(self, data: object) -> None:
        found = media_tokens.file_content(self.family.image, data)
        self.framing += found.tokens
        self.text(found.text)

    def calls(self, calls: Iterable[object]) -> None:
        """Tool calls that are repeated to the model: objects with name and arguments, maybe under `function`."""
        found = [call for call in calls if isinstance(call, dict)]
        each = self.family.per_call if len(found) == 1 else self.family.per_parallel_call
        for call in found:
            held = call.get("function") or call.get("custom") or call
            if isinstance(held, dict):
                self.framing += each
                self.text(held.get("name"))
                arguments = held.get("arguments") or held.get("input")
                self.framing += arguments_framing(arguments, self.family)
                self.text(arguments)

    def functions(self, functions: Iterable[object], *, system: bool, choice: object, less: int = 0) -> None:
        """`system`: a system message stands before them. `choice`: `tool_choice`. `less`: of what frames them."""
        found = [held for held in map(_function, functions) if held is not None][:_MAX_PARTS]
        if not found:
            return
        family = self.family
        demanded = choice in ("required", "any") or isinstance(choice, dict)
        less += family.less_after_system if system else 0
        self.framing += max(0, (family.tools.demanded if demanded else family.tools.free) - less)
        self.framing += family.per_tool * len(found)
        text = tools_text.functions_text(found) if family.typescript else "\n".join(map(tools_text.compact, found))
        if family.tools_permille:
            self.framing += scale(self._count(text), family.tools_permille)

    def schema(self, form: object) -> None:
        """`response_format`, or the Responses API's `text.format`: a JSON schema in either nesting."""
        if not isinstance(form, dict) or form.get("type") != "json_schema":
            return
        held = form.get("json_schema") if isinstance(form.get("json_schema"), dict) else form
        if not isinstance(held, dict):
            return
        family = self.family
        if family.schema_permille:
            text = tools_text.response_format_text(held.get("description"), held.get("schema"))
            self.framing += family.per_schema + scale(self._count(text), family.schema_permille)

    def reasoning(self, item: Mapping[str, Any]) -> None:
        """Encrypted reasoning that is sent back: a token per ten characters (recording 13)."""
        self.text(item.get("content"))
        encrypted = item.get("encrypted_content")
        self.framing += len(encrypted) // 10 if isinstance(encrypted, str) else 0

    def token_ids(self, ids: int) -> None:
        self.framing += ids


def _function(tool: object) -> dict[str, Any] | None:
    """name, description, parameters of a tool in any provider's nesting; None for one that the provider runs."""
    if not isinstance(tool, dict):
        return None
    held = tool.get("function") or tool.get("custom") or tool
    if not isinstance(held, dict) or not isinstance(held.get("name"), str):
        return None
    parameters = held.get("parameters") or held.get("input_schema") or held.get("format")
    return {"name": held["name"], "description": held.get("description"), "parameters": parameters}


def scale(tokens: int, permille: int) -> int:
    return (tokens * permille + 500) // 1000


def arguments_framing(arguments: object, family: Family) -> int:
    """What makers who do not write arguments as JSON add for each; keys, also of JSON that was cut off."""
    if not family.per_argument:
        return 0
    text = arguments if isinstance(arguments, str) else tools_text.compact(arguments) if arguments else ""
    return family.per_argument * len(_KEY.findall(text))
