"""Checks of single services and resources that shapes cannot say (compose-format §24)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

from orchestrator.load.normalise import services_of
from orchestrator.load.references import resources
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import Findings, List, Map, Node, Path, Scalar, find, is_null
from orchestrator.load.validate import meant

_SINGULAR = {
    "networks": "network",
    "volumes": "volume",
    "configs": "config",
    "secrets": "secret",
    "models": "model",
}
_HEADS = ("NONE", "CMD", "CMD-SHELL")


class Context:
    """What a check may look at beside its service."""

    __slots__ = ("defined", "findings", "services", "tree")

    def __init__(self, tree: Map, defined: Collection[str], findings: Findings) -> None:
        self.tree = tree
        self.services = services_of(tree)
        self.defined = defined
        """All services of the files, enabled or not."""
        self.findings = findings

    def names(self, section: str) -> tuple[str, ...]:
        node = self.tree.get(section)
        return tuple(node.entries) if isinstance(node, Map) else ()


Check: TypeAlias = Callable[[Context, Map, Path], None]


def resources_exist(context: Context, service: Map, path: Path) -> None:
    for reference in resources(service):
        known = context.names(reference.section)
        if reference.name not in known:
            why = f"undefined {_SINGULAR[reference.section]} {reference.name}"
            hint = meant(reference.name, known) or f"define it below `{reference.section}:`"
            context.findings.problem(reference.place, (*path, *reference.path), why, hint)


def one_way_to_the_network(context: Context, service: Map, path: Path) -> None:
    mode, networks = service.get("network_mode"), service.get("networks")
    if mode is None or is_null(mode) or not isinstance(networks, Map) or not networks.entries:
        return
    why = "network_mode and networks exclude each other"
    context.findings.problem(mode.place, (*path, "network_mode"), why, "take one of the two away")


def one_dockerfile(context: Context, service: Map, path: Path) -> None:
    build = service.get("build")
    if isinstance(build, Map) and {"dockerfile", "dockerfile_inline"} <= build.entries.keys():
        why = "dockerfile and dockerfile_inline exclude each other"
        place = build.key_place("dockerfile_inline")
        context.findings.problem(place, (*path, "build", "dockerfile_inline"), why)


def contexts_exist(context: Context, service: Map, path: Path) -> None:
    """`service:NAME` as a build context needs a service that is built."""
    contexts = find(service, "build", "additional_contexts")
    for key, node in contexts.entries.items() if isinstance(contexts, Map) else ():
        value = text_of(node.value) if isinstance(node, Scalar) else ""
        if not value.startswith("service:"):
            continue
        name = value.removeprefix("service:")
        if name not in context.services:
            why = f'undefined service "{name}"'
        elif "build" not in context.services[name].entries:
            why = f'service "{name}" is not built'
        else:
            continue
        where = (*path, "build", "additional_contexts", key)
        context.findings.problem(node.place, where, why)


def platform_is_built(context: Context, service: Map, path: Path) -> None:
    platform, platforms = service.get("platform"), find(service, "build", "platforms")
    if not isinstance(platform, Scalar) or not isinstance(platforms, List) or not platforms.items:
        return
    built = [text_of(item.value) for item in platforms.items if isinstance(item, Scalar)]
    if platform.value and platform.value not in built:
        why = f"{platform.value} is not in build.platforms"
        context.findings.problem(platform.place, (*path, "platform"), why)


def health_test_has_a_head(context: Context, service: Map, path: Path) -> None:
    test = find(service, "healthcheck", "test")
    if not isinstance(test, List) or not test.items:
        return
    first = test.items[0]
    if not isinstance(first, Scalar) or first.value not in _HEADS:
        why = 'must begin with "CMD", "CMD-SHELL" or "NONE"'
        hint = "or write the command as one string"
        context.findings.problem(first.place, (*path, "healthcheck", "test"), why, hint)


def mounts_are_complete(context: Context, service: Map, path: Path) -> None:
    """Every mount has a target, and each target is there once over volumes and tmpfs."""
    seen: dict[str, str] = {}
    tmpfs = service.get("tmpfs")
    for index, item in enumerate(tmpfs.items if isinstance(tmpfs, List) else ()):
        if isinstance(item, Scalar):
            _take(
                context, seen, text_of(item.value).partition(":")[0], item, (*path, "tmpfs", index)
            )
    volumes = service.get("volumes")
    for index, item in enumerate(volumes.items if isinstance(volumes, List) else ()):
        where = (*path, "volumes", index)
        target, kind, source = find(item, "target"), find(item, "type"), find(item, "source")
        if not isinstance(target, Scalar) or not target.value:
            context.findings.problem(item.place, where, "has no target", "add `target: PATH`")
            continue
        if isinstance(kind, Scalar) and kind.value == "bind" and _is_blank(source):
            why, hint = "a bind mount without a source", "add `source: PATH`"
            context.findings.problem(item.place, where, why, hint)
        _take(context, seen, text_of(target.value), item, where)


def _is_blank(node: Node | None) -> bool:
    return node is None or (isinstance(node, Scalar) and node.value in (None, ""))


def _take(context: Context, seen: dict[str, str], target: str, node: Node, path: Path) -> None:
    if target in seen:
        why = f"{target} is mounted already by {seen[target]}"
        context.findings.problem(node.place, path, why, "take one of the two away")
    seen.setdefault(target, str(path[2]))


def devices_are_counted_once(context: Context, service: Map, path: Path) -> None:
    """A reservation says how many or which, not both."""
    reserved = ("deploy", "resources", "reservations", "devices")
    for keys in (("gpus",), reserved):
        node = find(service, *keys)
        for index, item in enumerate(node.items if isinstance(node, List) else ()):
            if isinstance(item, Map) and {"count", "device_ids"} <= item.entries.keys():
                why = "count and device_ids exclude each other"
                where = (*path, *keys, index)
                context.findings.problem(item.place, where, why, "take one of the two away")


def watches_are_complete(context: Context, service: Map, path: Path) -> None:
    watch = find(service, "develop", "watch")
    for index, item in enumerate(watch.items if isinstance(watch, List) else ()):
        where = (*path, "develop", "watch", index)
        action, target, source = find(item, "action"), find(item, "target"), find(item, "path")
        needs_target = isinstance(action, Scalar) and action.value not in ("rebuild", "restart")
        if needs_target and _is_blank(target):
            context.findings.problem(item.place, where, "has no target", "add `target: PATH`")
        if isinstance(source, Scalar) and not text_of(source.value).strip():
            context.findings.problem(source.place, (*where, "path"), "must not be blank")


# Resources at top level

_SOURCES = {"configs": ("file", "environment", "content"), "secrets": ("file", "environment")}
_WITH_EXTERNAL = frozenset({"name", "external"})


def check_sources(context: Context) -> None:
    """Configs and secrets come from one place; an external volume has no other attributes."""
    for section, keys in _SOURCES.items():
        for name, node in _resources(context, section):
            _one_source(context, node, (section, name), keys)
    for name, node in _resources(context, "volumes"):
        if not _is_external(node):
            continue
        for key in node.entries:
            if key not in _WITH_EXTERNAL and not key.startswith("x-"):
                place, where = node.key_place(key), ("volumes", name, key)
                why = "has no effect on an external volume"
                context.findings.problem(place, where, why, "take it or `external` away")


def _one_source(context: Context, node: Map, path: Path, keys: tuple[str, ...]) -> None:
    given = [key for key in keys if node.get(key) is not None]
    listed = f"{', '.join(keys[:-1])} and {keys[-1]}"
    if len(given) > 1:
        place, why = node.key_place(given[1]), f"{listed} exclude each other"
        context.findings.problem(place, path, why, "keep one of them")
    elif not given and not _is_external(node) and "driver" not in node.entries:
        either = listed.replace(" and ", " or ")
        context.findings.problem(node.place, path, f"says nothing of its content: set {either}")


def _resources(context: Context, section: str) -> list[tuple[str, Map]]:
    node = context.tree.get(section)
    entries = node.entries if isinstance(node, Map) else {}
    return [(name, body) for name, body in entries.items() if isinstance(body, Map)]


def _is_external(node: Map) -> bool:
    external = node.get("external")
    return isinstance(external, Scalar) and external.value is True
