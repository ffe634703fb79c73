"""Paths of the host become absolute, as soon as a file is canonical (compose-format §2.4).

Relative ones start at the directory of the model that the file belongs to, so this happens before
files of different directories are merged. Paths in a container are not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from orchestrator.load.mounts import is_windows
from orchestrator.load.paths import absolute
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import List, Map, Node, PathTable, Scalar, Tag, find

Absolute: TypeAlias = Callable[[str], str]
Rule: TypeAlias = Callable[[Node, Absolute], Node]

_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@", "service:")


def path(node: Node, make: Absolute) -> Node:
    """A plain path."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return replace(node, value=make(node.value))
    return node


def watched(node: Node, make: Absolute) -> Node:
    """A path to watch; a blank one stays blank, to be refused."""
    if isinstance(node, Scalar) and not text_of(node.value).strip():
        return node
    return path(node, make)


def context(node: Node, make: Absolute) -> Node:
    """A build context: a path unless it is a URL or names a service."""
    if isinstance(node, Scalar) and isinstance(node.value, str) and is_remote(node.value):
        return node
    return path(node, make)


def is_remote(text: str) -> bool:
    return "://" in text or text.startswith(_REMOTE)


def bind_source(node: Node, make: Absolute) -> Node:
    """The source of a volume entry that is a bind mount."""
    source, kind = find(node, "source"), find(node, "type")
    is_bind = isinstance(kind, Scalar) and kind.value == "bind"
    if isinstance(source, Scalar) and is_windows(text_of(source.value)):
        return node
    if isinstance(node, Map) and source is not None and is_bind:
        return replace(node, entries={**node.entries, "source": path(source, make)})
    return node


def local_device(node: Node, make: Absolute) -> Node:
    """A volume of the local driver that is a bind mount by its options."""
    options, driver = find(node, "driver_opts"), find(node, "driver")
    device, how = find(options, "device"), find(options, "o")
    is_local = driver is None or (isinstance(driver, Scalar) and driver.value == "local")
    if not (isinstance(how, Scalar) and how.value == "bind" and is_local):
        return node
    if isinstance(node, Map) and isinstance(options, Map) and device is not None:
        changed = replace(options, entries={**options.entries, "device": path(device, make)})
        return replace(node, entries={**node.entries, "driver_opts": changed})
    return node


_STACK_FILES: dict[str, Rule] = {
    "services.*.extends.file": path,
    "include.*.path.*": path,
    "include.*.project_directory": path,
    "include.*.env_file.*": path,
}
_FOLDED_FILES: dict[str, Rule] = {
    "services.*.env_file.*.path": path,
    "services.*.label_file.*": path,
}
RULES: PathTable[Rule] = PathTable(
    {
        "services.*.build.context": context,
        "services.*.build.additional_contexts.*": context,
        "services.*.build.ssh.*": path,
        "services.*.develop.watch.*.path": watched,
        "services.*.volumes.*": bind_source,
        "volumes.*": local_device,
        "configs.*.file": path,
        "secrets.*.file": path,
    }
    | _STACK_FILES
    | _FOLDED_FILES
)
RULES_OF_STACK_FILES: PathTable[Rule] = PathTable(_STACK_FILES)
RULES_OF_LOADING: PathTable[Rule] = PathTable(_STACK_FILES | _FOLDED_FILES)
"""Paths of what loading itself reads: stack files, and what becomes part of services."""


def resolve_paths(
    tree: Map,
    *,
    directory: str,
    home: str | None,
    rules: PathTable[Rule] = RULES,
) -> Map:
    """Return the canonical tree with paths absolute: relative ones below `directory`."""

    def make(text: str) -> str:
        return absolute(text, directory, home)

    result = _walk(tree, rules, make)
    assert isinstance(result, Map)
    return result


def _walk(node: Node, table: PathTable[Rule] | None, make: Absolute) -> Node:
    if table is None or node.tag is Tag.RESET:
        return node
    if table.value is not None:
        node = table.value(node, make)
    if isinstance(node, Map):
        entries = {key: _walk(child, table.step(key), make) for key, child in node.entries.items()}
        return replace(node, entries=entries)
    if isinstance(node, List):
        return replace(node, items=tuple(_walk(item, table.step(0), make) for item in node.items))
    return node
