"""Leaving out what says nothing: zero, false and empty values of keys that have them by default.

The last phase before the tree becomes types, so that a stack file with `privileged: false` and one
without it have one canonical form (compose-format §26). What users name themselves (variables,
labels, options, extensions) is left as it is, and so are the keys in `_KEPT`, where the empty value
means something other than none.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.load.canonical import RULES, size
from orchestrator.load.shapes import Items, Record, Shape, Table, for_kind
from orchestrator.load.tree import List, Map, Node, Path, PathTable, Scalar, kind
from orchestrator.load.vocabulary import STACK

_KEPT_IN_SERVICE = """
    command entrypoint init attach scale stop_grace_period build networks
    deploy deploy.replicas deploy.update_config deploy.rollback_config deploy.restart_policy
    deploy.update_config.parallelism deploy.rollback_config.parallelism
    deploy.restart_policy.max_attempts
    healthcheck healthcheck.interval healthcheck.timeout healthcheck.retries
    healthcheck.start_period healthcheck.start_interval
    develop blkio_config logging depends_on.*.required provider
    volumes.*.volume volumes.*.bind volumes.*.tmpfs volumes.*.image
    volumes.*.bind.create_host_path env_file.*.required
"""
_KEPT_AT_TOP = """
    services networks volumes configs secrets models
    networks.*.enable_ipv4 networks.*.enable_ipv6
"""
_KEPT: PathTable[bool] = PathTable(
    dict.fromkeys((f"services.*.{key}" for key in _KEPT_IN_SERVICE.split()), True)
    | dict.fromkeys(_KEPT_AT_TOP.split(), True)
)


def prune(tree: Map) -> Map:
    """Return the canonical tree without values that say nothing."""
    result = _walk(tree, STACK, ())
    assert isinstance(result, Map)
    return result


def _walk(node: Node, shape: Shape, path: Path) -> Node:
    fitting = for_kind(shape, kind(node))
    if isinstance(node, List) and isinstance(fitting, Items):
        items = enumerate(node.items)
        return replace(
            node, items=tuple(_walk(item, fitting.item, (*path, i)) for i, item in items)
        )
    if not isinstance(node, Map):
        return node
    entries: dict[str, Node] = {}
    for key, child in node.entries.items():
        below = (*path, key)
        if isinstance(fitting, Record) and key in fitting.keys:
            child = _walk(child, fitting.keys[key].shape, below)
            if _says_nothing(child, below):
                continue
        elif isinstance(fitting, Table):
            child = _walk(child, fitting.value, below)
        entries[key] = child
    return replace(node, entries=entries)


def _says_nothing(node: Node, path: Path) -> bool:
    if isinstance(node, Scalar) and node.value is None:
        return True
    if _KEPT.match(path):
        return False
    if isinstance(node, Scalar):
        return node.value in ("", 0, False) or (node.value == "0" and RULES.match(path) is size)
    return not (node.entries if isinstance(node, Map) else node.items)
