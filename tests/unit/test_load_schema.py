"""The schema that editors use and the vocabulary that loading uses are one."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from orchestrator.load.schema import stack_schema, text
from orchestrator.load.shapes import Items, OneOf, Record, Shape, Table
from orchestrator.load.vocabulary import STACK

FILE = Path(__file__).parents[2] / "schemas" / "stack.schema.json"


def test_the_file_is_current() -> None:
    assert FILE.read_text() == text(), (
        "python -m orchestrator.load.schema > schemas/stack.schema.json"
    )


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(stack_schema())


@pytest.mark.parametrize(
    ("document", "is_valid"),
    [
        ("services: {web: {image: a, x-b: 1}}", True),
        ("services: {web: {prots: []}}", False),
        ("services: {web: {scale: '${N}'}}", True),
        ("services: {web: {scale: -1}}", False),
        ("services: {web: {environment: [A], command: a b, restart: always}}", True),
        ("services: {web: {restart: '${R}'}}", True),
        ("services: {web: {restart: sometimes}}", False),
        ("services: {'a b': {}}", False),
        ("services: {web: {build: {x-bootstrap: {distribution: d, suite: s}}}}", True),
        ("services: {web: {build: {x-bootstrap: {suite: s}}}}", False),
        ("netwroks: {}", False),
    ],
)
def test_it_says_what_the_loader_says(document: str, is_valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(stack_schema())
    assert validator.is_valid(yaml.safe_load(document)) is is_valid


def keys_of(shape: Shape, path: str) -> set[str]:
    """Return every path that the vocabulary names."""
    if isinstance(shape, OneOf):
        return set().union(*(keys_of(part, path) for part in shape.shapes))
    if isinstance(shape, Items):
        return keys_of(shape.item, f"{path}.*")
    if isinstance(shape, Table):
        return keys_of(shape.value, f"{path}.*")
    if isinstance(shape, Record):
        below = (keys_of(key.shape, f"{path}.{name}") for name, key in shape.keys.items())
        return {f"{path}.{name}" for name in shape.keys}.union(*below)
    return set()


def schema_keys(schema: object, path: str) -> set[str]:
    """Return every path that the schema names."""
    if not isinstance(schema, dict):
        return set()
    found: set[str] = set()
    for part in schema.get("anyOf", []):
        found |= schema_keys(part, path)
    found |= schema_keys(schema.get("items"), f"{path}.*")
    found |= schema_keys(schema.get("additionalProperties"), f"{path}.*")
    for name, part in schema.get("properties", {}).items():
        found |= {f"{path}.{name}"} | schema_keys(part, f"{path}.{name}")
    return found


def test_both_have_the_same_keys() -> None:
    assert keys_of(STACK, "") == schema_keys(json.loads(FILE.read_text()), "")


def test_every_key_says_what_it_is_for() -> None:
    def sentences(shape: Shape) -> list[str]:
        if isinstance(shape, OneOf):
            return [text for part in shape.shapes for text in sentences(part)]
        if isinstance(shape, Items):
            return sentences(shape.item)
        if isinstance(shape, Table):
            return sentences(shape.value)
        if isinstance(shape, Record):
            return [
                text for key in shape.keys.values() for text in (key.about, *sentences(key.shape))
            ]
        return []

    for sentence in sentences(STACK):
        assert sentence[:1].isupper() or sentence.split(" ")[0].islower(), sentence
        assert sentence.endswith((".", "…")), sentence
