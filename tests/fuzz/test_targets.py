"""The targets of `make fuzz`, a few hundred inputs each: good examples with holes, words of the format and rubbish in them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS, WORDS
from tests.fuzz.targets import TARGETS

_MOST = 100_000
_edits = st.lists(
    st.tuples(st.integers(0, _MOST), st.integers(0, 40), st.sampled_from(WORDS) | st.binary(max_size=8) | st.just(b"")),
    max_size=6,
)


def edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """At each place so many bytes are replaced by others."""
    for place, dropped, put in edits:
        at = place % (len(seed) + 1)
        seed = seed[:at] + put + seed[at + dropped :]
    return seed


@pytest.mark.parametrize("name", TARGETS)
def test_good_examples(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_anything(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS[name]))
    TARGETS[name](data.draw(st.binary(max_size=64) | st.builds(edited, st.just(seed), _edits)))
