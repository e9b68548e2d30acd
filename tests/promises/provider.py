"""The provider as a process of its own, and what it would bill, priced by hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass

from proxy.storage.embedded.leash import leash
from tests.promises.house import ROOT

# USD per million tokens in the config, pico-USD per token here: written twice on purpose.
PRICE = 'price: {input: "0.15", cache_read: "0.075", output: "0.60"}'
INPUT_PUSD, CACHE_READ_PUSD, OUTPUT_PUSD = 150_000, 75_000, 600_000

# What clients name → what the scripted provider does (tests/upstream/simulate.py).
LLMS = {
    "short": "sim:chunks=8",
    "cached": "sim:chunks=12,prompt=100,cached=64",
    "paced": "sim:chunks=50,gap_ms=20",
    "slow": "sim:chunks=150,gap_ms=20",
    "endless": "sim:chunks=3000,gap_ms=50",
    "thinking": "sim:chunks=20,first_ms=700",
    "failing": "sim:status=500",
    "broken": "sim:chunks=20,gap_ms=10,cut=8",
    "silent": "sim:chunks=10,gap_ms=10,usage=never",
    "unpriced": "sim:chunks=9,prompt=7",  # nobody knows what it costs
}


def config(base_url: str) -> str:
    lines = [
        "providers:",
        f'  scripted: {{dialect: openai, base_url: "{base_url}", api_key: "fake-provider-key"}}',
        "llms:",
    ]
    for name, model in LLMS.items():
        price = "" if name == "unpriced" else f" {PRICE},"
        lines.append(f"  - {{name: {name}, context_window: 128000, max_output: 16384,{price}")
        lines.append(f'     routes: [{{provider: scripted, model: "{model}"}}]}}')
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Billed:
    """A request that arrived at the provider. `complete`: its whole answer was written."""

    label: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    complete: bool

    @property
    def reports_usage(self) -> bool:
        return self.complete and not any(word in self.model for word in ("usage=never", "status=", "cut="))

    @property
    def cached_tokens(self) -> int:
        _, _, text = self.model.partition(":")
        return int(dict(pair.split("=") for pair in text.split(",")).get("cached", 0))

    @property
    def pusd(self) -> int:
        fresh = self.prompt_tokens - self.cached_tokens
        return fresh * INPUT_PUSD + self.cached_tokens * CACHE_READ_PUSD + self.completion_tokens * OUTPUT_PUSD


class Provider:
    """Its account is kept by itself, apart from anything the gateway says."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.upstream", "--port", "0"], cwd=ROOT, text=True, stdout=subprocess.PIPE,
            preexec_fn=leash(signal.SIGTERM),
        )  # fmt: skip
        assert self._process.stdout is not None
        self.base_url = self._process.stdout.readline().strip()
        assert self.base_url, "the scripted provider did not start"

    def account(self, prefix: str = "") -> list[Billed]:
        """Of the requests whose label begins so, in the order of their arrival."""
        with urllib.request.urlopen(f"{self.base_url.removesuffix('/v1')}/_account", timeout=30) as answer:
            entries = json.load(answer)["entries"]
        return [
            Billed(entry["user"], entry["model"], entry["prompt_tokens"], entry["completion_tokens"], entry["complete"])
            for entry in entries
            if (entry["user"] or "").startswith(prefix)
        ]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
