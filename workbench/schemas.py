"""Reading a parameter's JSON Schema: what kind of field it wants, how its text is read and written, which rule a value breaks. No Qt."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MISSING = object()
"""No default: the parameter must be given."""


@dataclass(frozen=True)
class Shape:
    """What a schema asks for. kind: integer, number, boolean, string, enum, path, variant, model, list, object, objects, json."""

    kind: str
    nullable: bool = False
    options: tuple[Any, ...] = ()
    items: Shape | None = None
    properties: Mapping[str, Any] | None = None
    schema: Mapping[str, Any] | None = None


def resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its `$ref` followed; keys beside the reference (description, default, unit) win."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return {**resolved(definitions[name], definitions), **rest}
    if "allOf" in schema and len(schema["allOf"]) == 1:
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        return {**resolved(schema["allOf"][0], definitions), **rest}
    return dict(schema)


def shape(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Shape:
    """Which field a schema wants."""
    schema = resolved(schema, definitions)
    if "anyOf" in schema or "oneOf" in schema:
        branches = [resolved(branch, definitions) for branch in schema.get("anyOf", schema.get("oneOf", []))]
        rest = [branch for branch in branches if branch.get("type") != "null"]
        nullable = len(rest) < len(branches)
        outer = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        if len(rest) == 1:
            inner = shape({**rest[0], **outer}, definitions)
            return Shape(inner.kind, nullable, inner.options, inner.items, inner.properties, inner.schema)
        if all(_options(branch) for branch in rest):
            return Shape("enum", nullable, tuple(option for branch in rest for option in _options(branch)), schema=schema)
        return Shape("json", nullable, schema=schema)
    if schema.get("reference") in ("variant", "model"):
        return Shape(str(schema["reference"]), schema=schema)
    if schema.get("path"):
        return Shape("path", schema=schema)
    if _options(schema):
        return Shape("enum", options=_options(schema), schema=schema)
    kind = schema.get("type")
    if kind in ("integer", "number", "boolean", "string"):
        return Shape(kind, schema=schema)
    if kind == "array":
        parts = [schema["items"]] if isinstance(schema.get("items"), Mapping) else list(schema.get("prefixItems", []))[:1]
        items = shape(parts[0], definitions) if parts else None
        if items is not None and items.kind in ("integer", "number", "string") and not items.nullable:
            return Shape("list", items=items, schema=schema)
        if items is not None and items.kind == "enum" and all(isinstance(option, str) for option in items.options):
            return Shape("list", items=items, schema=schema)
        if items is not None and items.kind == "object":
            return Shape("objects", items=items, schema=schema)
        return Shape("json", schema=schema)
    if kind == "object" and schema.get("properties"):
        return Shape("object", properties=schema["properties"], schema=schema)
    return Shape("json", schema=schema)


def _options(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    if "enum" in schema:
        return tuple(schema["enum"])
    return (schema["const"],) if "const" in schema else ()


def default(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """The default value, or MISSING."""
    return resolved(schema, definitions).get("default", MISSING)


def read(text: str, shape: Shape) -> Any:
    """The value that a text stands for. Raises ValueError with a sentence where it stands for none."""
    text = text.strip()
    if not text and shape.nullable:
        return None
    if shape.kind == "integer":
        return _integer(text)
    if shape.kind == "number":
        return _number(text)
    if shape.kind == "list":
        assert shape.items is not None
        parts = [part for part in (piece.strip() for piece in text.strip("[]").split(",")) if part]
        return [read(part, shape.items) for part in parts]
    if shape.kind == "json":
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            if shape.schema is not None and _takes(shape.schema, "string"):
                return text
            raise ValueError('Write a number, "text", true, false, or a [list].') from None
    return text


def _takes(schema: Mapping[str, Any], kind: str) -> bool:
    branches = schema.get("anyOf", schema.get("oneOf", [schema]))
    return any(branch.get("type") == kind for branch in branches)


def _integer(text: str) -> int:
    plain = text.replace("_", "").replace(" ", "")
    plain = plain.replace(",", "") if _GROUPED.fullmatch(plain) else plain
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        value = float(plain)
    except ValueError:
        raise ValueError("Write a whole number.") from None
    if not value.is_integer():
        raise ValueError("Write a whole number, without decimals.")
    return int(value)


_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
"""2,000,000: commas between groups of three digits. A single comma may be meant as a decimal point, so it is refused."""


def _number(text: str) -> float:
    plain = text.replace("_", "").replace(" ", "")
    try:
        value = float(plain.replace(",", "") if _GROUPED.fullmatch(plain) else plain)
    except ValueError:
        raise ValueError("Write a number, for example 0.25 or 1e-3.") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("The number must be finite.")
    return value


def write(value: Any, shape: Shape) -> str:
    """The text of a value; `read` gives the value back."""
    if value is None or value is MISSING:
        return ""
    if isinstance(value, str):
        return value
    if shape.kind == "integer" and isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if shape.kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{int(value):,}" if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    if shape.kind == "list" and isinstance(value, list | tuple) and shape.items is not None:
        return ", ".join(str(item) for item in value)
    return json.dumps(value)


def broken_rule(value: Any, shape: Shape) -> str:
    """The rule that a value breaks, as a sentence; empty where it breaks none."""
    if value is None:
        return "" if shape.nullable else "A value is needed."
    schema = shape.schema or {}
    if shape.kind in ("integer", "number"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "Write a whole number." if shape.kind == "integer" else "Write a number."
        for key, words, holds in (
            ("minimum", "at least", lambda v, b: v >= b),
            ("exclusiveMinimum", "greater than", lambda v, b: v > b),
            ("maximum", "at most", lambda v, b: v <= b),
            ("exclusiveMaximum", "less than", lambda v, b: v < b),
        ):
            if key in schema and not holds(value, schema[key]):
                return f"Must be {words} {_limit(schema[key])}."
    if shape.kind == "list" and isinstance(value, list):
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if len(value) < least:
            return f"At least {least} values are needed, separated by commas."
        if most is not None and len(value) > most:
            return f"At most {most} values are allowed."
        assert shape.items is not None
        return next((f"{item}: {rule}" for item in value if (rule := broken_rule(item, shape.items))), "")
    if shape.kind == "enum" and value not in shape.options:
        return f"Choose one of {', '.join(map(str, shape.options))}."
    return ""


def bounds(shape: Shape) -> str:
    """The allowed range in short: "0 ≤ … < 1", empty where there is none."""
    schema = shape.schema or {}
    low = next((f"{_limit(schema[key])} {sign} " for key, sign in (("minimum", "≤"), ("exclusiveMinimum", "<")) if key in schema), "")
    high = next((f" {sign} {_limit(schema[key])}" for key, sign in (("maximum", "≤"), ("exclusiveMaximum", "<")) if key in schema), "")
    return f"{low}…{high}" if low or high else ""


def _limit(value: float) -> str:
    """Whole numbers in full: 1,000,000."""
    return f"{value:,.0f}" if value == int(value) and 1e4 <= abs(value) < 1e12 else f"{value:g}"
