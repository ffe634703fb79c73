"""Comparing the trees before and after a phase: which scalar became which, and what came to it.

A scalar is found again by its path, and where a form has changed by the place that it was written at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from orchestrator.load.origins import AS_IT_IS, WRITTEN_AS, Step, Traced, history, scalars, shown
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import List, Map, Node, Path, Scalar, is_null, with_entries
from orchestrator.model.project import Place

Made: TypeAlias = Callable[[Scalar, Path], tuple[Step, ...]]
Changed: TypeAlias = Callable[[Scalar, Scalar, Path], tuple[Step, ...]]


def relate(before: Node | None, after: Node, path: Path, changed: Changed, made: Made) -> Node:
    """Return `after` with the history of `before`, and with steps where the two differ."""
    if after is before:
        return after
    if isinstance(before, Scalar) and isinstance(after, Scalar):
        return _same_scalar(before, after, path, changed)
    if isinstance(before, Map) and isinstance(after, Map):
        sources = _Sources(before)
        entries = {
            key: relate(before.entries[key], child, (*path, key), changed, made)
            if key in before.entries
            else _fresh(sources, child, (*path, key), changed, made)
            for key, child in after.entries.items()
        }
        return with_entries(after, entries)
    if isinstance(before, List) and isinstance(after, List):
        sources = _Sources(before)
        by_place = {item.place: item for item in before.items}
        items = tuple(
            relate(by_place[item.place], item, (*path, index), changed, made)
            if item.place in by_place
            else _fresh(sources, item, (*path, index), changed, made)
            for index, item in enumerate(after.items)
        )
        return List(items, after.place, after.tag)
    return _fresh(_Sources(before), after, path, changed, made)


class _Sources:
    """Scalars of a tree by their places, looked for once and only if they are asked for."""

    def __init__(self, node: Node | None) -> None:
        self._node = node
        self._by_place: dict[Place, Scalar] | None = None

    def at(self, place: Place) -> Scalar | None:
        if self._by_place is None:
            found = () if self._node is None else scalars(self._node)
            self._by_place = {scalar.place: scalar for scalar in found}
        return self._by_place.get(place) if place.line else None


def _same_scalar(before: Scalar, after: Scalar, path: Path, changed: Changed) -> Scalar:
    steps = history(after if isinstance(after, Traced) else before)
    if text_of(before.value) != text_of(after.value) or is_null(before) != is_null(after):
        if steps[0].says == AS_IT_IS:
            said = "written without a value"
            if before.value is not None:
                said = f"{WRITTEN_AS}{shown(before.value)}"
            steps = (replace(steps[0], says=said), *steps[1:])
        steps = (*steps, *changed(before, after, path))
    return Traced(after.value, after.place, before.text, after.tag, steps)


def _fresh(sources: _Sources, after: Node, path: Path, changed: Changed, made: Made) -> Node:
    """Return a part of the tree that was not there before; its scalars may come from some that were."""

    def scalar(node: Scalar, below: Path) -> Scalar:
        source = sources.at(node.place)
        if source is not None:
            return _same_scalar(source, node, below, changed)
        return Traced(node.value, node.place, node.text, node.tag, made(node, below))

    def walk(node: Node, below: Path) -> Node:
        if isinstance(node, Scalar):
            return scalar(node, below)
        if isinstance(node, List):
            items = tuple(walk(item, (*below, index)) for index, item in enumerate(node.items))
            return List(items, node.place, node.tag)
        entries = {key: walk(child, (*below, key)) for key, child in node.entries.items()}
        return with_entries(node, entries)

    return walk(after, path)
