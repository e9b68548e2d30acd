"""Each provider's own wire, put into OpenAI's shape: body, what was said, what was reported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from proxy.metering.output_text import ARGUMENTS, CALL, OutputText


class Said(NamedTuple):
    model: str
    surface: str
    body: dict[str, Any]
    text: str
    input: int | None
    output: int | None


class Reader(NamedTuple):
    matches: Callable[[str, dict[str, Any]], bool]
    read: Callable[[str, dict[str, Any], bytes], Said | None]


def frames(answer: bytes) -> Iterator[dict[str, Any]]:
    """The objects of a stream, or the one of a body."""
    if answer.lstrip()[:1] in (b"{", b"["):
        try:
            whole = json.loads(answer)
        except ValueError:
            return
        yield from whole if isinstance(whole, list) else [whole]
        return
    for line in answer.splitlines():
        if line.lstrip().startswith(b"data:"):
            data = line.lstrip()[5:].strip()
            if data.startswith(b"{"):
                try:
                    yield json.loads(data)
                except ValueError:
                    continue


def output_text(answer: bytes) -> str:
    """As the gateway collects it."""
    kept = OutputText()
    if answer.lstrip()[:1] == b"{":
        kept.add_body(answer)
    else:
        kept.keep(answer.replace(b"\r\n", b"\n"))
    return kept.text()


# ---- OpenAI's surfaces


def _openai_surface(url: str) -> str | None:
    for ending, surface in (
        ("/chat/completions", "chat"), ("/completions", "completions"), ("/embeddings", "embeddings"), ("/responses", "responses"),
        ("**REDACTED**", "responses"),
    ):  # fmt: skip
        if url.partition("?")[0].endswith(ending):
            return surface
    return None


def _is_openai(url: str, body: dict[str, Any]) -> bool:
    return _openai_surface(url) is not None and ("messages" in body or "input" in body or "prompt" in body)


def _openai(url: str, body: dict[str, Any], answer: bytes) -> Said | None:
    usage: dict[str, Any] | None = None
    model = str(body.get("model"))
    for frame in frames(answer):
        nested = frame.get("response") if isinstance(frame.get("response"), dict) else None
        found = frame.get("usage") or (nested or {}).get("usage") or (frame.get("x_groq") or {}).get("usage")
        usage = found if isinstance(found, dict) else usage
        served = frame.get("model") or (nested or {}).get("model")
        if served and ("azure" in url or not body.get("model")):
            model = str(served)  # Azure: the body names a deployment
    surface = _openai_surface(url) or "chat"
    if usage is None:
        return None
    took = usage.get("prompt_tokens", usage.get("input_tokens"))
    gave = usage.get("completion_tokens", usage.get("output_tokens"))
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    hidden = details.get("reasoning_tokens") or 0
    text = output_text(answer)
    if hidden and b"reasoning_summary" in answer or b'"summary_text"' in answer:
        gave = None  # the summary is said, but not what is billed
    shown = b'"reasoning_content"' in answer or b'"reasoning"' in answer and surface == "chat"
    if hidden and not shown:
        gave = max(0, gave - hidden) if gave else None
    if body.get("previous_response_id") or _hosted(body):
        took = None  # what the provider adds is not in the request
        gave = None
    if surface == "embeddings" or (details.get("audio_tokens") or 0) or not text:
        gave = None
    return Said(model, surface, body, text, took, gave)


def _hosted(body: dict[str, Any]) -> bool:
    tools = body.get("tools") or []
    return "web_search_options" in body or any(
        isinstance(tool, dict) and tool.get("type") not in ("function", "custom", None) for tool in tools
    )


# ---- Anthropic


def _is_anthropic(url: str, body: dict[str, Any]) -> bool:
    return url.partition("?")[0].endswith("/messages") and "messages" in body


def _anthropic(url: str, body: dict[str, Any], answer: bytes) -> Said | None:
    usage: dict[str, Any] = {}
    parts: dict[int, list[str]] = {}
    thought = False
    for frame in frames(answer):
        for holder in (frame, frame.get("message") if isinstance(frame.get("message"), dict) else {}):
            usage |= {k: v for k, v in (holder.get("usage") or {}).items() if v is not None}
        for index, block in enumerate(frame.get("content") or []):
            parts[index] = [_block_text(block)]
            thought = thought or "thinking" in str(block.get("type"))
        if frame.get("type") == "content_block_start":
            block = frame["content_block"]
            thought = thought or "thinking" in str(block.get("type"))
            parts[frame["index"]] = [CALL + block["name"] + ARGUMENTS if block.get("name") else block.get("text") or ""]
        if frame.get("type") == "content_block_delta":
            delta = frame["delta"]
            parts[frame["index"]].append(delta.get("text") or delta.get("partial_json") or "")
    if "input_tokens" not in usage:
        return None
    cached = (usage.get("cache_read_input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0)
    hosted = any(tool.get("type", "custom") != "custom" for tool in body.get("tools") or [])
    chat: dict[str, Any] = {"model": body.get("model"), "messages": list(_anthropic_messages(body))}
    if body.get("tools"):
        chat["tools"] = [
            {"type": "function", "function": {
                "name": tool.get("name"), "description": tool.get("description"), "parameters": tool.get("input_schema"),
            }} for tool in body["tools"]
        ]  # fmt: skip
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        named = {"type": "function", "function": {"name": choice.get("name")}}
        chat["tool_choice"] = {"any": "required", "tool": named}.get(choice.get("type", ""), choice.get("type"))
    if body.get("thinking"):
        chat["thinking"] = body["thinking"]
    form = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if form:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": form.get("schema")}}
    text = "\n".join("".join(part) for part in parts.values())
    took = None if hosted else usage["input_tokens"] + cached
    return Said(str(body.get("model")), "chat", chat, text, took, None if thought or hosted else usage.get("output_tokens"))


def _block_text(block: dict[str, Any]) -> str:
    if block.get("type") == "tool_use":
        return CALL + str(block.get("name")) + ARGUMENTS + json.dumps(block.get("input"), separators=(",", ":"))
    return str(block.get("text") or "")


def _anthropic_messages(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    system = body.get("system")
    if system:
        yield {"role": "system", "content": _flat(system)}
    for message in body["messages"]:
        content = message["content"]
        if isinstance(content, str):
            yield {"role": message["role"], "content": content}
            continue
        parts: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for block in content:
            kind = block.get("type")
            if kind == "text":
                parts.append({"type": "text", "text": block["text"]})
            elif kind == "image":
                source = block["source"]
                url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
                parts.append({"type": "image_url", "image_url": {"url": url}})
            elif kind == "tool_use":
                calls.append(_call(block.get("id"), block["name"], block["input"]))
            elif kind == "tool_result":
                yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _flat(block.get("content") or "")}
            elif kind == "document":
                source = block["source"]
                data = f"data:{source.get('media_type')};base64,{source['data']}" if "data" in source else None
                parts.append({"type": "file", "file": {"file_data": data}})
        if parts or calls:
            yield {"role": message["role"], "content": parts or None} | ({"tool_calls": calls} if calls else {})


def _call(identity: object, name: str, arguments: object) -> dict[str, Any]:
    written = json.dumps(arguments, separators=(",", ":"))
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": written}}


def _flat(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(block.get("text") or "") for block in content if isinstance(block, dict))
    return json.dumps(content)


# ---- Gemini


def _is_gemini(url: str, body: dict[str, Any]) -> bool:
    return "enerateContent" in url and "contents" in body


def _gemini(url: str, body: dict[str, Any], answer: bytes) -> Said | None:
    usage: dict[str, Any] = {}
    said: list[str] = []
    for frame in frames(answer):
        usage |= frame.get("usageMetadata") or {}
        for candidate in frame.get("candidates") or []:
            for part in (candidate.get("content") or {}).get("parts") or []:
                if part.get("thought"):
                    continue
                if "functionCall" in part:
                    call = part["functionCall"]
                    said.append(CALL + str(call.get("name")) + ARGUMENTS + json.dumps(call.get("args"), separators=(",", ":")))
                said.append(part.get("text") or "")
    if "promptTokenCount" not in usage:
        return None
    model = url.partition("?")[0].rpartition("/")[2].partition(":")[0]
    messages: list[dict[str, Any]] = []
    system = body.get("systemInstruction") or body.get("system_instruction")
    if system:
        messages.append({"role": "system", "content": _flat(system.get("parts"))})
    contents = body["contents"]
    for content in contents if isinstance(contents, list) else [contents]:
        messages += _gemini_messages(content)
    chat: dict[str, Any] = {"model": model, "messages": messages}
    declared = [tool for tool in body.get("tools") or [] if "functionDeclarations" in tool or "function_declarations" in tool]
    hosted = len(declared) != len(body.get("tools") or [])
    functions = [one for tool in declared for one in tool.get("functionDeclarations") or tool["function_declarations"]]
    if functions:
        chat["tools"] = [
            {"type": "function", "function": {
                "name": one.get("name"), "description": one.get("description"),
                "parameters": one.get("parameters") or one.get("parametersJsonSchema") or one.get("parameters_json_schema"),
            }} for one in functions
        ]  # fmt: skip
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema") or config.get("response_json_schema")
    if schema:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    # Thoughts that are sent back are billed again.
    hosted = hosted or re.search("houghtSignature|\"thought\": true", json.dumps(contents)) is not None
    gave = None if hosted else usage.get("candidatesTokenCount")
    return Said(model, "chat", chat, "".join(said), None if hosted else usage["promptTokenCount"], gave)


def _gemini_messages(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    role = {"model": "assistant"}.get(content.get("role", "user"), content.get("role", "user"))
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in content.get("parts") or []:
        inline = part.get("inlineData") or part.get("inline_data")
        if inline:
            kind = inline.get("mimeType") or inline.get("mime_type") or ""
            if kind.startswith("image/"):
                parts.append({"type": "image_url", "image_url": {"url": f"data:{kind};base64,{_standard(inline['data'])}"}})
            elif kind.startswith("audio/"):
                parts.append({"type": "input_audio", "input_audio": {
                    "data": _standard(inline["data"]), "format": kind[6:].removeprefix("x-")}})  # fmt: skip
            else:
                parts.append({"type": "file", "file": {"file_data": f"data:{kind};base64,{_standard(inline['data'])}"}})
        elif "functionCall" in part:
            calls.append(_call(None, part["functionCall"]["name"], part["functionCall"].get("args")))
        elif "functionResponse" in part:
            yield {"role": "tool", "content": json.dumps(part["functionResponse"].get("response"), separators=(",", ":"))}
        elif part.get("text") and not part.get("thought"):
            parts.append({"type": "text", "text": part["text"]})
    if parts or calls:
        yield {"role": role, "content": parts or None} | ({"tool_calls": calls} if calls else {})


def _standard(data: str) -> str:
    return data.replace("-", "+").replace("_", "/")


# ---- Bedrock Converse (whole bodies only: frames are binary)


def _is_converse(url: str, body: dict[str, Any]) -> bool:
    return url.partition("?")[0].endswith("/converse") and "messages" in body


def _converse(url: str, body: dict[str, Any], answer: bytes) -> Said | None:
    whole = next(frames(answer), {})
    usage = whole.get("usage") or {}
    if "inputTokens" not in usage:
        return None
    messages = [{"role": "system", "content": _flat(body.get("system") or "")}] if body.get("system") else []
    messages += [{"role": one["role"], "content": _flat(one["content"])} for one in body["messages"]]
    said = _flat(whole.get("output", {}).get("message", {}).get("content") or "")
    model = url.split("/model/")[-1].partition("/")[0]
    took = None if body.get("toolConfig") else usage["inputTokens"]
    return Said(model, "chat", {"model": model, "messages": messages}, said, took, usage.get("outputTokens"))


# ---- Cohere


def _is_cohere(url: str, body: dict[str, Any]) -> bool:
    return "cohere.com/v2/chat" in url


def _cohere(url: str, body: dict[str, Any], answer: bytes) -> Said | None:
    usage: dict[str, Any] = {}
    said: list[str] = []
    for frame in frames(answer):
        delta = frame.get("delta") or {}
        usage = frame.get("usage") or delta.get("usage") or usage
        message = delta.get("message") or {}
        content = message.get("content") or {}
        calls = message.get("tool_calls") or {}
        said.append((content.get("text") or "") if isinstance(content, dict) else "")
        said.append(message.get("tool_plan") or "")
        if isinstance(calls, dict):
            said.append((calls.get("function") or {}).get("name") or "")
            said.append((calls.get("function") or {}).get("arguments") or "")
    tokens = usage.get("tokens") or {}
    if not tokens:
        return None
    # What is billed is less (`billed_units`): without the tool preamble.
    billed = usage.get("billed_units") or tokens
    return Said(str(body.get("model")), "chat", body, "".join(said), int(billed["input_tokens"]), int(billed["output_tokens"]))


READERS = (
    Reader(_is_cohere, _cohere),
    Reader(_is_converse, _converse),
    Reader(_is_anthropic, _anthropic),
    Reader(_is_gemini, _gemini),
    Reader(_is_openai, _openai),
)
