"""The schema that editors use and the vocabulary that loading uses are one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from orchestrator.load.environment import Environment
from orchestrator.load.interpolate import interpolate
from orchestrator.load.schema import stack_schema, text
from orchestrator.load.shapes import Items, OneOf, Record, Shape, Table, Text
from orchestrator.load.tree import Findings, from_plain
from orchestrator.load.validate import validate
from orchestrator.load.vocabulary import STACK
from tests.property.test_load_laws import KEY_WORDS, TREES

VALIDATOR = jsonschema.Draft202012Validator(stack_schema())
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


def without(document: object, path: str) -> object:
    """Return a schema without one key."""
    head, _, rest = path.partition(".")
    if not isinstance(document, dict):
        return document
    kept = dict(document)
    if "anyOf" in kept:
        kept["anyOf"] = [without(part, path) for part in kept["anyOf"]]
    if head == "*":
        for each in {"items", "additionalProperties"} & kept.keys():
            kept[each] = without(kept[each], rest)
    elif head in kept.get("properties", {}):
        left = {name: part for name, part in kept["properties"].items() if name != head or rest}
        kept["properties"] = left | ({head: without(left[head], rest)} if rest else {})
    return kept


def test_both_have_the_same_keys() -> None:
    ours, theirs = keys_of(STACK, ""), schema_keys(json.loads(FILE.read_text()), "")
    assert ours - theirs == set(), "known to the loader, not to editors"
    assert theirs - ours == set(), "known to editors, not to the loader"


@pytest.mark.parametrize("key", sorted(keys_of(STACK, "")))
def test_a_key_that_one_of_the_two_lacks_is_found(key: str) -> None:
    """The test above can fail, for each of the keys; and without it editors refuse what the loader takes."""
    whole = json.loads(FILE.read_text())
    lacking = without(whole, key.removeprefix("."))
    gone = schema_keys(whole, "") - schema_keys(lacking, "")
    assert key in gone
    assert all(each == key or each.startswith(f"{key}.") for each in gone)


def texts_of(shape: Shape, path: str) -> Iterator[tuple[str, Text]]:
    """Give every kind of text that the vocabulary takes, with the path of its key."""
    if isinstance(shape, OneOf):
        for part in shape.shapes:
            yield from texts_of(part, path)
    elif isinstance(shape, Items):
        yield from texts_of(shape.item, f"{path}.*")
    elif isinstance(shape, Table):
        yield from texts_of(shape.value, f"{path}.*")
    elif isinstance(shape, Record):
        for name, key in shape.keys.items():
            yield from texts_of(key.shape, f"{path}.{name}")
    elif isinstance(shape, Text):
        yield path, shape


def schema_texts(schema: object, path: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Give every string of the schema, with the path of its key."""
    if not isinstance(schema, dict):
        return
    for part in schema.get("anyOf", []):
        yield from schema_texts(part, path)
    yield from schema_texts(schema.get("items"), f"{path}.*")
    yield from schema_texts(schema.get("additionalProperties"), f"{path}.*")
    for name, part in schema.get("properties", {}).items():
        yield from schema_texts(part, f"{path}.{name}")
    if schema.get("type") == "string":
        yield path, schema


def test_both_take_the_same_words() -> None:
    ours = {(path, text.choices) for path, text in texts_of(STACK, "") if text.choices}
    whole = json.loads(FILE.read_text())
    theirs = {
        (path, tuple(text["enum"])) for path, text in schema_texts(whole, "") if "enum" in text
    }
    assert ours == theirs
    assert len(ours) > 10


SAMPLES = (
    "", "a", "A", "web-1", "no", "always", "on-failure:3", "on-failure:", "missing", "every_3d", "every_d",
    "h.example", "-x", "x y", "é", "a" * 80, "$A", "${A:-b}", "daily", "v1.2_3",
)  # fmt: skip


def test_both_take_what_fits_a_pattern() -> None:
    """But for a `$`, which may stand for anything, and signals, whose case JSON Schema cannot leave open."""
    whole = dict(schema_texts(json.loads(FILE.read_text()), ""))
    patterns = {path: text.pattern for path, text in texts_of(STACK, "") if text.pattern}
    assert len(patterns) > 5
    assert {path for path in patterns if "pattern" not in whole[path]} == {
        ".services.*.stop_signal"
    }
    for path, pattern in patterns.items():
        if "pattern" not in whole[path]:
            continue
        validator = jsonschema.Draft202012Validator(whole[path])
        for sample in SAMPLES:
            takes = re.fullmatch(pattern, sample) is not None or "$" in sample
            assert validator.is_valid(sample) is takes, (path, sample)


KINDS_OF_PROBLEMS = ("unknown key", "expected", "required, but missing", "must be", "invalid name")
"""What a schema can see as well: keys, kinds, bounds. It knows nothing of sizes and durations."""


def has_whole_float(value: object) -> bool:
    """JSON Schema takes 1.0 for an integer, and for the same as 1; YAML does not."""
    if isinstance(value, dict):
        return any(map(has_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(has_whole_float, value))
    return isinstance(value, float) and (not math.isfinite(value) or value == int(value))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    st.dictionaries(st.sampled_from([*STACK.keys, "x-a", "b"]), TREES, max_size=4)
    | st.dictionaries(st.sampled_from(KEY_WORDS), TREES, max_size=4).map(
        lambda body: {"services": {"web": body}}
    )
)
@example({"services": {"web": {"ports": [80, "80:80", {"target": "80"}], "cpus": "0.5"}}})
@example({"services": {"web": {"scale": -1, "prots": [], "healthcheck": {"retries": None}}}})
def test_editors_and_the_loader_say_the_same_of_any_document(document: dict[str, object]) -> None:
    assume("$" not in json.dumps(document) and not has_whole_float(document))
    findings = Findings(limit=1_000_000)
    tree = interpolate(from_plain(document), Environment({}), findings)
    assume(not findings.problems)
    validate(tree, findings, is_whole=True)
    visible = [each for each in findings.problems if each.why.startswith(KINDS_OF_PROBLEMS)]
    errors = [each.message for each in VALIDATOR.iter_errors(document)]
    assert findings.problems or errors == []
    assert errors or visible == []


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
