from __future__ import annotations

from pricing.usage import Usage
from proxy.metering.reading import Reading
from tests.proxy.providers.native import body, stream

END = {"model": "m", "done": True, "prompt_eval_count": 26, "eval_count": 290, "eval_duration": 4_709_213_000}


def test_the_last_line_has_it() -> None:
    assert body("ollama", END).usage == Usage({"input": 26, "output": 290})
    found = stream("ollama", {"done": False, "message": {"content": "Hi"}}, END)
    assert (found.usage, found.pending) == (Usage({"input": 26, "output": 290}), False)
    assert stream("ollama", {"done": False}) == Reading(pending=True)


def test_a_prompt_without_a_count_is_missing_and_not_zero() -> None:
    assert body("ollama", {"done": True, "eval_count": 3}).usage == Usage({"output": 3})
    assert body("ollama", {"done": True, "eval_count": "3"}).garbled


def test_what_is_kept_reads_the_same_again() -> None:
    raw = body("ollama", END).raw_usage
    assert raw == '{"prompt_eval_count":26,"eval_count":290}'
    assert body("ollama", {"usage": {"prompt_eval_count": 26, "eval_count": 290}}).usage == Usage({"input": 26, "output": 290})
