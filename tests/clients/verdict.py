"""`make llmock`: the gateway judged as a client by llmock, a mock that breaks on purpose and grades who calls it.

An ordinary application calls through the gateway: openai-python with its own retries, and one more try where a stream breaks.
A fault that the gateway hides, or a retry that it makes too early, shows in llmock's verdict; every call that reached llmock
must have left its usage row.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai

from tests.clients import environments
from tests.clients.matrix import ENVIRONMENTS
from tests.clients.surfaces import SURFACES
from tests.promises.house import House, free_port, living

LLM = "gpt-4o"
IDLE_S = 2
TRIES = 3  # of the application, where a stream broke after its first byte: there no SDK tries again


class Scenario(NamedTuple):
    """`fault`: what llmock does. `recovers`: the application has its answer in the end; else it must get an error."""

    name: str
    fault: dict[str, Any]
    stream: bool
    recovers: bool


def _fail(status: int, **more: Any) -> dict[str, Any]:
    return {"type": "fail", "status": status, **more}


def _break(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "stream_fault", "kind": kind, "after_chunks": 3, **more}


SCENARIOS = (
    Scenario("429 with retry-after, twice", _fail(429, retry_after=1, times=2), False, True),
    Scenario("429 with retry-after before a stream", _fail(429, retry_after=1), True, True),
    Scenario("500 once", _fail(500), False, True),
    Scenario("503 twice", _fail(503, times=2), True, True),
    Scenario("529 once", _fail(529), False, True),
    Scenario("503 for ever", _fail(503, times=None), False, False),
    *(Scenario(f"{status}, final", _fail(status), False, False) for status in (400, 401, 403, 404, 422)),
    Scenario("disconnect in a stream", _break("disconnect"), True, True),
    Scenario("disconnect before the first chunk", _break("disconnect") | {"after_chunks": 0}, True, True),
    Scenario("truncated stream", _break("truncate"), True, True),
    Scenario("malformed chunk", _break("malformed"), True, True),
    Scenario("stalled stream", _break("stall", stall_seconds=30), True, True),
)


def main() -> int:
    environments.ensure(["llmock"])
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="synapscale-llmock-") as name, llmock(Path(name)) as url:
        provider = {"dialect": "openai", "base_url": f"{url}/v1", "api_key": "key-of-llmock"}
        llm = {"name": LLM, "routes": [{"provider": "llmock", "model": LLM}], "price": {"input": "1", "output": "2"},
               "context_window": 128000, "max_output": 16384}  # fmt: skip
        env = {"SYNAPSCALE_UPSTREAM__IDLE_TIMEOUT_S": str(IDLE_S)}
        with living(
            Path(name), json.dumps({"providers": {"llmock": provider}, "llms": [llm]}), workers=1, env=env
        ) as house:
            wrong = [f"{surface}, {scenario.name}: {problem}" for surface, call in CALLS.items() if SURFACES[surface].served
                     for scenario in SCENARIOS for problem in judge(house, url, scenario, call)]  # fmt: skip
    print("\n".join(f"✗ {problem}" for problem in wrong))
    waiting = [surface for surface in CALLS if not SURFACES[surface].served]
    print(f"{len(SCENARIOS) * (len(CALLS) - len(waiting))} scenarios, {len(wrong)} failed, {time.monotonic() - began:.0f} s."
          + (f" Not served yet: {', '.join(waiting)}." if waiting else ""))  # fmt: skip
    return int(bool(wrong))


def judge(house: House, url: str, scenario: Scenario, call: Callable[[openai.OpenAI, bool], str]) -> list[str]:
    """What is wrong, in llmock's words and ours."""
    post(url, "reset", {})
    post(url, "scenario", {"behaviors": [scenario.fault]})
    key_id, key = house.new_key(f"{scenario.name} {time.monotonic_ns()}")
    problems = []
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key) as client:
        try:
            text = application(client, scenario.stream, call)
            problems += [] if scenario.recovers else [f"no error: {text!r}"]
        except (openai.APIError, Unfinished, ValueError) as error:
            problems += [f"{type(error).__name__}: {error}"] if scenario.recovers else []
    verdict = get(url, "verdict")
    attempts = len(get(url, "requests")["requests"])
    told = ", ".join(f"{finding['severity']} {finding['code']}: {finding['title']}" for finding in verdict["findings"])
    print(f"{scenario.name:40} {attempts} attempts  {told or 'no finding'}", flush=True)
    problems += [
        f"{finding['code']}: {finding['title']}" for finding in verdict["findings"] if finding["severity"] == "error"
    ]
    rows = wait_for_rows(house, key_id, attempts)
    return problems + ([] if rows == attempts else [f"{rows} usage rows for {attempts} attempts"])


class Unfinished(Exception):
    """A stream ended without a finish reason, and no error told."""


def application(client: openai.OpenAI, stream: bool, call: Callable[[openai.OpenAI, bool], str]) -> str:
    """As one is written that minds its provider: what a broken stream said is thrown away and asked for again."""
    for attempt in range(1, TRIES + 1):
        try:
            return call(client, stream)
        except openai.APIStatusError:
            raise  # the SDK has tried again already where it makes sense
        except (openai.APIError, ValueError):  # ValueError: a chunk that is no JSON
            if attempt == TRIES:
                raise
            time.sleep(0.3 * 2**attempt)
    raise AssertionError("unreachable")


def chat(client: openai.OpenAI, stream: bool) -> str:
    messages: Any = [{"role": "user", "content": "Tell me about Paris in ten words, please."}]
    if not stream:
        answer = client.chat.completions.create(model=LLM, messages=messages)
        return answer.choices[0].message.content or ""
    told, finish = "", None
    for event in client.chat.completions.create(model=LLM, messages=messages, stream=True):
        for choice in event.choices:
            told += choice.delta.content or ""
            finish = choice.finish_reason or finish
    if finish is None:
        raise Unfinished
    return told


def responses(client: openai.OpenAI, stream: bool) -> str:
    asked: Any = "Tell me about Paris in ten words, please."
    if not stream:
        return client.responses.create(model=LLM, input=asked).output_text
    told, done = "", False
    for event in client.responses.create(model=LLM, input=asked, stream=True):
        if event.type == "response.output_text.delta":
            told += event.delta
        done = done or event.type == "response.completed"
    if not done:
        raise Unfinished
    return told


CALLS: dict[str, Callable[[openai.OpenAI, bool], str]] = {"chat": chat, "responses": responses}


def wait_for_rows(house: House, key_id: str, count: int) -> int:
    path = f"usage/events?limit=100&virtual_key_id={key_id}"
    end = time.monotonic() + 15
    while (found := len(house.api(path)["data"])) < count and time.monotonic() < end:
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def llmock(folder: Path) -> Iterator[str]:
    """Its address without a path."""
    port, log = free_port(), folder / "llmock.log"
    with log.open("wb") as out:
        program = str(ENVIRONMENTS / "llmock" / "bin" / "llmock")
        argv = [program, "serve", "--port", str(port), "--log-level", "warning", "--stream-chunk-delay-ms", "5"]
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, f"llmock ended:\n{log.read_text()[-3000:]}"
            assert time.monotonic() < until, f"llmock is not up within 60 s:\n{log.read_text()[-3000:]}"
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def post(url: str, what: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{url}/_llmock/{what}", method="POST", data=json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30):
        pass


def get(url: str, what: str) -> Any:
    with urllib.request.urlopen(f"{url}/_llmock/{what}", timeout=30) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    sys.exit(main())
