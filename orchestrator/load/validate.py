"""Checking a tree against the vocabulary: unknown keys, wrong types, values out of range.

Twice in a load: each file by itself as soon as its variables are known (`is_whole=False`: a file
may be a part, so nothing is missing yet and anything may be null), and what all files together
came to (`is_whole=True`: required keys, nulls, duplicates). All problems of a pass are reported.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.load.hints import for_text, for_unknown_key, for_wrong_kind
from orchestrator.load.scalars import text_of
from orchestrator.load.shapes import (
    Items,
    Real,
    Record,
    Shape,
    Table,
    Text,
    Whole,
    describe,
    for_kind,
    kinds_of,
)
from orchestrator.load.tree import (
    Findings,
    List,
    Map,
    Node,
    Path,
    Scalar,
    Tag,
    a_kind,
    has_variable,
    is_null,
    kind,
    plain,
)
from orchestrator.load.vocabulary import STACK

_CLOSE_ENOUGH = 0.6
_COMPARED = 500
"""Known names that a mistake is compared with; comparing is slow."""
_LONGEST_MEANT = 80
"""Characters of a text that somebody may have misspelt."""
_GONE_IN_WHOLE = (("depends_on",), ("networks",), ("models",))
"""Lists of a service that are mappings in the canonical form: doubles are only seen before."""


def validate(
    tree: Node,
    findings: Findings,
    *,
    is_whole: bool,
    takes_variables: bool = False,
    shape: Shape = STACK,
) -> None:
    """Report to `findings` whatever in the tree the format does not know.

    With `takes_variables` a string with a `$` in it may stand for any value.
    """
    _Check(findings, is_whole, takes_variables).node(tree, shape, ())


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@dataclass(frozen=True, slots=True)
class _Check:
    """One pass. Methods are named after what they check."""

    findings: Findings
    is_whole: bool
    takes_variables: bool

    def node(self, node: Node, shape: Shape, path: Path) -> None:
        if node.tag is Tag.RESET or (self.takes_variables and has_variable(node)):
            return
        found = kind(node)
        fitting = for_kind(shape, found)
        if fitting is None:
            if found == "null" and not self.is_whole:
                return
            self._wrong_kind(node, shape, path)
        elif isinstance(node, Map):
            self._mapping(node, fitting, path)
        elif isinstance(node, List):
            self._list(node, fitting, path)
        else:
            self._scalar(node, fitting, path)

    def _wrong_kind(self, node: Node, shape: Shape, path: Path) -> None:
        found = "but nothing is set" if is_null(node) else f"not {a_kind(node)}"
        why = f"expected {describe(shape)}, {found}"
        hint = for_wrong_kind(node, kinds_of(shape), path)
        text = for_kind(shape, "string")
        if isinstance(text, Text) and isinstance(node, Scalar) and node.text:
            problem, remedy = _text_problem(node.text, text, path)
            why, hint = (
                (problem, remedy) if problem else (why, f'write it in quotes: "{node.text}"')
            )
        self.findings.problem(node.place, path, why, hint)

    def _mapping(self, node: Map, shape: Shape, path: Path) -> None:
        if isinstance(shape, Record):
            self._record(node, shape, path)
        elif isinstance(shape, Table):
            self._table(node, shape, path)

    def _record(self, node: Map, shape: Record, path: Path) -> None:
        for key, child in node.entries.items():
            known = shape.keys.get(key)
            if known is not None:
                self.node(child, known.shape, (*path, key))
            elif not key.startswith("x-") and child.tag is not Tag.RESET:
                why = "unknown key"
                hint = for_unknown_key(key, child, path) or _suggestion(key, shape)
                self.findings.problem(node.key_place(key), (*path, key), why, hint)
        if self.is_whole:
            for key in shape.required:
                if key not in node.entries:
                    self.findings.problem(node.place, (*path, key), "required, but missing")

    def _table(self, node: Map, shape: Table, path: Path) -> None:
        pattern = _compiled(shape.key_pattern) if shape.key_pattern else None
        for key, child in node.entries.items():
            if pattern is not None and not pattern.fullmatch(key):
                why = f'invalid name "{key}"'
                hint = f"use {shape.key_expected}"
                self.findings.problem(node.key_place(key), (*path, key), why, hint)
            self.node(child, shape.value, (*path, key))

    def _list(self, node: List, shape: Shape, path: Path) -> None:
        if not isinstance(shape, Items):
            return
        for index, item in enumerate(node.items):
            self.node(item, shape.item, (*path, index))
        if shape.is_unique and (self.is_whole or path[2:] in _GONE_IN_WHOLE):
            self._unique(node, path)

    def _unique(self, node: List, path: Path) -> None:
        seen: dict[str, int] = {}
        for index, item in enumerate(node.items):
            text = json.dumps(plain(item), sort_keys=True)
            first = seen.setdefault(text, index)
            if first != index:
                why = f"the same as item {first} of the list"
                self.findings.problem(item.place, (*path, index), why, "keep one of the two")

    def _scalar(self, node: Scalar, shape: Shape, path: Path) -> None:
        value = node.value
        why = hint = ""
        match shape:
            case Text() if isinstance(value, str):
                why, hint = _text_problem(value, shape, path)
            case Whole() | Real() if isinstance(value, (int, float)):
                why = _range_problem(value, shape)
            case _:
                pass
        if why:
            self.findings.problem(node.place, path, why, hint)


def _text_problem(value: str, shape: Text, path: Path) -> tuple[str, str]:
    shown = value if len(value) <= 60 else value[:57] + "..."
    if "\0" in value:
        return "has a NUL character in it", "no system call takes one"
    if shape.choices and value not in shape.choices:
        *others, last = shape.choices
        expected = f"{', '.join(others)} or {last}" if others else last
        return f'invalid value "{shown}": expected {expected}', meant(value, shape.choices)
    why = _form_problem(value, shape, shown)
    if not why:
        return "", ""
    return why, for_text(
        value[:_LONGEST_MEANT], path, lambda other: not _form_problem(other, shape)
    )


def _form_problem(value: str, shape: Text, shown: str = "") -> str:
    if shape.pattern and not _compiled(shape.pattern).fullmatch(value):
        return f'invalid value "{shown}": expected {shape.expected}'
    if shape.parse is not None:
        try:
            shape.parse(value)
        except ValueError as error:
            return str(error)
    return ""


def _range_problem(value: float, shape: Whole | Real) -> str:
    low, high = shape.low, shape.high
    if value != value:
        return "not a number"
    if (low is None or value >= low) and (high is None or value <= high):
        return ""
    if low is not None and high is not None:
        return f"must be between {text_of(low)} and {text_of(high)}, not {text_of(value)}"
    bound = f"at least {text_of(low)}" if high is None else f"at most {text_of(high)}"
    return f"must be {bound}, not {text_of(value)}"


def _suggestion(key: str, shape: Record) -> str:
    return meant(key, tuple(shape.keys))


def meant(word: str, known: tuple[str, ...]) -> str:
    """Return the hint `did you mean "…"?`, or nothing when no known word is close."""
    from difflib import get_close_matches  # lazy: only a file with a mistake pays for it

    close = get_close_matches(word.lower()[:80], known[:_COMPARED], n=1, cutoff=_CLOSE_ENOUGH)
    return f'did you mean "{close[0]}"?' if close else ""


def obsolete(tree: Map, findings: Findings) -> Map:
    """Return the tree without top-level keys that have no meaning any more, warning of each."""
    entries = dict(tree.entries)
    for key, known in STACK.keys.items():
        if known.is_obsolete and key in entries:
            del entries[key]
            why = "obsolete and ignored"
            findings.warning(tree.key_place(key), (key,), why, "take the line away")
    return Map(entries, tree.place, tree.keys, tree.tag)
