"""Short forms become long: one table from places in the file to the way it is done there.

Each file is made canonical before it is merged, so that merging, checks and decoding know one form
only. A rule may not add a default (it would override the other file's value when merged): those
come in `normalise`. Tags stay on their nodes; a tree that is canonical stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from orchestrator.load.hosts import extra_hosts
from orchestrator.load.mounts import device, file_mode, gpu, mounted_file, number_mode, volume
from orchestrator.load.ports import ports
from orchestrator.load.scalars import parse_number, text_of
from orchestrator.load.tree import (
    Findings,
    List,
    Map,
    Node,
    Path,
    PathTable,
    Scalar,
    Tag,
    find,
    has_variable,
    plain,
    with_entries,
)
from orchestrator.load.words import split_words
from orchestrator.model.project import Place
from orchestrator.model.units import format_duration, parse_bytes, parse_duration

Rule: TypeAlias = Callable[[Node, Path, Findings], Node]


def canonicalise(tree: Map, findings: Findings, *, takes_variables: bool = False) -> Map:
    """Return the valid tree in long forms; what cannot be made long goes to `findings`.

    With `takes_variables` a form stays short when there is a variable in it.
    """
    rules = RULES_WITH_VARIABLES if takes_variables else RULES
    result = _walk(tree, (), rules, findings)
    assert isinstance(result, Map)
    return result


def _walk(node: Node, path: Path, table: PathTable[Rule], findings: Findings) -> Node:
    if node.tag is Tag.RESET:
        return node
    if table.value is not None:
        node = table.value(node, path, findings)
    if isinstance(node, Map):
        entries = {
            key: _step(child, (*path, key), table.step(key), findings)
            for key, child in node.entries.items()
        }
        return replace(node, entries=entries)
    if isinstance(node, List):
        items = tuple(
            _step(item, (*path, index), table.step(index), findings)
            for index, item in enumerate(node.items)
        )
        return replace(node, items=items)
    return node


def _step(node: Node, path: Path, table: PathTable[Rule] | None, findings: Findings) -> Node:
    return node if table is None else _walk(node, path, table, findings)


# Scalars


def size(node: Node, _path: Path, _findings: Findings) -> Node:
    """`50m` becomes "52428800"; a decimal string, so that no reader loses digits (§10)."""
    if isinstance(node, Scalar) and isinstance(node.value, (str, int)):
        return replace(node, value=str(parse_bytes(node.value)))
    return node


def duration(node: Node, _path: Path, _findings: Findings) -> Node:
    """`90s` becomes `1m30s`."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return replace(node, value=format_duration(parse_duration(node.value)))
    return node


def number(node: Node, _path: Path, _findings: Findings) -> Node:
    """`"0.50"` becomes 0.5, and 2.0 becomes 2."""
    if not isinstance(node, Scalar) or isinstance(node.value, bool):
        return node
    value = parse_number(node.value) if isinstance(node.value, str) else node.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return replace(node, value=value)


def text(node: Node, _path: Path, _findings: Findings) -> Node:
    """A number or boolean becomes its text; null stays."""
    if isinstance(node, Scalar) and not isinstance(node.value, str) and node.value is not None:
        return replace(node, value=text_of(node.value))
    return node


# Lists


def string_list(node: Node, _path: Path, _findings: Findings) -> Node:
    """A string becomes a list of one."""
    if isinstance(node, Scalar) and node.value is not None:
        return List((replace(node, tag=None),), node.place, node.tag)
    return node


