"""The trace of `trice explain`: notes on every scalar what the phases do to it.

It compares the trees before and after each phase and keeps what happened in the scalars themselves
(`origins.Traced`), so that the phases need not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.load.definitions import definition, template_steps
from orchestrator.load.environment import Environment, Variable
from orchestrator.load.merge import RULES, MergeItems, MergeRule, Replace, Unique
from orchestrator.load.origins import (
    Kind,
    Step,
    Traced,
    all_with,
    is_short,
    replaced,
    shown,
    with_steps,
)
from orchestrator.load.relate import relate
from orchestrator.load.scalars import text_of
from orchestrator.load.trace import Trace
from orchestrator.load.tree import (
    List,
    Map,
    Node,
    Path,
    PathTable,
    Scalar,
    Tag,
    find,
    with_entries,
    with_entry,
)
from orchestrator.model.project import Place


class Recording(Trace):
    """Notes on every scalar what happened to it."""

    def __init__(self) -> None:
        self.removed: dict[Path, Place] = {}
        """What a `!reset` took away, and where it stands."""

    def aliased(self, node: Node, name: str, place: Place) -> Node:
        step = Step(kind=Kind.ALIAS, says=f"used through the alias *{name}", place=place)
        return all_with(node, step)

    def interpolated(self, before: Node, after: Node, environment: Environment) -> Node:
        def changed(old: Scalar, new: Scalar, _path: Path) -> tuple[Step, ...]:
            steps = template_steps(old.value, environment) if isinstance(old.value, str) else ()
            is_cast = not isinstance(new.value, str)
            return (*steps, _read_as(new)) if is_cast else steps

        return relate(before, after, (), changed, _default)

    def lengthened(self, before: Map, after: Map) -> Map:
        return _map(relate(before, after, (), _lengthened, _default))

    def made_absolute(self, before: Map, after: Map, directory: str) -> Map:
        step = Step(kind=Kind.PATH, says=f"relative to {directory}")
        return _map(relate(before, after, (), lambda *_: (step,), _default))

    def merged(self, left: Map, right: Map, after: Map, path: Path = ()) -> Map:
        table: PathTable[MergeRule] | None = RULES
        for key in path:
            table = table.step(key) if table is not None else None
        return _map(self._over(left, right, after, path, table))

    def inherited(self, base: Map, place: Place, sentence: str) -> Map:
        return _map(all_with(base, Step(kind=Kind.EXTENDS, says=sentence, place=place)))

    def included(self, model: Map, place: Place) -> Map:
        return _map(all_with(model, Step(kind=Kind.INCLUDE, says="included here", place=place)))

    def resolved(self, before: Map, after: Map, environment: Environment) -> Map:
        def changed(_old: Scalar, _new: Scalar, path: Path) -> tuple[Step, ...]:
            name = str(path[-1])
            return (definition(name, environment.look_up(name), environment),)

        return _map(relate(before, after, (), changed, _default))

    def completed(self, before: Map, after: Map) -> Map:
        return _map(relate(before, after, (), _follows, _default))

    def folded(self, before: Map, after: Map, environment: Environment) -> Map:
        def made(scalar: Scalar, path: Path) -> tuple[Step, ...]:
            value = text_of(scalar.value)
            variable = Variable(value=value, place=scalar.place, template=scalar.text)
            own = definition(str(path[-1]), variable, environment)
            return (own, *_readers(before, path, scalar.place.file))

        return _map(relate(before, after, (), lambda *_: (), made))

    def hidden(self, own: Mapping[str, Node], files: Mapping[str, Variable]) -> Mapping[str, Node]:
        entries = dict(own)
        for name, variable in files.items():
            node = own.get(name)
            if isinstance(node, Scalar):
                entries[name] = with_steps(node, replaced(Scalar(variable.value, variable.place)))
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
            return all_with(after, replace(step, kind=Kind.OVERRIDE, says=says))
        if isinstance(after, Scalar):
            return after if left is None else with_steps(after, replaced(left))
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
            return all_with(after, replaced(left))
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
                item = all_with(item, replaced(before))
            else:
                item = self._over(before, later.get(identity), item, (*path, 0), None)
            items.append(item)
        return List(tuple(items), after.place, after.tag)


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
