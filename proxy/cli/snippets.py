"""Settings and programs for tools that people use: what `synapscale snippet` prints.

`@BASE@` is the gateway's address without /v1, `@LLM@` what the client names as model, `@KEY@` the virtual key: by default
a reference to SYNAPSCALE_API_KEY in the tool's own way, or a placeholder where the tool has none.
"""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

Key = Literal["shell", "python", "node", "dollar", "typed"]
REFERENCES: dict[Key, str] = {
    "shell": "$SYNAPSCALE_API_KEY", "python": 'os.environ["SYNAPSCALE_API_KEY"]', "node": "process.env.SYNAPSCALE_API_KEY",
    "dollar": "${SYNAPSCALE_API_KEY}", "typed": "sk-syn-…",
}  # fmt: skip


class Snippet(NamedTuple):
    """`where`: what to do with the text. `surface`: the path that the tool calls. `public`: it calls from elsewhere."""

    what: str
    where: str
    text: str
    key: Key = "typed"
    surface: str = "/v1/chat/completions"
    public: bool = False


def filled(snippet: Snippet, base: str, llm: str, key: str | None) -> str:
    """`key` None: no key is in the text."""
    shown = REFERENCES[snippet.key] if key is None else _literal(snippet.key, key)
    return snippet.text.replace("@BASE@", base).replace("@LLM@", llm).replace("@KEY@", shown).strip("\n")


def _literal(place: Key, key: str) -> str:
    return json.dumps(key) if place in ("python", "node") else key