def command(node: Node, path: Path, findings: Findings) -> Node:
    """A command line becomes its words; nothing else of a shell happens to it."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        words = split_words(node.value)
        findings.spend(len(words), node.place, path)
        return List(tuple(Scalar(word, node.place) for word in words), node.place, node.tag)
    return node


# Mappings


def pairs(node: Node, path: Path, findings: Findings) -> Node:
    """`[K=V, K]` becomes `{K: V, K: null}`; a later entry replaces an earlier one."""
    if isinstance(node, List):
        node = _pairs_of_list(node, path, findings)
    if not isinstance(node, Map):
        return node
    entries = {key: text(child, (*path, key), findings) for key, child in node.entries.items()}
    return replace(node, entries=entries)


def _pairs_of_list(node: List, path: Path, findings: Findings) -> Map:
    entries: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    for index, item in enumerate(node.items):
        if not isinstance(item, Scalar) or not isinstance(item.value, str):
            continue
        key, equals, value = item.value.partition("=")
        if not key:
            why, hint = f'"{item.value}" has no name before the "="', "write NAME=value"
            findings.problem(item.place, (*path, index), why, hint)
        elif key.rstrip() != key:
            why = f'the name "{key}" ends with a space'
            findings.problem(item.place, (*path, index), why, "take the space away")
        entries[key] = replace(item, value=value if equals else None, tag=None)
        keys[key] = item.place
    return Map(entries, node.place, keys, node.tag)


def labels(node: Node, path: Path, findings: Findings) -> Node:
    """As `pairs`; a label without a value is the empty string."""
    node = pairs(node, path, findings)
    if not isinstance(node, Map):
        return node
    entries = {key: _emptied(child) for key, child in node.entries.items()}
    return replace(node, entries=entries)


def _emptied(node: Node) -> Node:
    """Return an empty string for null."""
    if isinstance(node, Scalar) and node.value is None and node.tag is not Tag.RESET:
        return replace(node, value="")
    return node


def keyed(node: Node, _path: Path, _findings: Findings) -> Node:
    """`[a, b]` becomes `{a: null, b: null}`."""
    if not isinstance(node, List):
        return node
    names = {str(item.value): item for item in node.items if isinstance(item, Scalar)}
    entries: dict[str, Node] = {name: Scalar(None, item.place) for name, item in names.items()}
    return Map(entries, node.place, _places(names), node.tag)


def _places(items: dict[str, Scalar]) -> dict[str, Place]:
    return {name: item.place for name, item in items.items()}


def depends_on(node: Node, _path: Path, _findings: Findings) -> Node:
    """`[db]` becomes `{db: {condition: service_started, required: true}}`."""
    if not isinstance(node, List):
        return node
    names = {str(item.value): item for item in node.items if isinstance(item, Scalar)}
    entries: dict[str, Node] = {
        name: mapping(item.place, condition="service_started", required=True)
        for name, item in names.items()
    }
    return Map(entries, node.place, _places(names), node.tag)


def env_file(node: Node, path: Path, findings: Findings) -> Node:
    """`a.env` and `[a.env]` become `[{path: a.env}]`."""
    node = string_list(node, path, findings)
    if not isinstance(node, List):
        return node
    items = tuple(
        Map({"path": item}, item.place, {"path": item.place}) if isinstance(item, Scalar) else item
        for item in node.items
    )
    return replace(node, items=items)


def field_of(name: str, of: Rule | None = None) -> Rule:
    """Return the rule that makes a lone value `V` into `{name: V}`."""

    def rule(node: Node, path: Path, findings: Findings) -> Node:
        if not isinstance(node, Scalar) or node.value is None:
            return node
        inner: Node = replace(node, tag=None)
        if of is not None:
            inner = of(inner, (*path, name), findings)
        return Map({name: inner}, node.place, {name: node.place}, node.tag)

    return rule


def mapping(place: Place, **values: str | int | bool | None) -> Map:
    """Return a mapping of scalars that were all written at `place`, in short form."""
    return Map({key: Scalar(value, place) for key, value in values.items()}, place)


def external(node: Node, path: Path, findings: Findings) -> Node:
    """The old `external: {name: x}` becomes `external: true` and `name: x`."""
    old = find(node, "external")
    if not isinstance(node, Map) or not isinstance(old, Map):
        return node
    findings.warning(
        old.place, (*path, "external"), "deprecated", "write `external: true` and `name:`"
    )
    entries = {**node.entries, "external": Scalar(True, old.place)}
    name, given = old.get("name"), node.get("name")
    if name is not None:
        if given is not None and plain(given) != plain(name):
            why = "name and external.name differ"
            findings.problem(old.place, (*path, "external"), why, "write `name:` only")
        entries["name"] = name
    return with_entries(node, entries)


def health_test(node: Node, _path: Path, _findings: Findings) -> Node:
    """A string is a command line for the shell."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        words = (Scalar("CMD-SHELL", node.place), replace(node, tag=None))
        return List(words, node.place, node.tag)
    return node


def gpus(node: Node, path: Path, findings: Findings) -> Node:
    """`all` becomes a list of one entry without conditions."""
    if isinstance(node, Scalar) and node.value == "all":
        return List((mapping(node.place, count=-1),), node.place, node.tag)
    return string_list(node, path, findings)


def texts(node: Node, path: Path, findings: Findings) -> Node:
    """A mapping of numbers and booleans becomes one of their texts; null is the empty string."""
    return labels(node, path, findings)


def option(node: Node, path: Path, findings: Findings) -> Node:
    """A provider's option is a list of texts."""
    node = string_list(node, path, findings)
    if isinstance(node, List):
        items = tuple(text(item, path, findings) for item in node.items)
        return replace(node, items=items)
    return node


def pull_policy(node: Node, _path: Path, _findings: Findings) -> Node:
    if isinstance(node, Scalar) and node.value == "if_not_present":
        return replace(node, value="missing")
    return node


def ssh(node: Node, path: Path, findings: Findings) -> Node:
    """`[default, id=path]` becomes a mapping, in which `default` alone may have no path."""
    node = pairs(node, path, findings)
    for key, child in node.entries.items() if isinstance(node, Map) else ():
        if isinstance(child, Scalar) and child.value is None and key != "default":
            why = f'invalid ssh key "{key}"'
            findings.problem(child.place, path, why, "expected `default` or ID=PATH")
    return node


