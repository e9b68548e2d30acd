"""`make conformance`: openai-python's own tests against a mock of OpenAI's API, directly and through the gateway: the same must pass.

What fails because its endpoint is not served yet is listed by endpoint, and so is what names an object (a response's id) that the
workspace does not own: the mock knows every id, the gateway answers 404 as it promises; and what the gateway refuses on purpose.
Any other difference is a failure. Tests that fail directly (the mock's document lacks the endpoint) say nothing about the gateway
and are only counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.clients import environments
from tests.clients.conformance import suite
from tests.clients.conformance.suite import Outcome
from tests.clients.matrix import NODE
from tests.clients.surfaces import ON_PURPOSE, WITH_OBJECTS, is_served, surface_of
from tests.promises.house import living


def main() -> int:
    parser = argparse.ArgumentParser(prog="make conformance ARGS=…", description=__doc__)
    parser.add_argument("pytest", nargs="*", help='arguments for pytest, for example ARGS="-- -k chat"')
    options = parser.parse_args()
    document = suite.spec()
    environments.ensure([NODE, suite.ENVIRONMENT])
    suite.unpack()
    with tempfile.TemporaryDirectory(prefix="synapscale-conformance-") as name:
        folder = Path(name)
        with suite.mock(folder, document) as mock_url:
            began = time.monotonic()
            direct = suite.run(mock_url, suite.KEY, folder / "direct", options.pytest)
            passed = [test for test, outcome in direct.items() if outcome.passed]
            told = time.monotonic()
            print(f"Directly: {counts(direct)}, {told - began:.0f} s.", flush=True)
            with living(folder, config(mock_url, suite.models()), workers=1) as house:
                through = suite.run(f"{house.url}/v1", house.key, folder / "through", options.pytest, only=passed)
            print(f"Through the gateway, of those that passed: {counts(through)}, {time.monotonic() - told:.0f} s.")
    return report({test: direct[test] for test in passed}, through)


def config(base_url: str, models: list[str]) -> str:
    llms = [{"name": name, "routes": [{"provider": "mock", "model": name}], "price": {"input": "1", "output": "1"},
             "context_window": 128000, "max_output": 16384} for name in models]  # fmt: skip
    return json.dumps(
        {"providers": {"mock": {"dialect": "openai", "base_url": base_url, "api_key": "mock-key"}}, "llms": llms}
    )


def counts(outcomes: dict[str, Outcome]) -> str:
    found = Counter(outcome.outcome for outcome in outcomes.values())
    return ", ".join(f"{found[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped") if found[outcome])


def report(direct: dict[str, Outcome], through: dict[str, Outcome]) -> int:
    """Prints what differs and returns the exit status."""
    lost = {test: through.get(test) for test in direct if (found := through.get(test)) is None or not found.passed}
    waiting, foreign, refused, wrong = Counter[str](), Counter[str](), Counter[str](), list[str]()
    for test, outcome in lost.items():
        made = () if outcome is None else outcome.calls
        broken = outcome is None or any(status >= 500 for _, _, status in made)
        unserved = [f"{method} {path}" for method, path, _ in made if not is_served(method, path)]
        objects = [
            f"{method} {path}"
            for method, path, status in made
            if status == 404 and surface_of(method, path) in WITH_OBJECTS
        ]
        if unserved and not broken:
            waiting[unserved[0]] += 1
        elif objects and not broken:
            foreign[objects[0]] += 1
        elif outcome is not None and (said := on_purpose(outcome)):
            refused[said] += 1
        else:
            told = " ".join(f"{method} {path} → {status}" for method, path, status in made)
            wrong.append(f"✗ {test}\n    {told}\n    {'was not run' if outcome is None else outcome.reason}")
    calls = (call for test, outcome in direct.items() if test not in lost for call in outcome.calls)
    served = Counter(f"{method} {path}" for method, path, _ in calls if is_served(method, path))
    show("Served, tests that pass directly and through the gateway", served)
    show("Not served yet, tests that wait for it", waiting)
    show("Objects that the workspace does not own, refused", foreign)
    show("Refused on purpose", refused)
    if wrong:
        print("\nServed, and different:\n" + "\n".join(wrong))
    silent = sum(not outcome.calls for test, outcome in direct.items() if test not in lost)
    print(f"\nOf those that passed, {silent} make no call at all: they check arguments.")
    said = f"{waiting.total()} not served yet, {foreign.total()} objects refused, {refused.total()} refused on purpose"
    print(f"{len(direct) - len(lost)} passed, {len(wrong)} failed, {said}.")
    return int(bool(wrong))


def on_purpose(outcome: Outcome) -> str:
    """The call and how its refusal begins; empty: it was not meant."""
    for method, path, status in outcome.calls:
        for said in ON_PURPOSE.get(surface_of(method, path) or "", ()):
            if status == 400 and f"400 - {said}" in outcome.reason:
                return f"{method} {path}  {said}"
    return ""


def show(title: str, found: Counter[str]) -> None:
    """By path, then method."""
    if found:
        print(f"\n{title}:")
        print("\n".join(f"  {found[name]:4} {name}" for name in sorted(found, key=lambda name: name.split(" ")[::-1])))


if __name__ == "__main__":
    sys.exit(main())
