"""Bytes to trees: YAML 1.2 scalars, places, anchors, merge keys, tags, and every way to be refused."""

from __future__ import annotations

import math
import time

import pytest

from orchestrator.errors import LoadErrors
from orchestrator.load.parse import MAX_DEPTH, parse
from orchestrator.load.tree import Findings, Map, Plain, Scalar, Tag, find, plain


def documents(text: str | bytes) -> list[Plain]:
    data = text.encode() if isinstance(text, str) else text
    return [plain(document) for document in parse(data, "f.yaml", Findings())]


def refusal(text: str | bytes) -> str:
    with pytest.raises(LoadErrors) as caught:
        documents(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("tRUE", "tRUE"),
        ("22:22", "22:22"),
        ("2001-01-01", "2001-01-01"),
        ("0", 0),
        ("-1", -1),
        ("+12", 12),
        ("017", 15),
        ("0440", 288),
        ("0o440", 288),
        ("089", 89.0),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 18446744073709551616.0),
        ("9" * 400, "9" * 400),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ("!!int 0x10", 16),
        ("!!float 1", 1),
        ("!!bool true", True),
        ("!!null ~", None),
        ("!!binary aGk=", "hi"),
        ("! 1", "1"),
        ("|\n  1\n", "1\n"),
        ("+", "+"),
        ("-", [None]),
    ],
)
def test_scalars(written: str, value: Plain) -> None:
    separator = "\n" if written == "-" else " "
    [document] = documents(f"a:{separator}{written}")
    assert document == {"a": value}
    assert isinstance(document, dict)
    assert type(document["a"]) is type(value)


def test_not_a_number_is_one() -> None:
    [document] = documents("a: .nan")
    assert isinstance(document, dict)
    assert isinstance(document["a"], float)
    assert math.isnan(document["a"])


def test_every_node_knows_its_place() -> None:
    [tree] = parse(b"a:\n  b:\n    - x\n    - {c: yy}\n", "f.yaml", Findings())
    node = find(tree, "a", "b", 1, "c")
    assert isinstance(node, Scalar)
    assert str(node.place) == "f.yaml:4:11"
    assert node.text == "yy"
    inner = find(tree, "a", "b", 1)
    assert isinstance(inner, Map)
    assert str(inner.key_place("c")) == "f.yaml:4:8"
    assert str(inner.key_place("none")) == "f.yaml:4:7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x {b: 1}\nc: *x", [{"a": {"b": 1}, "c": {"b": 1}}]),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", [{"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}]),
        (
            "a: &x {b: 1}\nd: &y {b: 2, c: 3}\ne: {<<: [*x, *y]}",
            [{"a": {"b": 1}, "d": {"b": 2, "c": 3}, "e": {"b": 1, "c": 3}}],
        ),
        (
            "a: &x {b: 1}\nl: &l [*x, {c: 2}]\ne: {<<: *l}",
            [{"a": {"b": 1}, "l": [{"b": 1}, {"c": 2}], "e": {"b": 1, "c": 2}}],
        ),
        ('a: {"<<": 1}', [{"a": {"<<": 1}}]),
        ("a: &x 1\n&x b: 2\nc: *x", [{"a": 1, "b": 2, "c": "b"}]),
        ("a: &k name\n? *k\n: 1", [{"a": "name", "name": 1}]),
        ("a: 1\n---\nb: 2\n---\n", [{"a": 1}, {"b": 2}]),
        ("", []),
        ("# nothing\n", []),
        ("---\n", []),
        ("\ufeffa: 1", [{"a": 1}]),
    ],
)
def test_structure(text: str, expected: list[Plain]) -> None:
    assert documents(text) == expected


def test_utf_16_is_read() -> None:
    assert documents("a: é".encode("utf-16")) == [{"a": "é"}]


def test_anchors_end_with_their_document() -> None:
    assert refusal("a: &x 1\n---\nb: *x") == (
        "f.yaml:3:4: b: unknown anchor 'x'; define it before, as in `&x`"
    )


def test_tags_stay_on_their_nodes_and_lose_items() -> None:
    [tree] = parse(
        b"a: !reset null\nb: !override {c: 1}\nd: [x, !reset y]\ne: !reset [1]\nf: !override '5'",
        "f",
        Findings(),
    )
    tags = {key: node.tag for key, node in tree.entries.items()}
    assert tags == {
        "a": Tag.RESET,
        "b": Tag.OVERRIDE,
        "d": None,
        "e": Tag.RESET,
        "f": Tag.OVERRIDE,
    }
    assert plain(tree.entries["d"]) == ["x"]
    assert plain(tree.entries["f"]) == "5"


