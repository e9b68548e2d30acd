from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.tools_text import compact, functions_text, response_format_text

PARAMETERS = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "description": "The city"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
        "days": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "at": {"$ref": "#/$defs/Place"},
        "either": {"anyOf": [{"type": "number"}, {"const": "all"}]},
    },
    "required": ["location"],
    "$defs": {"Place": {"type": "object", "description": "Where", "properties": {"lat": {"type": "number"}}}},
}


def test_functions_are_typescript() -> None:
    """The form of OpenAI's "harmony response format"."""
    functions = [
        {"name": "get_location", "description": "Gets the location"},
        {"name": "get_weather", "description": "Two\nlines", "parameters": PARAMETERS},
    ]
    assert functions_text(functions).splitlines() == [
        "namespace functions {",
        "",
        "// Gets the location",
        "type get_location = () => any;",
        "",
        "// Two",
        "// lines",
        "type get_weather = (_: {",
        "// The city",
        "location: string,",
        'unit?: "celsius" | "fahrenheit", // default: celsius',
        "days?: number | null,",
        "tags?: string[],",
        "// Where",
        "at?: {",
        "lat?: number,",
        "},",
        'either?: number | "all",',
        "}) => any;",
        "",
        "} // namespace functions",
    ]


def test_an_answers_schema_under_its_description() -> None:
    schema = {"type": "object", "description": "A joke"}
    assert response_format_text(None, schema) == '{"type":"object","description":"A joke"}'
    assert response_format_text("A joke", schema) == '{"type":"object","description":"A joke"}'
    assert response_format_text("Funny", schema).startswith("// Funny\n{")


def test_a_schema_that_fans_out_is_bounded() -> None:
    huge = {"description": "x" * 100_000, "enum": ["y" * 100_000], "anyOf": []}
    fan = {"properties": {str(i): {"$ref": "#/$defs/A"} for i in range(200)}}
    schema = {"$defs": {"A": fan | {"description": "x" * 100_000}, "B": huge}, **fan}
    assert len(functions_text([{"name": "f", "parameters": schema}])) < 20_000_000
    wide = {"$defs": {"B": huge}, "properties": {"p": {"anyOf": [{"$ref": "#/$defs/B"}] * 5000}}}
    assert len(functions_text([{"name": "f", "parameters": wide}])) < 20_000_000


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"properties": {"child": {"$ref": "#"}, "again": {"$ref": "#/properties/again"}}}
    assert "child?" in functions_text([{"name": "f", "parameters": schema}])


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=3), st.just("#/$defs/A")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "$ref", "enum", "anyOf", "const", "description", "default", "$defs", "A"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "description", "parameters"]), VALUES))
def test_any_schema_is_rendered(function: dict[str, object]) -> None:
    assert functions_text([json.loads(json.dumps(function))]).startswith("namespace functions {")


def test_what_is_not_json_is_nothing() -> None:
    assert compact(object()) == ""
