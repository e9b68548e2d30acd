from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.units import UNITS
from proxy.metering.hosted_tools import HostedTools, Item, images_unit

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
    assert {unit.partition("/")[0] for unit in tools.units()} <= UNITS.keys()
    assert all(0 < count <= len(items) for count in tools.units().values())
    # What stands in for what an image does not say makes none more and none less.
    made = [images_of(tools.units()), images_of(tools.units(size="1x1", quality="low"))]
    assert made[0] == made[1]


def images_of(units: dict[str, int]) -> int:
    return sum(count for unit, count in units.items() if unit.startswith("images"))


def test_sessions_are_containers_not_calls() -> None:
    tools = HostedTools()
    for container in ("cntr_1", "cntr_1", "cntr_2", None, None):
        tools.see(Item(type="code_interpreter_call", container_id=container))
    assert tools.units() == {"code_sessions": 3}


def test_images_by_size_and_quality() -> None:
    tools = HostedTools()
    for size, quality in (("1024x1024", "high"), ("1024x1024", "low"), ("1024x1024", "high"), (5, "x" * 99)):
        tools.see(Item(type="image_generation_call", status="completed", size=size, quality=quality))
    assert tools.units() == {"images/1024x1024/high": 2, "images/1024x1024/low": 1, "images": 1}
    assert tools.units(size="1536x1024", quality="medium") == {
        "images/1024x1024/high": 2,
        "images/1024x1024/low": 1,
        "images/1536x1024/medium": 1,
    }


@pytest.mark.parametrize(
    ("size", "quality", "unit"),
    [
        ("1024x1024", "high", "images/1024x1024/high"),
        ("1024X1024", "HD", "images/1024x1024/hd"),
        ("1024x1024", None, "images/1024x1024"),
        ("1024x1024", "auto", "images/1024x1024"),
        ("auto", "high", "images"),
        (None, None, "images"),
        ("a/b", "high", "images"),
        ("1024x1024", "x" * 33, "images/1024x1024"),
        ("1024x1024", "low\n", "images/1024x1024"),
        (5, ["high"], "images"),
    ],
)
def test_an_image_is_named_by_what_is_known_of_it(size: object, quality: object, unit: str) -> None:
    assert images_unit(size, quality) == unit