def test_an_unknown_tag_is_warned_of() -> None:
    findings = Findings()
    [tree] = parse(b"a: !vault x\nb: !thing {c: 1}", "f", findings)
    assert plain(tree) == {"a": "x", "b": {"c": 1}}
    assert [str(warning) for warning in findings.warnings] == [
        "f:1:4: a: the tag !vault means nothing here and is ignored; known are !reset and !override",
        "f:2:4: b: the tag !thing means nothing here and is ignored; known are !reset and !override",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: 2\na: 3",
            "f.yaml:3:1: a: the key is already set at line 1; keep one of the two",
        ),
        (
            "x: {<<: {a: 1}, <<: {b: 2}}",
            "f.yaml:1:17: x.<<: the key is already set at line 1; keep one of the two",
        ),
        ("123: a", "f.yaml:1:1: non-string key at top level: 123; put it in quotes"),
        ("a: {b: {true: 1}}", "f.yaml:1:9: non-string key in a.b: true; put it in quotes"),
        ("a: [{~: 1}]", "f.yaml:1:6: non-string key in a[0]: ~; put it in quotes"),
        (
            "a: {{ b }}",
            "f.yaml:1:5: a: a key must be a string, not a collection; "
            "quote text that begins with { or [",
        ),
        (
            "a: &x [1]\n? *x\n: 2",
            "f.yaml:2:3: non-string key at top level: a list; put it in quotes",
        ),
        (
            "a: {<<: 3}",
            "f.yaml:1:9: a: `<<` takes a mapping or a list of mappings, not an integer",
        ),
        (
            "a: &x {b: *x}",
            "f.yaml:1:11: a.b: cycle detected: the alias *x is inside its own anchor",
        ),
        (
            "- a",
            "f.yaml:1:1: the top level must be a mapping, not a list; "
            "a stack file begins with a key such as `services:`",
        ),
        (
            "services",
            "f.yaml:1:1: the top level must be a mapping, not a string; "
            "a stack file begins with a key such as `services:`",
        ),
        (
            "a:\n\tb: 1",
            "f.yaml:2:1: not YAML: found character that cannot start any token; "
            "indent with spaces, not with tabs",
        ),
        (
            "a: @b",
            "f.yaml:1:4: not YAML: found character that cannot start any token; quote the value",
        ),
        (
            "a: b: c",
            "f.yaml:1:5: not YAML: mapping values are not allowed in this context; "
            'quote a value that has ": " in it, or check the indentation',
        ),
        (
            "a:\n  b: 1\n c: 2",
            "f.yaml:3:2: not YAML: did not find expected key; "
            "check the indentation: keys of one mapping start in one column",
        ),
        (
            "a:\n  b: 1\n  c\n  d: 1",
            "f.yaml:3:3: not YAML: could not find expected ':'; "
            "write `key: value`, with a space after the colon",
        ),
        (
            "a: 'x",
            "f.yaml:1:4: not YAML: found unexpected end of stream; "
            "the quote that is opened here is never closed",
        ),
        (
            "a: [1",
            "f.yaml:1:4: not YAML: did not find expected ',' or ']'; "
            "the bracket that is opened here is never closed",
        ),
        (b"a: b\nc: \xff", "f.yaml:2:4: not UTF-8 text: byte 0xff; save the file as UTF-8"),
        (b"a: b\nc: \x00", "f.yaml:2:4: not YAML: control characters are not allowed"),
        (
            "a: !!int x",
            'f.yaml:1:4: a: "x" is not what !!int says',
        ),
        ("a: !!binary '*'", "f.yaml:1:4: a: not base64 of UTF-8 text"),
    ],
)
def test_refused(text: str | bytes, message: str) -> None:
    assert refusal(text) == message


def test_all_problems_are_told_at_once() -> None:
    assert refusal("a: 1\na: 2\n3: 4\nb: {c: 1, c: 2}").splitlines() == [
        "f.yaml:2:1: a: the key is already set at line 1; keep one of the two",
        "f.yaml:3:1: non-string key at top level: 3; put it in quotes",
        "f.yaml:4:11: b.c: the key is already set at line 4; keep one of the two",
    ]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: " + "[" * 1_000_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("{a: " * 1_000_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("- " * 1_000_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("\n".join(" " * i + "a:" for i in range(2000)), f"nested deeper than {MAX_DEPTH} levels"),
        (
            "a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*a" + "]" * 60,
            f"nested deeper than {MAX_DEPTH} levels",
        ),
        (BOMB, "more than 100000 values in one document"),
        ("a: [" + "x," * 200_000 + "]", "more than 100000 values in one document"),
    ],
    ids=["flow lists", "flow maps", "block lists", "block maps", "alias", "laughs", "many"],
)
def test_hostile_files_end_in_an_error(text: str, why: str) -> None:
    started = time.process_time()
    assert why in refusal(text)
    assert time.process_time() - started < 10  # bounded; the real figure is far below


def test_a_scalar_of_ten_megabytes_is_only_long() -> None:
    [document] = documents("a: " + "x" * 10_000_000)
    assert isinstance(document, dict)
    assert len(str(document["a"])) == 10_000_000