SNIPPETS: dict[str, Snippet] = {
    "curl": Snippet("curl", "Run it.", """
curl @BASE@/v1/chat/completions \\
  -H "Authorization: Bearer @KEY@" -H "Content-Type: application/json" \\
  -d '{"model":"@LLM@","messages":[{"role":"user","content":"hi"}]}'
""", "shell"),
    "env": Snippet("Any OpenAI SDK, by environment", "Run it in the shell that starts your program.", """
export OPENAI_BASE_URL=@BASE@/v1
export OPENAI_API_BASE=@BASE@/v1   # the name that LangChain, LlamaIndex and aider also read
export OPENAI_API_KEY="@KEY@"
""", "shell"),
    "python": Snippet("OpenAI SDK for Python", "pip install openai", """
import os

from openai import OpenAI

client = OpenAI(base_url="@BASE@/v1", api_key=@KEY@)
answer = client.chat.completions.create(model="@LLM@", messages=[{"role": "user", "content": "hi"}])
print(answer.choices[0].message.content)
""", "python"),
    "node": Snippet("OpenAI SDK for Node", "npm install openai; a .mjs file", """
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "@BASE@/v1", apiKey: @KEY@ });
const answer = await client.chat.completions.create({
  model: "@LLM@", messages: [{ role: "user", content: "hi" }],
});
console.log(answer.choices[0].message.content);
""", "node"),
    "langchain": Snippet("LangChain", "pip install langchain-openai", """
import os

from langchain_openai import ChatOpenAI

# stream_usage: without it its streams carry no usage.
llm = ChatOpenAI(base_url="@BASE@/v1", api_key=@KEY@, model="@LLM@", stream_usage=True)
print(llm.invoke("hi").content)
""", "python"),
    "llama-index": Snippet("LlamaIndex", "pip install llama-index-llms-openai-like, in an environment of its own", """
import os

from llama_index.llms.openai_like import OpenAILike

# Its defaults are /completions and a window of 3900 tokens.
llm = OpenAILike(
    model="@LLM@", api_base="@BASE@/v1", api_key=@KEY@,
    is_chat_model=True, is_function_calling_model=True, context_window=128000,
)
print(llm.complete("hi"))
""", "python"),
    "pydantic-ai": Snippet("Pydantic AI", "pip install pydantic-ai", """
import os

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

model = OpenAIChatModel("@LLM@", provider=OpenAIProvider(base_url="@BASE@/v1", api_key=@KEY@))
print(Agent(model).run_sync("hi").output)
""", "python"),
    "ai-sdk": Snippet("Vercel AI SDK", "npm install ai @ai-sdk/openai-compatible; a .mjs file", """
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const synapscale = createOpenAICompatible({
  name: "synapscale", baseURL: "@BASE@/v1", apiKey: @KEY@, includeUsage: true,
});
const { text } = await generateText({ model: synapscale("@LLM@"), prompt: "hi" });
console.log(text);
""", "node"),
    "anthropic": Snippet("Anthropic SDK for Python", "pip install anthropic. Its base URL has no /v1.", """
import os

from anthropic import Anthropic

client = Anthropic(base_url="@BASE@", auth_token=@KEY@)
answer = client.messages.create(model="@LLM@", max_tokens=256, messages=[{"role": "user", "content": "hi"}])
print(answer.content[0].text)
""", "python", "/v1/messages"),
    "claude-code": Snippet(
        "Claude Code", "Run it in a shell, or put the variables under `env` in ~/.claude/settings.json, never in a "
        "project's. /status then names the address.", """
unset ANTHROPIC_API_KEY
export ANTHROPIC_BASE_URL=@BASE@
export ANTHROPIC_AUTH_TOKEN="@KEY@"
export ANTHROPIC_DEFAULT_OPUS_MODEL="@LLM@" ANTHROPIC_DEFAULT_SONNET_MODEL="@LLM@" ANTHROPIC_DEFAULT_HAIKU_MODEL="@LLM@"
claude
""", "shell", "/v1/messages"),
    "codex": Snippet("Codex", "Put it into ~/.codex/config.toml and export SYNAPSCALE_API_KEY.", """
model = "@LLM@"
model_provider = "synapscale"

[model_providers.synapscale]
name = "SynapScale"
base_url = "@BASE@/v1"
env_key = "SYNAPSCALE_API_KEY"
wire_api = "responses"
""", surface="/v1/responses"),
    "opencode": Snippet("opencode", "Put it into opencode.json and export SYNAPSCALE_API_KEY.", """
{
  "provider": {
    "synapscale": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "SynapScale",
      "options": {"baseURL": "@BASE@/v1", "apiKey": "{env:SYNAPSCALE_API_KEY}"},
      "models": {"@LLM@": {"name": "@LLM@"}}
    }
  },
  "model": "synapscale/@LLM@"
}
"""),
    "aider": Snippet("aider", "Run it.", """
OPENAI_API_BASE=@BASE@/v1 OPENAI_API_KEY="@KEY@" aider --model "openai/@LLM@"
""", "shell"),
    "cline": Snippet("Cline, Roo Code", "Settings → API Provider.", """
API Provider: OpenAI Compatible
Base URL:     @BASE@/v1
API Key:      @KEY@
Model ID:     @LLM@
"""),
    "continue": Snippet("Continue", "Put it into ~/.continue/config.yaml.", """
name: SynapScale
version: 1.0.0
schema: v1
models:
  - name: "@LLM@"
    provider: openai
    model: "@LLM@"
    apiBase: "@BASE@/v1"
    apiKey: "@KEY@"
"""),
    "cursor": Snippet(
        "Cursor", "Settings → Models → API Keys; add the model, Verify. The override holds for all models, needs a paid "
        "plan, and Tab does not use it.", """
OpenAI API Key:           @KEY@
Override OpenAI Base URL: @BASE@/v1
Model:                    @LLM@
""", public=True),
    "open-webui": Snippet(
        "Open WebUI", "Its environment at the first start; later: Admin → Connections → OpenAI. From a container this "
        "machine is http://host.docker.internal.", """
OPENAI_API_BASE_URLS=@BASE@/v1
OPENAI_API_KEYS=@KEY@
ENABLE_FORWARD_USER_INFO_HEADERS=true
"""),
    "librechat": Snippet("LibreChat", "Put it into librechat.yaml, and SYNAPSCALE_API_KEY into its .env.", """
endpoints:
  custom:
    - name: "SynapScale"
      apiKey: "@KEY@"
      baseURL: "@BASE@/v1"
      models:
        default: ["@LLM@"]
        fetch: true
      titleConvo: true
""", "dollar"),
    "n8n": Snippet("n8n", "Credentials → New → OpenAI; then choose the model in the node.", """
API Key:  @KEY@
Base URL: @BASE@/v1
Model:    @LLM@
"""),
}  # fmt: skip
