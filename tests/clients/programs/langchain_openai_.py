"""LangChain: ChatOpenAI streams without asking for usage, OpenAIEmbeddings sends token ids."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from serve_cases import get_weather, given, joined, serve

llm = ChatOpenAI(base_url=given.base_url, api_key=given.key, model=given.llm)
responses_llm = ChatOpenAI(base_url=given.base_url, api_key=given.key, model=given.llm, use_responses_api=True)
old_llm = OpenAI(base_url=given.base_url, api_key=given.key, model=given.llm)
embeddings = OpenAIEmbeddings(base_url=given.base_url, api_key=given.key, model=given.embedding_llm)
weather = tool(get_weather)


class City(BaseModel):
    """A city."""

    name: str
    country: str


def use_tool(model: ChatOpenAI, *, stream: bool) -> dict[str, Any]:
    bound = model.bind_tools([weather])
    messages: list[BaseMessage] = [HumanMessage(given.weather_question)]
    if stream:
        call_message: Any = None
        for piece in bound.stream(messages):
            call_message = piece if call_message is None else call_message + piece
    else:
        call_message = bound.invoke(messages)
    (call,) = call_message.tool_calls
    messages += [call_message, weather.invoke(call)]
    text = joined(piece.text for piece in bound.stream(messages)) if stream else bound.invoke(messages).text
    return {"text": text, "city": call["args"]["city"]}


serve(
    {
        "chat.answer": lambda: {"text": llm.invoke(given.question).text},
        "chat.stream": lambda: {"text": joined(piece.text for piece in llm.stream(given.question))},
        "chat.tool": lambda: use_tool(llm, stream=False),
        "chat.tool-stream": lambda: use_tool(llm, stream=True),
        "chat.structured": lambda: llm.with_structured_output(City).invoke(given.question).model_dump(),
        "responses.answer": lambda: {"text": responses_llm.invoke(given.question).text},
        "responses.stream": lambda: {"text": joined(piece.text for piece in responses_llm.stream(given.question))},
        "responses.tool": lambda: use_tool(responses_llm, stream=False),
        "responses.tool-stream": lambda: use_tool(responses_llm, stream=True),
        "completions.answer": lambda: {"text": old_llm.invoke(given.question)},
        "completions.stream": lambda: {"text": joined(old_llm.stream(given.question))},
        "embeddings.tokens": lambda: {"vectors": embeddings.embed_documents(["one", "two"])},
    }
)
