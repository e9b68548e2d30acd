from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pricing.units import UNITS
from proxy.metering.hosted_tools import HostedTools, Item
from proxy.metering.reading import ImagesMade

junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)
KINDS = st.sampled_from(
    ["web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "message", 5, None]
)
FIELDS = st.sampled_from(["status", "action", "container_id", "environment", "size", "quality"])


@given(st.lists(st.tuples(KINDS, st.dictionaries(FIELDS, junk)), max_size=6))
def test_any_items_are_counted_in_known_units(items: list[tuple[object, dict[str, object]]]) -> None:
    tools = HostedTools()
    for kind, fields in items:
        tools.see(msgspec.convert({"type": kind, **fields}, Item))
    assert tools.units().keys() <= UNITS.keys()
    assert all(0 < count <= len(items) for count in tools.units().values())
    assert sum(image.made for image in tools.images()) == tools.units().get("images", 0)


def test_sessions_are_containers_not_calls() -> None:
    tools = HostedTools()
    for container in ("cntr_1", "cntr_1", "cntr_2", None, None):
        tools.see(Item(type="code_interpreter_call", container_id=container))
    assert tools.units() == {"code_sessions": 3}


def test_images_by_size_and_quality() -> None:
    tools = HostedTools()
    for size, quality in (("1024x1024", "high"), ("1024x1024", "low"), ("1024x1024", "high"), (5, "x" * 99)):
        tools.see(Item(type="image_generation_call", status="completed", size=size, quality=quality))
    assert set(tools.images()) == {
        ImagesMade("1024x1024", "high", 2),
        ImagesMade("1024x1024", "low", 1),
        ImagesMade("", "x" * 32, 1),
    }