_BUILD: dict[str, Rule] = {
    "": field_of("context"),
    "args": pairs,
    "labels": labels,
    "additional_contexts": pairs,
    "ssh": ssh,
    "shm_size": size,
    "secrets.*": mounted_file,
    "secrets.*.mode": file_mode,
    "no_cache_filter": string_list,
    "extra_hosts": extra_hosts,
    "provenance": text,
    "sbom": text,
}
_DEPLOY: dict[str, Rule] = {
    "labels": labels,
    "resources.limits.cpus": number,
    "resources.limits.memory": size,
    "resources.reservations.cpus": number,
    "resources.reservations.memory": size,
    "resources.reservations.devices.*": gpu,
    "resources.reservations.devices.*.options": texts,
    "update_config.delay": duration,
    "update_config.monitor": duration,
    "rollback_config.delay": duration,
    "rollback_config.monitor": duration,
    "restart_policy.delay": duration,
    "restart_policy.window": duration,
}
_VOLUMES: dict[str, Rule] = {
    "*": volume,
    "*.volume.labels": labels,
    "*.tmpfs.size": size,
    "*.tmpfs.mode": number_mode,
}
_HOOKS: dict[str, Rule] = {
    f"{hook}.{key}": rule
    for hook in ("post_start.*", "pre_stop.*", "pre_start.*", "develop.watch.*.exec")
    for key, rule in (("command", command), ("environment", pairs))
}


def _below(prefix: str, rules: dict[str, Rule]) -> dict[str, Rule]:
    return {f"{prefix}.{key}" if key else prefix: rule for key, rule in rules.items()}


_SERVICE: dict[str, Rule] = {
    **_below("build", _BUILD),
    **_below("deploy", _DEPLOY),
    **_below("volumes", _VOLUMES),
    **_HOOKS,
    "annotations": labels,
    "blkio_config.device_read_bps.*.rate": size,
    "blkio_config.device_read_iops.*.rate": size,
    "blkio_config.device_write_bps.*.rate": size,
    "blkio_config.device_write_iops.*.rate": size,
    "command": command,
    "configs.*": mounted_file,
    "configs.*.mode": file_mode,
    "cpus": number,
    "depends_on": depends_on,
    "devices.*": device,
    "develop.watch.*.ignore": string_list,
    "develop.watch.*.include": string_list,
    "dns": string_list,
    "dns_search": string_list,
    "entrypoint": command,
    "env_file": env_file,
    "environment": pairs,
    "expose.*": text,
    "extends": field_of("service"),
    "extra_hosts": extra_hosts,
    "gpus": gpus,
    "gpus.*": gpu,
    "gpus.*.options": texts,
    "group_add.*": text,
    "healthcheck.interval": duration,
    "healthcheck.retries": number,
    "healthcheck.start_interval": duration,
    "healthcheck.start_period": duration,
    "healthcheck.test": health_test,
    "healthcheck.timeout": duration,
    "label_file": string_list,
    "labels": labels,
    "logging.options": texts,
    "mem_limit": size,
    "mem_reservation": size,
    "memswap_limit": size,
    "models": keyed,
    "networks": keyed,
    "networks.*.driver_opts": texts,
    "pids_limit": number,
    "ports": ports,
    "provider.options.*": option,
    "pull_policy": pull_policy,
    "secrets.*": mounted_file,
    "secrets.*.mode": file_mode,
    "shm_size": size,
    "stop_grace_period": duration,
    "storage_opt": texts,
    "sysctls": labels,
    "tmpfs": string_list,
}
_RESOURCE: dict[str, Rule] = {"": external, "labels": labels, "driver_opts": texts}
_TOP: dict[str, Rule] = {
    **_below("networks.*", _RESOURCE),
    **_below("volumes.*", _RESOURCE),
    **_below("configs.*", _RESOURCE),
    **_below("secrets.*", _RESOURCE),
    "include.*": field_of("path", string_list),
    "include.*.path": string_list,
    "include.*.env_file": string_list,
}


def _unless_variable(rule: Rule) -> Rule:
    """Return the rule that leaves alone what has a variable in it and so is not known yet."""

    def careful(node: Node, path: Path, findings: Findings) -> Node:
        if has_variable(node) and rule not in _WHOLE:
            return node
        items = node.items if isinstance(node, List) and rule in _OF_ITEMS else ()
        return node if any(map(has_variable, items)) else rule(node, path, findings)

    return careful


_WHOLE = frozenset({string_list, env_file, mounted_file, health_test})
"""Rules that do not look into a string."""
_OF_ITEMS = frozenset({ports, extra_hosts})
"""Rules that look into the strings of a list."""
_ALL = _below("services.*", _SERVICE) | _TOP
RULES: PathTable[Rule] = PathTable(_ALL)
RULES_WITH_VARIABLES: PathTable[Rule] = PathTable(
    {path: _unless_variable(rule) for path, rule in _ALL.items()}
)
