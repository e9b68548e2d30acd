"""Which tokenizer stands for a model, how far its maker's own counts are from it, what framing costs.

Exact encodings exist offline for OpenAI's models only. Every other family is counted with o200k_base and multiplied by a
factor in thousandths, calibrated on recorded calls (`python -m tests.estimation`; docs/estimation.md has the samples
behind each figure). Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from proxy.metering.tokenizer import encoding_name


@dataclass(frozen=True, slots=True)
class ToolPrompt:
    """Tokens that a maker adds where a request has tools: free choice of tool, or a call demanded."""

    free: int = 0
    demanded: int = 0


@dataclass(frozen=True, slots=True)
class Family:
    """Framing is in the model's own tokens; texts are in the encoding's, times a factor in thousandths."""

    name: str
    encoding: str = "o200k_base"
    input_permille: int = 1000
    output_permille: int = 1000
    single_digits: bool = False  # each digit is a token (o200k_base: up to three are)
    per_prompt: int = 3
    per_message: int = 4  # the role inside
    per_system: int = 4  # the same for a system message
    per_answer: int = 0
    per_answer_of_responses: int = 0
    per_thinking: int = 0  # where the request asks for thinking
    # Tools
    typescript: bool = False  # read as TypeScript (tools_text.py), else as the JSON that was sent
    tools: ToolPrompt = ToolPrompt()
    tools_permille: int = 1000  # of their text; 0: not billed
    less_for_responses: int = 0  # of `tools`, on the Responses surface
    less_after_system: int = 0  # of `tools`, where a system message stands before them
    per_tool: int = 0
    per_call: int = 7  # a call, said or repeated, beside its name and arguments
    per_parallel_call: int = 7  # the same where one answer has several
    per_forced_call: int = 0  # a call of the one function that was demanded: its name is given, not said
    per_argument: int = 0
    per_result: int = 4  # a tool's result, in place of `per_message`
    # An answer's JSON schema
    per_schema: int = 0
    schema_permille: int = 1000
    image: str = "openai"  # the rule in image_tokens.py and media_tokens.py


# OpenAI, cookbook "How to count tokens with tiktoken": 3 and the role per message, 3 for the answer's start; exact on all
# plain recorded chats. Functions: 9 (gpt-4 and older) or 12 around their text, 4 less where a system message stands; and
# parallel calls are written into one `multi_tool_use.parallel` call: both found on recorded calls.
_OPENAI = Family(
    "openai", typescript=True, tools=ToolPrompt(12, 20), less_for_responses=7, less_after_system=4, per_call=7,
    per_parallel_call=14, per_schema=4, per_answer_of_responses=1,
)  # fmt: skip
# Reasoning models: one token less per prompt, nine (on Responses six) around what can be seen; three from gpt-5.6 on.
_REASONING = replace(_OPENAI, name="openai-reasoning", per_prompt=2, per_answer=9, per_answer_of_responses=-3)
_NEWEST = replace(_REASONING, name="openai-gpt-5.6", per_answer=3, per_answer_of_responses=0)
_FIRST = replace(_OPENAI, name="openai-cl100k", encoding="cl100k_base", tools=ToolPrompt(9, 17))
_GPT_OSS = replace(_OPENAI, name="gpt-oss", per_prompt=68, tools=ToolPrompt(9, 9), per_answer_of_responses=0)

_CLAUDE = Family(
    "claude", input_permille=1150, output_permille=1110, tools_permille=1150, per_prompt=3, per_message=4, per_system=0, per_answer=3,
    per_thinking=28, per_tool=20, per_call=32, per_parallel_call=32, per_forced_call=6, per_argument=8, per_result=24,
    per_schema=102, schema_permille=1870, image="claude",
)  # fmt: skip
_CLAUDE_4_7 = replace(_CLAUDE, name="claude-4.7", image="claude-4.7")
# Anthropic, "Tool use": tokens of the system prompt that tools bring, by model.
_CLAUDE_TOOLS = (
    (re.compile(r"opus-4[-.][89]|opus-[5-9]|fable"), ToolPrompt(290, 410)),
    (re.compile(r"opus-4[-.]7"), ToolPrompt(675, 804)),
    (re.compile(r"(?:opus|sonnet)-4[-.]6"), ToolPrompt(497, 589)),
    (re.compile(r"(?:opus|sonnet|haiku)-4[-.]5"), ToolPrompt(496, 588)),
    (re.compile(r"(?:sonnet|haiku)-[5-9]"), ToolPrompt(354, 474)),
    (re.compile(r"3[-.]5-haiku|haiku-3[-.]5"), ToolPrompt(264, 355)),
    (re.compile(r"(?:opus|sonnet)-4"), ToolPrompt(313, 315)),
)
_CLAUDE_DEFAULT_TOOLS = ToolPrompt(346, 313)  # 3.5 and 3.7 Sonnet

_GEMINI = Family(
    "gemini", input_permille=1040, tools_permille=1040, single_digits=True, per_prompt=1, per_message=0, per_system=0,
    per_call=8, per_parallel_call=8, schema_permille=0, image="gemini",
)  # fmt: skip
_GEMINI_3 = replace(_GEMINI, name="gemini-3", image="gemini-3")
_OTHER = Family("other")

# In order; the first that is found anywhere in the model's name. Framing of the last ones is from one or two recorded
# calls each. One token per digit: Gemma's and Qwen's technical reports.
_BY_NAME = (
    (re.compile(r"claude|anthropic"), _CLAUDE),
    (re.compile(r"gemini-(?:[3-9]|nano)"), _GEMINI_3),
    (re.compile(r"gemini|learnlm"), _GEMINI),
    (re.compile(r"gemma"), Family("gemma", single_digits=True, per_prompt=4, per_message=8)),
    (re.compile(r"gpt-oss"), _GPT_OSS),
    (re.compile(r"llama-?3-|llama-?[12]\b"), Family("llama-3.0", per_prompt=5)),
    # From 3.1 on the template has a system message of its own, with two dates.
    (re.compile(r"llama|nemotron"), Family("llama", per_prompt=30)),
    (re.compile(r"qwen|qwq|qvq"), Family("qwen", single_digits=True)),
    (re.compile(r"deepseek"), Family("deepseek", per_prompt=2, per_message=1, per_system=1)),
    (re.compile(r"(?:mi[sx]tr|ministr|codestr|magistr|pixtr|devstr|voxtr)al"), Family("mistral")),
    (re.compile(r"grok"), Family("grok")),
    (re.compile(r"command|c4ai|cohere|(?:^|/)aya"), Family("cohere", per_prompt=0, per_message=0, tools_permille=500)),
    (re.compile(r"glm-"), Family("glm", per_prompt=1)),
    (re.compile(r"minimax"), Family("minimax", per_prompt=37)),
    (re.compile(r"kimi|moonshot|nova-|titan|sonar|phi-|yi-|ernie|hunyuan|seed-|mercury|palmyra|jamba|mistral"), _OTHER),
)
_OPENAI_REASONING = re.compile(r"(?:^|[/:])(?:o[1-9](?:$|-)|gpt-[5-9])")
_OPENAI_NEWEST = re.compile(r"(?:^|[/:])gpt-(?:5[-.][6-9]|[6-9])")
_CLAUDE_NEW = re.compile(r"opus-4[-.][7-9]|(?:opus|sonnet|haiku)-[5-9]|fable")


def family_of(model: str) -> Family:
    """Never fails: an unknown model is counted as OpenAI's."""
    name = model.lower()
    for pattern, family in _BY_NAME:
        if pattern.search(name):
            return _claude(name) if family is _CLAUDE else family
    if _OPENAI_NEWEST.search(name):
        return _NEWEST
    if _OPENAI_REASONING.search(name):
        return _REASONING
    return _FIRST if encoding_name(name) == "cl100k_base" else _OPENAI


def _claude(name: str) -> Family:
    family = _CLAUDE_4_7 if _CLAUDE_NEW.search(name) else _CLAUDE
    for pattern, prompt in _CLAUDE_TOOLS:
        if pattern.search(name):
            return replace(family, tools=prompt)
    return replace(family, tools=_CLAUDE_DEFAULT_TOOLS)
