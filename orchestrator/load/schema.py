"""The vocabulary as JSON Schema (2020-12), for editors: `schemas/stack.schema.json` is this text.

    python -m orchestrator.load.schema > schemas/stack.schema.json

Nothing at run time reads it; a test holds the file and the vocabulary together.
"""

from __future__ import annotations

import json
from typing import TypeAlias, assert_never

from orchestrator.load.interpolate import CASTS, Cast
from orchestrator.load.shapes import (
    Anything,
    Flag,
    Items,
    Key,
    Null,
    OneOf,
    Real,
    Record,
    Shape,
    Table,
    Text,
    Whole,
)
from orchestrator.load.tree import PathTable, Plain
from orchestrator.load.vocabulary import STACK

Schema: TypeAlias = "dict[str, Plain]"

IDENTIFIER = "https://json-schema.org/draft/2020-12/schema"


def stack_schema() -> Schema:
    """Return the whole schema as JSON values."""
    return {
        "$schema": IDENTIFIER,
        "title": "Stack file",
        "description": "A Compose file, as trice reads it.",
        **_schema(STACK, CASTS),
    }


def text() -> str:
    return json.dumps(stack_schema(), indent=1, ensure_ascii=False) + "\n"


def _schema(shape: Shape, casts: PathTable[Cast] | None) -> Schema:
    """Return the schema of a shape; where a string would be cast, a string may stand as well."""
    result = _plain_schema(shape, casts)
    if casts is not None and casts.value is not None and "string" not in json.dumps(result):
        return {"anyOf": [result, {"type": "string"}]}
    return result


def _plain_schema(shape: Shape, casts: PathTable[Cast] | None) -> Schema:
    match shape:
        case Anything():
            return {}
        case Null():
            return {"type": "null"}
        case Flag():
            return {"type": "boolean"}
        case Text():
            return _text(shape)
        case Whole() | Real():
            kind = "integer" if isinstance(shape, Whole) else "number"
            bounds = {"minimum": shape.low, "maximum": shape.high}
            return {"type": kind} | {key: v for key, v in bounds.items() if v is not None}
        case Items():
            unique: Schema = {"uniqueItems": True} if shape.is_unique else {}
            below = casts.step(0) if casts is not None else None
            return {"type": "array", "items": _schema(shape.item, below), **unique}
        case Table():
            return _table(shape, casts)
        case Record():
            return _record(shape, casts)
        case OneOf():
            return {"anyOf": [_plain_schema(part, casts) for part in shape.shapes]}
        case _:
            assert_never(shape)


def _text(shape: Text) -> Schema:
    result: Schema = {"type": "string"}
    if shape.choices:
        result["enum"] = list(shape.choices)
    if shape.pattern and "(?i:" not in shape.pattern:
        result["pattern"] = f"^({shape.pattern})$|\\$"
    return result


def _table(shape: Table, casts: PathTable[Cast] | None) -> Schema:
    below = casts.step("*") if casts is not None else None
    names: Schema = {}
    if shape.key_pattern:
        names = {"propertyNames": {"pattern": f"^{shape.key_pattern}$".replace("\\0", "\\u0000")}}
    return {"type": "object", "additionalProperties": _schema(shape.value, below), **names}


def _record(shape: Record, casts: PathTable[Cast] | None) -> Schema:
    properties: dict[str, Plain] = {}
    for name, key in shape.keys.items():
        below = casts.step(name) if casts is not None else None
        properties[name] = {"description": key.about, **_schema(key.shape, below), **_marks(key)}
    required: Schema = {"required": list(shape.required)} if shape.required else {}
    return {
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
        **required,
    }


def _marks(key: Key) -> Schema:
    return {"deprecated": True} if key.is_obsolete else {}


if __name__ == "__main__":
    import sys

    sys.stdout.write(text())
