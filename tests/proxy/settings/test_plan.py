"""Settings → the catalog's plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings.load import load
from proxy.settings.plan import catalog_plan
from proxy.settings.problem import ConfigError

FILE = """\
providers: {p: {dialect: openai, base_url: "https://p.test/v1"}}
llms:
  - {name: strict, routes: [{provider: p, model: m}], unpriced: %s}
  - {name: usual, routes: [{provider: p, model: m}]}
"""


def test_an_llm_says_what_happens_while_it_has_no_price(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(FILE % "reject")
    plan = catalog_plan(load(tmp_path / "config.yaml"))
    assert {llm.name: llm.unpriced for llm in plan.llms if llm.name != "synapscale/echo"} == {"strict": "reject", "usual": "allow"}


def test_another_word_is_told_with_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(FILE % "refuse")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.yaml")
    assert "allow" in str(caught.value) and "reject" in str(caught.value)
