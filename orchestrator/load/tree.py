"""The untyped tree that every phase of loading works on: values that know where they were written.

A node is never changed: a phase builds new nodes and shares what stays, so that an alias costs
nothing until somebody walks it. Paths are tuples of keys and indexes; rules about places in the
file are `PathTable`s from patterns such as `services.*.ports.*` to whatever the phase needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

from orchestrator.errors import LoadErrors, Problem
from orchestrator.model.project import Place

Value: TypeAlias = str | int | float | bool | None
Plain: TypeAlias = "Value | list[Plain] | dict[str, Plain]"
Path: TypeAlias = tuple[str | int, ...]
T = TypeVar("T")

NOWHERE = Place(file="", line=0, column=0)
MAX_FINDINGS = 100
"""Problems, or warnings, of one load that anybody would read."""
MAX_MADE = 200_000
"""Values that short forms of one load may stand for; a port range is many."""


class Tag(Enum):
    """`!reset` and `!override` (compose-format §6.1)."""

    RESET = "!reset"
    OVERRIDE = "!override"


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A leaf. `text` is what stood in the file, for messages; empty where nothing was written."""

    value: Value
    place: Place = NOWHERE
    text: str = ""
    tag: Tag | None = None


@dataclass(frozen=True, slots=True, eq=False)
class List:
    items: tuple[Node, ...]
    place: Place = NOWHERE
    tag: Tag | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """A mapping in the order of the file; `keys` holds where each key was written."""

    entries: Mapping[str, Node]
    place: Place = NOWHERE
    keys: Mapping[str, Place] | None = None
    tag: Tag | None = None

    def key_place(self, key: str) -> Place:
        """Return where `key` was written, else where its value was."""
        if self.keys is not None and key in self.keys:
            return self.keys[key]
        entry = self.entries.get(key)
        return entry.place if entry is not None else self.place

    def get(self, key: str) -> Node | None:
        return self.entries.get(key)


Node: TypeAlias = Scalar | List | Map


class Findings:
    """What one phase found wrong; all of it is reported together."""

    __slots__ = ("_limit", "_room", "problems", "warnings")

    def __init__(self, limit: int = MAX_FINDINGS) -> None:
        self._limit = limit
        self._room = MAX_MADE
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def problem(self, place: Place, path: Path, why: str, hint: str = "") -> None:
        """Note a problem; with the last that is taken, end the phase."""
        self.problems.append(Problem(place=place, path=path_text(path), why=why, hint=hint))
        if len(self.problems) >= self._limit:
            why = f"more than {self._limit - 1} problems: the rest is not shown"
            self.problems[-1] = Problem(place=place, path="", why=why)
            self.raise_problems()

    def warning(self, place: Place, path: Path, why: str, hint: str = "") -> None:
        """Note a warning; from a certain number on they are only counted."""
        if len(self.warnings) == self._limit:
            why, path, hint = "further warnings are not shown", (), ""
        if len(self.warnings) <= self._limit:
            self.warnings.append(Problem(place=place, path=path_text(path), why=why, hint=hint))

    def spend(self, count: int, place: Place, path: Path) -> None:
        """Count values that a short form becomes; LoadErrors when a load makes too many."""
        self._room -= count
        if self._room < 0:
            self.problem(place, path, f"short forms stand for more than {MAX_MADE} values")
            self.raise_problems()

    def raise_problems(self) -> None:
        """End the phase: raise LoadErrors if there were problems, each once, in order of place."""
        if self.problems:
            raise LoadErrors(*sorted(dict.fromkeys(self.problems), key=_by_place))


def _by_place(problem: Problem) -> tuple[str, int, int]:
    return (problem.place.file, problem.place.line, problem.place.column)


