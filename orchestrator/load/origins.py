"""Where a value comes from: the steps that led to it, and scalars that carry theirs with them.

history(scalar) ─► (written, variable, …, over (what the other one went through), …)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.load.scalars import text_of
from orchestrator.load.tree import (
    NOWHERE,
    List,
    Map,
    Node,
    Plain,
    Scalar,
    children,
    plain,
    with_entries,
)
from orchestrator.model.project import Place

AS_IT_IS = "written here"
WRITTEN_AS = "written as "
LONGEST_SHOWN = 70
"""Characters of a value in a sentence."""


class Kind(StrEnum):
    """What a step of a chain is."""

    WRITTEN = "written"
    ALIAS = "alias"
    VARIABLE = "variable"
    UNSET = "unset"
    READ = "read"
    SHORT = "short form"
    PATH = "path"
    OVER = "over"
    OVERRIDE = "override"
    EXTENDS = "extends"
    INCLUDE = "include"
    ENV_FILE = "env_file"
    IMPLIED = "implied"
    DEFAULT = "default"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened to a value, and where it says so."""

    kind: Kind
    says: str
    """For people, without the place."""
    place: Place = NOWHERE
    """NOWHERE: not written in a file."""
    before: tuple[Step, ...] = ()
    """What led to this step itself: how a variable, or the replaced value, got its value."""


@dataclass(frozen=True, slots=True, eq=False)
class Traced(Scalar):
    """A scalar that knows its whole history, what is first in it first."""

    steps: tuple[Step, ...] = ()


def shown(value: Plain, longest: int = LONGEST_SHOWN) -> str:
    """Return a value on one line, cut when it is too long: JSON with plain keys."""
    text = _flow(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _flow(value: Plain) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def history(node: Scalar) -> tuple[Step, ...]:
    """Return the steps by which the scalar got its value."""
    if isinstance(node, Traced):
        return node.steps
    if not node.place.line:
        return (Step(kind=Kind.DEFAULT, says="default"),)
    is_same = not node.text or node.text == text_of(node.value) or node.value is None
    says = AS_IT_IS if is_same else f"{WRITTEN_AS}{shown(node.text)}"
    return (Step(kind=Kind.WRITTEN, says=says, place=node.place),)


def with_steps(node: Scalar, *steps: Step) -> Traced:
    return Traced(node.value, node.place, node.text, node.tag, (*history(node), *steps))


def all_with(node: Node, step: Step) -> Node:
    """Return the tree with one more step on every scalar."""
    return _each(node, lambda scalar: with_steps(scalar, step))


def _each(node: Node, change: Callable[[Scalar], Scalar]) -> Node:
    if isinstance(node, Scalar):
        return change(node)
    if isinstance(node, List):
        return List(tuple(_each(item, change) for item in node.items), node.place, node.tag)
    return with_entries(node, {key: _each(child, change) for key, child in node.entries.items()})


def scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    for _, child in children(node):
        yield from scalars(child)


def is_short(node: Node) -> bool:
    """Return whether all of a mapping comes from one text: the short form that it had."""
    if not isinstance(node, Map) or not node.place.line:
        return False
    found = list(scalars(node))
    return len(found) > 1 and all(scalar.place == node.place for scalar in found)


def history_of_form(node: Node) -> tuple[Step, ...]:
    """Return the history of the text that a mapping in short form was."""
    of_a_part = (Kind.SHORT, Kind.READ)
    histories = (
        tuple(step for step in history(scalar) if step.kind not in of_a_part)
        for scalar in scalars(node)
    )
    return max(histories, key=len)


def replaced(node: Node) -> Step:
    """Return the step of going over `node`."""
    says = f"over {shown(plain(node))}"
    before: tuple[Step, ...] = ()
    if isinstance(node, Scalar):
        before = history(node)
    elif is_short(node):
        before = history_of_form(node)
        says = f"over {before[0].says.removeprefix(WRITTEN_AS)}"
        before = before[1:]
    if before and before[0].place == node.place and before[0].kind is Kind.WRITTEN:
        if before[0].says != AS_IT_IS:
            says += f", {before[0].says}"
        before = before[1:]
    return Step(kind=Kind.OVER, says=says, place=node.place, before=before)
