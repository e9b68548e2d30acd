"""LlamaIndex: OpenAILike, as its documentation says for any OpenAI-compatible server."""

from __future__ import annotations

from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from serve_cases import get_weather, given, joined, serve

options: dict[str, Any] = {
    "api_base": given.base_url,
    "api_key": given.key,
    "model": given.llm,
    "context_window": 128000,
}
llm = OpenAILike(**options, is_chat_model=True, is_function_calling_model=True)
old_llm = OpenAILike(**options, is_chat_model=False)
embeddings = OpenAILikeEmbedding(api_base=given.base_url, api_key=given.key, model_name=given.embedding_llm)
tool = FunctionTool.from_defaults(get_weather)


class City(BaseModel):
    """A city."""

    name: str
    country: str


def ask(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def chat_tool() -> dict[str, Any]:
    messages = ask(given.weather_question)
    first = llm.chat_with_tools([tool], chat_history=messages)
    (call,) = llm.get_tool_calls_from_response(first)
    result = str(tool(**call.tool_kwargs))
    messages += [
        first.message,
        ChatMessage(role="tool", content=result, additional_kwargs={"tool_call_id": call.tool_id}),
    ]
    answer = llm.chat_with_tools([tool], chat_history=messages)
    return {"text": answer.message.content, "city": call.tool_kwargs["city"]}


serve(
    {
        "chat.answer": lambda: {"text": llm.chat(ask(given.question)).message.content},
        "chat.stream": lambda: {"text": joined(piece.delta for piece in llm.stream_chat(ask(given.question)))},
        "chat.tool": chat_tool,
        "chat.structured": lambda: llm.as_structured_llm(City).chat(ask(given.question)).raw.model_dump(),
        "completions.answer": lambda: {"text": old_llm.complete(given.question).text},
        "completions.stream": lambda: {
            "text": joined(piece.delta for piece in old_llm.stream_complete(given.question))
        },
        "embeddings.base64": lambda: {"vectors": embeddings.get_text_embedding_batch(["one", "two"])},
    }
)