def path_text(path: Path) -> str:
    """Return the path as a user writes it: `services.web.ports[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class PathTable(Generic[T]):
    """Rules by place in the file: the pattern's parts are keys or `*` (any key, any index).

    A literal part beats `*`, at every level, whatever the order of the table.
    """

    __slots__ = ("_any", "_named", "value")

    def __init__(self, rules: Mapping[str, T]) -> None:
        self.value: T | None = None
        self._named: dict[str, PathTable[T]] = {}
        self._any: PathTable[T] | None = None
        for pattern, value in rules.items():
            self._add(pattern.split("."), value)
        self._overlay()

    def _add(self, parts: list[str], value: T) -> None:
        if not parts:
            self.value = value
            return
        head, *rest = parts
        if head == "*":
            self._any = self._any or PathTable({})
            self._any._add(rest, value)
        else:
            self._named.setdefault(head, PathTable({}))._add(rest, value)

    def _overlay(self) -> None:
        """Give every named branch what the `*` beside it says, so that lookups never go back."""
        if self._any is not None:
            self._any._overlay()
            for branch in self._named.values():
                branch._take(self._any)
        for branch in self._named.values():
            branch._overlay()

    def _take(self, other: PathTable[T]) -> None:
        if self.value is None:
            self.value = other.value
        for key, branch in other._named.items():
            self._named.setdefault(key, PathTable({}))._take(branch)
        if other._any is not None:
            self._any = self._any or PathTable({})
            self._any._take(other._any)

    def step(self, key: str | int) -> PathTable[T] | None:
        """Return the rules below `key`, or None when there are none."""
        named = self._named.get(key) if isinstance(key, str) else None
        return named if named is not None else self._any

    def match(self, path: Path) -> T | None:
        """Return the rule for exactly this path."""
        table: PathTable[T] | None = self
        for key in path:
            table = table.step(key) if table is not None else None
        return table.value if table is not None else None


def kind(node: Node) -> str:
    """Return what a user would call the node's type: mapping, list, string, number, …"""
    if isinstance(node, Map):
        return "mapping"
    if isinstance(node, List):
        return "list"
    return value_kind(node.value)


def a_kind(node: Node) -> str:
    """Return the node's type with its article, for sentences."""
    name = kind(node)
    return name if name == "null" else f"an {name}" if name == "integer" else f"a {name}"


def value_kind(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def is_null(node: Node | None) -> bool:
    return isinstance(node, Scalar) and node.value is None


def has_variable(node: Node) -> bool:
    """Return whether the node is a string that may have a variable in it."""
    return isinstance(node, Scalar) and isinstance(node.value, str) and "$" in node.value


def children(node: Node) -> Iterator[tuple[str | int, Node]]:
    """Return the node's children with their keys or indexes."""
    if isinstance(node, Map):
        yield from node.entries.items()
    elif isinstance(node, List):
        yield from enumerate(node.items)


def find(node: Node | None, *path: str | int) -> Node | None:
    """Return the node at `path`, or None where the tree ends before."""
    for key in path:
        if isinstance(node, Map) and isinstance(key, str):
            node = node.entries.get(key)
        elif isinstance(node, List) and isinstance(key, int) and key < len(node.items):
            node = node.items[key]
        else:
            return None
    return node


def with_entries(
    node: Map, entries: Mapping[str, Node], keys: Mapping[str, Place] | None = None
) -> Map:
    """Return the mapping with other entries; places of keys are kept, `keys` come on top."""
    places = {**(node.keys or {}), **(keys or {})}
    return replace(node, entries=entries, keys=places)


def with_entry(node: Map, key: str, value: Node) -> Map:
    return with_entries(node, {**node.entries, key: value})


def without_entry(node: Map, key: str) -> Map:
    return with_entries(node, {name: child for name, child in node.entries.items() if name != key})


def plain(node: Node) -> Plain:
    """Return the tree as plain JSON values, without places."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, List):
        return [plain(item) for item in node.items]
    return {key: plain(child) for key, child in node.entries.items()}


def from_plain(value: object, place: Place = NOWHERE, *, depth: int = 100) -> Node:
    """Return the tree of plain JSON values; ValueError for anything else or deeper than `depth`."""
    if depth < 0:
        raise ValueError("nested too deeply")
    depth -= 1
    if value is None or isinstance(value, (str, int, float)):
        return Scalar(value, place)
    if isinstance(value, (list, tuple)):
        return List(tuple(from_plain(item, place, depth=depth) for item in value), place)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key is not a string")
        return Map(
            {key: from_plain(child, place, depth=depth) for key, child in value.items()}, place
        )
    raise ValueError(f"not a JSON value: {type(value).__name__}")
