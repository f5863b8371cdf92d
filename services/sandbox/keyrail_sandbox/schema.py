"""The smallest value that fits a JSON schema. Pure and deterministic."""

from __future__ import annotations

import math
from typing import Any, cast

_DEEPEST = 24
_FORMATS = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "email": "a@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
}

_Schema = dict[str, Any]


def example(schema: _Schema, text: str) -> Any:
    """A value with the required properties only; strings are the text, cut or repeated to their limits.

    Patterns are not looked at, and a schema that never ends is cut off with null.
    """
    return _value(schema, text, schema, 0)


def _value(given: Any, text: str, root: _Schema, depth: int) -> Any:
    if depth > _DEEPEST or not isinstance(given, dict):
        return None if depth > _DEEPEST or given is False else text
    schema = _merged(cast("_Schema", given), root, depth)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return _value(schema[choice][0], text, root, depth + 1)
    match _kind(schema):
        case "object":
            properties = cast("dict[str, Any]", schema.get("properties", {}))
            names = cast("list[str]", schema.get("required", list(properties)))
            return {name: _value(properties.get(name, {}), text, root, depth + 1) for name in names}
        case "array":
            first = cast("list[Any]", schema.get("prefixItems", []))
            least = max(int(schema.get("minItems", 0)), len(first))
            items = first + [schema.get("items", {})] * (least - len(first))
            return [_value(item, text, root, depth + 1) for item in items]
        case "integer" | "number" as kind:
            return _number(schema, kind)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema, text)


def _merged(schema: _Schema, root: _Schema, depth: int) -> _Schema:
    """The schema with what `$ref` and `allOf` say beside it."""
    parts: list[Any] = list(cast("list[Any]", schema.get("allOf") or []))
    if isinstance(reference := schema.get("$ref"), str):
        parts.append(_resolve(reference, root))
    if not parts or depth > _DEEPEST:
        return schema
    merged: _Schema = {}
    for part in [*parts, {key: value for key, value in schema.items() if key not in ("allOf", "$ref")}]:
        if isinstance(part, dict):
            more = _merged(cast("_Schema", part), root, depth + 1)
            properties = {**merged.get("properties", {}), **more.get("properties", {})}
            required = [*merged.get("required", []), *more.get("required", [])]
            merged.update(more)
            if properties:
                merged["properties"] = properties
            if required:
                merged["required"] = list(dict.fromkeys(required))
    return merged


def _resolve(reference: str, root: _Schema) -> Any:
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        found = cast("_Schema", found).get(key) if isinstance(found, dict) else None
    return found


def _kind(schema: _Schema) -> str:
    kind = schema.get("type")
    if kind is None:
        if "properties" in schema:
            return "object"
        return "array" if "items" in schema else "string"
    first = cast("list[Any]", kind)[0] if isinstance(kind, list) and kind else kind
    return str(first).lower()  # Gemini's own schemas write types in capitals


def _number(schema: _Schema, kind: str) -> int | float:
    usual = 1 if kind == "integer" else 1.5
    least, most = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        least = math.floor(above) + 1
    if (below := schema.get("exclusiveMaximum")) is not None:
        most = math.ceil(below) - 1
    if least is not None and usual < least:
        usual = math.ceil(least) if kind == "integer" else least
    if most is not None and usual > most:
        usual = math.floor(most) if kind == "integer" else most
    if step := schema.get("multipleOf"):
        usual = math.ceil(usual / step) * step
    return usual


def _string(schema: _Schema, text: str) -> str:
    text = _FORMATS.get(str(schema.get("format")), text)
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int) and len(text) < least:
        text = (text or "x") * least
        text = text[:least]
    return text[:most] if isinstance(most, int) else text
