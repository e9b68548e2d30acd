"""The clients, each with its environment and program. A client's cases are those that its program offers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".clients"
NODE = "node"


@dataclass(frozen=True, slots=True)
class Client:
    """`environment`: a lock in locks/; None: the development environment, where the newest openai-python is.

    `package`: whose version is shown.
    """

    name: str
    program: str
    environment: str | None
    package: str

    @property
    def is_node(self) -> bool:
        return self.program.endswith(".mjs")

    def command(self) -> list[str]:
        if self.environment is None:
            return [sys.executable, str(HERE / "programs" / self.program)]
        if self.is_node:
            return [str(ENVIRONMENTS / NODE / "bin" / "node"), str(ENVIRONMENTS / NODE / "app" / self.program)]
        return [str(ENVIRONMENTS / self.environment / "bin" / "python"), str(HERE / "programs" / self.program)]


NEWEST = Client("openai-python newest", "openai_python.py", None, "openai")

CLIENTS = (
    NEWEST,
    Client("openai-python 2", "openai_python.py", "openai-2", "openai"),
    Client("openai-python 1", "openai_python.py", "openai-1", "openai"),
    Client("openai-node", "openai_node.mjs", NODE, "openai"),
    Client("LangChain", "langchain_openai_.py", "langchain", "langchain-openai"),
    Client("LlamaIndex", "llama_index_.py", "llama-index", "llama-index-llms-openai-like"),
    Client("pydantic-ai", "pydantic_ai_.py", "pydantic-ai", "pydantic-ai-slim"),
    Client("instructor", "instructor_.py", "instructor", "instructor"),
    Client("OpenAI Agents SDK", "openai_agents.py", "openai-agents", "openai-agents"),
    Client("AI SDK openai-compatible", "ai_sdk_compatible.mjs", NODE, "@ai-sdk/openai-compatible"),
    Client("AI SDK openai()", "ai_sdk_openai.mjs", NODE, "@ai-sdk/openai"),
)
