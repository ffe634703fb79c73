"""How a later file goes over an earlier one, and a service over the one that it extends.

Both sides are canonical. Without a rule: a scalar is replaced, mappings are merged by key, lists
are joined, and null on the right changes nothing. Where that is not so, `RULES` says what is
(compose-format §6). `!reset` and `!override` in the right side are used up here (§6.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from orchestrator.load import mounts, ports
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import (
    Findings,
    List,
    Map,
    Node,
    Path,
    PathTable,
    Scalar,
    Tag,
    a_kind,
    is_null,
    path_text,
    plain,
)

Identity: TypeAlias = Callable[[Node], object]
"""Says which entries of a list are the same one: the later replaces the earlier in its place."""


class Replace:
    """The right value stands, whatever it is, null included."""


class Unique:
    """Lists are joined; of entries with one identity the last stays, where the first was."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity


class MergeItems:
    """Lists are joined; entries with one identity are merged like mappings."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity


class ReplaceIfOther:
    """Mappings are merged unless both name `key` and differ in it: then the right one stands."""

    def __init__(self, key: str) -> None:
        self.key = key


MergeRule: TypeAlias = Replace | Unique | MergeItems | ReplaceIfOther


def whole(node: Node) -> object:
    """Identity by the whole value."""
    return repr(plain(node))


def by_key(name: str) -> Identity:
    """Identity by one key of the entry."""

    def identity(node: Node) -> object:
        child = node.get(name) if isinstance(node, Map) else None
        return text_of(child.value) if isinstance(child, Scalar) else whole(node)

    return identity


def by_name(node: Node) -> object:
    """Identity by the text before an equals sign."""
    return text_of(node.value).partition("=")[0] if isinstance(node, Scalar) else whole(node)


REPLACE = Replace()
UNIQUE = Unique(whole)
_SERVICE: dict[str, MergeRule] = {
    "command": REPLACE,
    "entrypoint": REPLACE,
    "healthcheck.test": REPLACE,
    "environment.*": REPLACE,
    "build.args.*": REPLACE,
    "ulimits.*": REPLACE,
    "build.ulimits.*": REPLACE,
    "logging": ReplaceIfOther("driver"),
    "env_file": Unique(by_key("path")),
    "ports": Unique(ports.identity),
    "volumes": Unique(by_key("target")),
    "devices": Unique(by_key("target")),
    "configs": Unique(mounts.by_target("/")),
    "secrets": Unique(mounts.by_target("/run/secrets/")),
    "dns": Unique(by_name),
    "dns_search": Unique(by_name),
    "dns_opt": Unique(by_name),
    "tmpfs": Unique(by_name),
    "cap_add": UNIQUE,
    "cap_drop": UNIQUE,
    "expose": UNIQUE,
    "links": UNIQUE,
    "profiles": UNIQUE,
    "extra_hosts": UNIQUE,
    "build.extra_hosts": UNIQUE,
    "build.tags": UNIQUE,
    "networks.*.aliases": UNIQUE,
    "networks.*.link_local_ips": UNIQUE,
}
RULES: PathTable[MergeRule] = PathTable(
    {f"services.*.{key}": rule for key, rule in _SERVICE.items()}
    | {"networks.*.ipam.config": MergeItems(by_key("subnet"))}
)


def merge(left: Map, right: Map, findings: Findings, path: Path = ()) -> Map:
    """Return `left` with `right` over it, for trees that begin at `path`."""
    table: PathTable[MergeRule] | None = RULES
    for key in path:
        table = table.step(key) if table is not None else None
    return _Merge(findings).mappings(left, right, path, table)


def settle(tree: Map, findings: Findings, path: Path = ()) -> Map:
    """Return the tree with its own tags used up: what a file is that has nothing before it."""
    return merge(Map({}, tree.place), tree, findings, path)


def reset(accumulated: Map, right: Map) -> Map:
    """Return `accumulated` without all that `right` resets or overrides."""
    entries: dict[str, Node] = {}
    for key, child in accumulated.entries.items():
        change = right.entries.get(key)
        if change is not None and change.tag is not None:
            continue
        if isinstance(child, Map) and isinstance(change, Map):
            child = reset(child, change)
        entries[key] = child
    return replace(accumulated, entries=entries)


class _Merge:
    """One merge; what does not fit together goes to `findings`."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def mappings(
        self, left: Map, right: Map, path: Path, table: PathTable[MergeRule] | None
    ) -> Map:
        entries = dict(left.entries)
        for key, change in right.entries.items():
            base = entries.get(key)
            below = table.step(key) if table is not None else None
            if change.tag is Tag.RESET:
                entries.pop(key, None)
            elif base is None or change.tag is Tag.OVERRIDE:
                entries[key] = self._fresh(change, (*path, key), below)
            else:
                entries[key] = self._values(base, change, (*path, key), below)
        keys = {**(left.keys or {}), **(right.keys or {})}
        return Map(entries, left.place if left.entries else right.place, keys)

    def _fresh(self, node: Node, path: Path, table: PathTable[MergeRule] | None) -> Node:
        """Return a value that goes over nothing: its tags are used up, its lists made unique."""
        if isinstance(node, Map):
            return self.mappings(Map({}, node.place), node, path, table)
        if isinstance(node, List):
            return self._lists(List((), node.place), node, path, table)
        return replace(node, tag=None) if node.tag is not None else node

    def _values(
        self, left: Node, right: Node, path: Path, table: PathTable[MergeRule] | None
    ) -> Node:
        rule = table.value if table is not None else None
        if isinstance(rule, Replace):
            return self._fresh(right, path, table)
        if is_null(right):
            return left
        if isinstance(left, Map) and isinstance(right, Map):
            if isinstance(rule, ReplaceIfOther) and _differs(left, right, rule.key):
                return self._fresh(right, path, table)
            return self.mappings(left, right, path, table)
        if isinstance(left, List) and isinstance(right, List):
            return self._lists(left, right, path, table)
        if isinstance(left, Scalar):
            return self._fresh(right, path, table)
        why = f"cannot override {a_kind(left)} ({left.place}) with {a_kind(right)}"
        hint = f"write {a_kind(left)}, or {path_text(path[-1:])}: !override …"
        self._findings.problem(right.place, path, why, hint)
        return left

    def _lists(
        self, left: List, right: List, path: Path, table: PathTable[MergeRule] | None
    ) -> List:
        rule = table.value if table is not None else None
        below = table.step(0) if table is not None else None
        fresh = tuple(
            self._fresh(item, (*path, index), below)
            for index, item in enumerate(right.items)
            if item.tag is not Tag.RESET
        )
        place = left.place if left.items else right.place
        if isinstance(rule, (Unique, MergeItems)):
            return List(self._unique((*left.items, *fresh), rule, path, below), place)
        return List((*left.items, *fresh), place)

    def _unique(
        self,
        items: tuple[Node, ...],
        rule: Unique | MergeItems,
        path: Path,
        table: PathTable[MergeRule] | None,
    ) -> tuple[Node, ...]:
        found: dict[object, Node] = {}
        for item in items:
            identity = rule.identity(item)
            earlier = found.get(identity)
            if isinstance(rule, MergeItems) and earlier is not None:
                item = self._values(earlier, item, (*path, 0), table)
            found[identity] = item
        return tuple(found.values())


def _differs(left: Map, right: Map, key: str) -> bool:
    one, other = left.get(key), right.get(key)
    return one is not None and other is not None and plain(one) != plain(other)
