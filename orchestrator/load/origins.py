"""Where every value comes from: written where, by which variables, over what, through which file.

`Recording` is the trace of `trice explain`. It compares the trees before and after each phase and
keeps what happened to a scalar in the scalar itself (`Traced`), so that the phases need not know.

    history(scalar) ─► (written, variable, …, over (what the other one went through), …)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from orchestrator.load.environment import Environment, Variable
from orchestrator.load.interpolate import TemplateError, Use, substitute, uses
from orchestrator.load.merge import RULES, MergeItems, MergeRule, Replace, Unique
from orchestrator.load.scalars import text_of
from orchestrator.load.trace import Trace
from orchestrator.load.tree import (
    NOWHERE,
    List,
    Map,
    Node,
    Path,
    PathTable,
    Plain,
    Scalar,
    Tag,
    children,
    find,
    plain,
    with_entries,
    with_entry,
)
from orchestrator.model.project import Place

_AS_IT_IS = "written here"
LONGEST_SHOWN = 70
"""Characters of a value in a sentence."""
MAX_DEFINITIONS = 20
"""Variables that follow from variables that follow from …"""


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


Made: TypeAlias = Callable[[Scalar, Path], tuple[Step, ...]]
Changed: TypeAlias = Callable[[Scalar, Scalar, Path], tuple[Step, ...]]


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
    says = _AS_IT_IS if is_same else f"written as {shown(node.text)}"
    return (Step(kind=Kind.WRITTEN, says=says, place=node.place),)


def _with(node: Scalar, *steps: Step) -> Traced:
    return Traced(node.value, node.place, node.text, node.tag, (*history(node), *steps))


def _all_with(node: Node, step: Step) -> Node:
    """Return the tree with one more step on every scalar."""
    return _each(node, lambda scalar: _with(scalar, step))


def _each(node: Node, change: Callable[[Scalar], Scalar]) -> Node:
    if isinstance(node, Scalar):
        return change(node)
    if isinstance(node, List):
        return List(tuple(_each(item, change) for item in node.items), node.place, node.tag)
    return with_entries(node, {key: _each(child, change) for key, child in node.entries.items()})


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    for _, child in children(node):
        yield from _scalars(child)


def is_short(node: Node) -> bool:
    """Return whether all of a mapping comes from one text: the short form that it had."""
    if not isinstance(node, Map) or not node.place.line:
        return False
    found = list(_scalars(node))
    return len(found) > 1 and all(scalar.place == node.place for scalar in found)


def history_of_form(node: Node) -> tuple[Step, ...]:
    """Return the history of the text that a mapping in short form was."""
    longest = max((history(scalar) for scalar in _scalars(node)), key=len)
    return tuple(step for step in longest if step.kind is not Kind.SHORT)


def replaced(node: Node) -> Step:
    """Return the step of going over `node`."""
    says = f"over {shown(plain(node))}"
    before: tuple[Step, ...] = ()
    if isinstance(node, Scalar):
        before = history(node)
    elif is_short(node):
        before = history_of_form(node)
        says = "over the one"
    if before and before[0].place == node.place and before[0].kind is Kind.WRITTEN:
        if before[0].says != _AS_IT_IS:
            says += f", {before[0].says}"
        before = before[1:]
    return Step(kind=Kind.OVER, says=says, place=node.place, before=before)


class Recording(Trace):
    """Notes on every scalar what happened to it."""

    def __init__(self) -> None:
        self.removed: dict[Path, Place] = {}
        """What a `!reset` took away, and where it stands."""

    def aliased(self, node: Node, name: str, place: Place) -> Node:
        step = Step(kind=Kind.ALIAS, says=f"used through the alias *{name}", place=place)
        return _all_with(node, step)

    def interpolated(self, before: Node, after: Node, environment: Environment) -> Node:
        def changed(old: Scalar, new: Scalar, _path: Path) -> tuple[Step, ...]:
            steps = template_steps(old.value, environment) if isinstance(old.value, str) else ()
            is_cast = not isinstance(new.value, str)
            return (*steps, _read_as(new)) if is_cast else steps

        return _relate(before, after, (), changed, _default)

    def lengthened(self, before: Map, after: Map) -> Map:
        return _map(_relate(before, after, (), _lengthened, _default))

    def made_absolute(self, before: Map, after: Map, directory: str) -> Map:
        step = Step(kind=Kind.PATH, says=f"relative to {directory}")
        return _map(_relate(before, after, (), lambda *_: (step,), _default))

    def merged(self, left: Map, right: Map, after: Map, path: Path = ()) -> Map:
        table: PathTable[MergeRule] | None = RULES
        for key in path:
            table = table.step(key) if table is not None else None
        return _map(self._over(left, right, after, path, table))

    def inherited(self, base: Map, place: Place, sentence: str) -> Map:
        return _map(_all_with(base, Step(kind=Kind.EXTENDS, says=sentence, place=place)))

    def included(self, model: Map, place: Place) -> Map:
        return _map(_all_with(model, Step(kind=Kind.INCLUDE, says="included here", place=place)))

    def resolved(self, before: Map, after: Map, environment: Environment) -> Map:
        def changed(_old: Scalar, _new: Scalar, path: Path) -> tuple[Step, ...]:
            name = str(path[-1])
            return (_definition(name, environment.look_up(name), environment),)

        return _map(_relate(before, after, (), changed, _default))

    def completed(self, before: Map, after: Map) -> Map:
        return _map(_relate(before, after, (), _follows, _default))

    def folded(self, before: Map, after: Map, environment: Environment) -> Map:
        def made(scalar: Scalar, path: Path) -> tuple[Step, ...]:
            value = text_of(scalar.value)
            variable = Variable(value=value, place=scalar.place, template=scalar.text)
            definition = _definition(str(path[-1]), variable, environment)
            return (definition, *_readers(before, path, scalar.place.file))

        return _map(_relate(before, after, (), lambda *_: (), made))

    def hidden(self, own: Mapping[str, Node], files: Mapping[str, Variable]) -> Mapping[str, Node]:
        entries = dict(own)
        for name, variable in files.items():
            node = own.get(name)
            if isinstance(node, Scalar):
                entries[name] = _with(node, replaced(Scalar(variable.value, variable.place)))
        return entries

    def named(self, tree: Map, sentence: str) -> Map:
        node = tree.get("name")
        if not isinstance(node, Scalar):
            return tree
        step = Step(kind=Kind.NAME, says=sentence, place=node.place)
        return with_entry(tree, "name", Traced(node.value, node.place, node.text, None, (step,)))

    # Merging

    def _over(
        self,
        left: Node | None,
        right: Node | None,
        after: Node,
        path: Path,
        table: PathTable[MergeRule] | None,
    ) -> Node:
        """Return `after`, in which what came from `right` tells of what it replaced in `left`."""
        if after is left or right is None:
            return after
        if right.tag is Tag.OVERRIDE and left is not None:
            step = replaced(left)
            says = f"!override, {step.says}"
            return _all_with(after, replace(step, kind=Kind.OVERRIDE, says=says))
        if isinstance(after, Scalar):
            return after if left is None else _with(after, replaced(left))
        if isinstance(after, List):
            rule = table.value if table is not None else None
            return self._list_over(left, right, after, path, rule)
        if isinstance(right, Map):
            self._note_removed(left, right, path)
        entries = {
            key: self._over(
                find(left, key),
                find(right, key),
                child,
                (*path, key),
                table.step(key) if table is not None else None,
            )
            for key, child in after.entries.items()
        }
        return with_entries(after, entries)

    def _note_removed(self, left: Node | None, right: Map, path: Path) -> None:
        for key, change in right.entries.items():
            if change.tag is Tag.RESET and find(left, key) is not None:
                self.removed[*path, key] = right.key_place(key)

    def _list_over(
        self, left: Node | None, right: Node, after: List, path: Path, rule: MergeRule | None
    ) -> Node:
        if left is None:
            return after
        if isinstance(rule, Replace):
            return _all_with(after, replaced(left))
        if not isinstance(rule, (Unique, MergeItems)) or not isinstance(left, List):
            return after
        earlier = {rule.identity(item): item for item in left.items}
        later = {
            rule.identity(item): item for item in (right.items if isinstance(right, List) else ())
        }
        items = []
        for item in after.items:
            identity = rule.identity(item)
            before = earlier.get(identity)
            if before is None or before is item:
                pass
            elif is_short(before) or is_short(item):
                item = _all_with(item, replaced(before))
            else:
                item = self._over(before, later.get(identity), item, (*path, 0), None)
            items.append(item)
        return List(tuple(items), after.place, after.tag)


# Comparing the trees before and after a phase


def _relate(before: Node | None, after: Node, path: Path, changed: Changed, made: Made) -> Node:
    """Return `after` with the history of `before`, and with steps where the two differ."""
    if after is before:
        return after
    if isinstance(before, Scalar) and isinstance(after, Scalar):
        return _same_scalar(before, after, path, changed)
    if isinstance(before, Map) and isinstance(after, Map):
        sources = _Sources(before)
        entries = {
            key: _relate(before.entries[key], child, (*path, key), changed, made)
            if key in before.entries
            else _fresh(sources, child, (*path, key), changed, made)
            for key, child in after.entries.items()
        }
        return with_entries(after, entries)
    if isinstance(before, List) and isinstance(after, List):
        sources = _Sources(before)
        by_place = {item.place: item for item in before.items}
        items = tuple(
            _relate(by_place[item.place], item, (*path, index), changed, made)
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
            found = () if self._node is None else _scalars(self._node)
            self._by_place = {scalar.place: scalar for scalar in found}
        return self._by_place.get(place) if place.line else None


def _same_scalar(before: Scalar, after: Scalar, path: Path, changed: Changed) -> Scalar:
    steps = history(after if isinstance(after, Traced) else before)
    if before.value != after.value or type(before.value) is not type(after.value):
        if steps[0].says == _AS_IT_IS:
            said = "without a value" if before.value is None else f"as {shown(before.value)}"
            steps = (replace(steps[0], says=f"written {said}"), *steps[1:])
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


def _map(node: Node) -> Map:
    assert isinstance(node, Map)
    return node


def _default(node: Scalar, path: Path) -> tuple[Step, ...]:
    if isinstance(node, Traced):
        return node.steps
    if node.place.line:
        return (
            Step(kind=Kind.IMPLIED, says="follows from what is written here", place=node.place),
        )
    is_name = len(path) == 3 and path[-1] == "name"
    says = "named after the project and the key" if is_name else "left out: Compose's default"
    return (Step(kind=Kind.DEFAULT, says=says),)


def _read_as(node: Scalar) -> Step:
    return Step(kind=Kind.READ, says=f"read as {shown(node.value)}")


def _follows(_old: Scalar, _new: Scalar, _path: Path) -> tuple[Step, ...]:
    return (Step(kind=Kind.IMPLIED, says="which implies this"),)


def _lengthened(old: Scalar, new: Scalar, _path: Path) -> tuple[Step, ...]:
    written, made = text_of(old.value), text_of(new.value)
    if made and made in written:
        return (Step(kind=Kind.SHORT, says="taken from the short form"),)
    if isinstance(new.value, str) and old.value is not None and _is_form(written):
        return (Step(kind=Kind.SHORT, says="follows from the short form"),)
    return (_read_as(new),)


def _is_form(text: str) -> bool:
    return any(separator in text for separator in ":=/")


def _readers(tree: Map, path: Path, file: str) -> tuple[Step, ...]:
    """Return the `env_file` entry of a service by which `file` was read."""
    key = "label_file" if path[2:3] == ("labels",) else "env_file"
    entries = find(tree, *path[:2], key)
    for entry in entries.items if isinstance(entries, List) else ():
        named = entry if isinstance(entry, Scalar) else find(entry, "path")
        if isinstance(named, Scalar) and named.value == file:
            says = f"read by this {key} entry"
            return (Step(kind=Kind.ENV_FILE, says=says, place=named.place),)
    return ()


# Variables


def template_steps(
    template: str, environment: Environment, depth: int = MAX_DEFINITIONS
) -> tuple[Step, ...]:
    """Return a step for every variable that was looked at to replace those in `template`."""
    if "$" not in template or depth == 0:
        return ()
    asked: list[tuple[str, Variable | None]] = []

    def look_up(name: str) -> str | None:
        variable = environment.look_up(name)
        asked.append((name, variable))
        return None if variable is None else variable.value

    try:
        substitute(template, look_up, lambda _name: None)
        written = iter(uses(template))
    except TemplateError:
        return ()
    steps = []
    for name, variable in asked:
        use = next((use for use in written if use.name == name), Use(name=name))
        steps.append(_use(use, variable, environment, depth))
    return tuple(steps)


def _use(use: Use, variable: Variable | None, environment: Environment, depth: int) -> Step:
    is_empty = variable is not None and variable.value == "" and use.operator.startswith(":")
    if variable is not None and not is_empty:
        step = _definition(use.name, variable, environment, depth)
        if not use.operator.endswith("+"):
            return step
        says = f"{step.says}, so {shown(use.word)} is taken"
        return Step(kind=step.kind, says=says, place=step.place, before=step.before)
    state = "empty" if is_empty else "not set"
    so = f"the template's default {shown(use.word)}" if use.operator.endswith("-") else "nothing"
    place = variable.place if variable is not None else NOWHERE
    return Step(kind=Kind.UNSET, says=f"{use.name} is {state}: {so}", place=place)


def _definition(
    name: str, variable: Variable | None, environment: Environment, depth: int = MAX_DEFINITIONS
) -> Step:
    """Return the step of a variable's value, with the variables that it was made from itself."""
    if variable is None:
        return Step(kind=Kind.UNSET, says=f"{name} is not set")
    before: tuple[Step, ...] = ()
    says = f"{name} = {shown(variable.value)}"
    if variable.template:
        says += f", written as {shown(variable.template)}"
    if variable.template and _is_still(variable, environment):
        before = template_steps(variable.template, environment, depth - 1)
    return Step(kind=Kind.VARIABLE, says=says, place=variable.place, before=before)


def _is_still(variable: Variable, environment: Environment) -> bool:
    """Return whether the template gives the same value now as when its line was read."""
    try:
        return substitute(variable.template, environment.get, lambda _: None) == variable.value
    except TemplateError:
        return False
