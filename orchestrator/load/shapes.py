"""The small language that the stack file format is written down in: what a value may look like.

`vocabulary` says the format with these, `validate` checks a tree against them and `schema` turns
them into JSON Schema, so that there is one table of keys and not three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value: extensions and what other tools own."""


@dataclass(frozen=True, slots=True)
class Null:
    """The empty value."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string. `parse` raises ValueError with a whole sentence for what is not one of its kind."""

    choices: tuple[str, ...] = ()
    pattern: str = ""
    expected: str = ""
    """For messages: what matches `pattern`, as in "lower-case letters and digits"."""
    parse: Callable[[str], object] | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer within bounds, both included."""

    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Real:
    """An integer or float within bounds, both included."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A list. `is_unique`: no two entries may be equal once everything is merged."""

    item: Shape
    is_unique: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping whose keys the user makes up."""

    value: Shape
    key_pattern: str = ""
    key_expected: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a record, with the sentence that editors show."""

    shape: Shape
    about: str
    is_obsolete: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping whose keys the format names; `x-…` is always allowed."""

    keys: Mapping[str, Key]
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of several shapes, told apart by the kind of the value alone."""

    shapes: tuple[Shape, ...]
    by_kind: Mapping[str, Shape] = field(
        init=False, repr=False, compare=False, default_factory=lambda: MappingProxyType({})
    )

    def __post_init__(self) -> None:
        kinds = {kind: shape for shape in reversed(self.shapes) for kind in kinds_of(shape)}
        object.__setattr__(self, "by_kind", MappingProxyType(kinds))


Shape: TypeAlias = Anything | Null | Flag | Text | Whole | Real | Items | Table | Record | OneOf

_KINDS: Mapping[type, tuple[str, ...]] = {
    Anything: ("null", "boolean", "string", "integer", "number", "list", "mapping"),
    Null: ("null",),
    Flag: ("boolean",),
    Text: ("string",),
    Whole: ("integer",),
    Real: ("integer", "number"),
    Items: ("list",),
    Table: ("mapping",),
    Record: ("mapping",),
}


def kinds_of(shape: Shape) -> tuple[str, ...]:
    """Return the kinds of node that the shape takes (`tree.kind`)."""
    return tuple(shape.by_kind) if isinstance(shape, OneOf) else _KINDS[type(shape)]


def for_kind(shape: Shape, kind: str) -> Shape | None:
    """Return the part of the shape that takes values of this kind."""
    if isinstance(shape, OneOf):
        return shape.by_kind.get(kind)
    return shape if kind in _KINDS[type(shape)] else None


_NAMES = {
    "null": "nothing",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "list": "a list",
    "mapping": "a mapping",
    "boolean": "true or false",
}


def describe(shape: Shape) -> str:
    """Return what the shape takes, for messages: `a string or a list`."""
    kinds = [kind for kind in _NAMES if kind in kinds_of(shape) and kind != "null"]
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    names = [_NAMES[kind] for kind in kinds] or ["nothing"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def one_of(*shapes: Shape) -> OneOf:
    return OneOf(shapes)
