"""The smallest values that fit a schema."""

from __future__ import annotations

from typing import Any

import pytest

from keyrail_sandbox.schema import example

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"prefixItems": [{"type": "null"}], "type": "array"}, [None]),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "number", "maximum": 1}, 1),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "multipleOf": 7}, 7),
        ({"type": "string", "minLength": 6}, "textte"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2000-01-01"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, {"a": "text"}),
        ({"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}, {"a": 1}),
        (
            {
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ],
                "type": "object",
            },
            {"a": 1, "b": 2},
        ),
        ({"type": "object", "properties": {"a": {}}, "required": ["a", "b"]}, {"a": "text", "b": "text"}),
    ],
)
def test_the_value_fits(schema: dict[str, Any], value: Any) -> None:
    assert example(schema, "text") == value


def test_a_schema_that_never_ends_is_cut_off() -> None:
    value, depth = example({"$defs": {"node": NODE}, **NODE}, "text"), 0
    while value is not None:
        value, depth = value["next"], depth + 1
    assert depth > 10
