"""A bundle's config beside this host: what is changed so that the container holds, and what cannot be given.

Whoever calls is told of both: a config that asks for more than is safe is not refused where a little less does as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from runtime.api import HostFacts
from runtime.container.privileges import may_mount
from runtime.spec.config import Namespace, OciConfig

_CGROUP_KINDS = ("cgroup", "cgroup2")
_FILES = {"network": "net", "ipc": "ipc", "uts": "uts"}
"""Namespaces that have sysctls, as /proc/PID/ns calls them."""


def guarded(config: OciConfig, facts: HostFacts) -> tuple[OciConfig, tuple[str, ...]]:
    """Return the config as it is run, and a line for each thing that is otherwise in it (security.md row 8)."""
    told = tuple(_writable_groups(config))
    kinds = {namespace.type for namespace in config.linux.namespaces}
    if facts.cgroup_layout == "v2" or "cgroup" in kinds or not may_mount(config):
        return config, told
    # With CAP_SYS_ADMIN it may mount v1 hierarchies, and from the host's namespace these begin at their roots.
    own = (*config.linux.namespaces, Namespace(type="cgroup"))
    changed = msgspec.structs.replace(
        config, linux=msgspec.structs.replace(config.linux, namespaces=own)
    )
    why = "it has CAP_SYS_ADMIN, so it gets a cgroup namespace of its own"
    return changed, (*told, f"linux.namespaces: {why}")


def _writable_groups(config: OciConfig) -> Iterator[str]:
    for index, mount in enumerate(config.mounts):
        if mount.type in _CGROUP_KINDS and "ro" not in mount.options:
            yield f"mounts[{index}].options: {mount.destination} is read-only in a container"


def shortfalls(config: OciConfig, facts: HostFacts) -> Iterator[str]:
    """Yield what the process asks for and we do not have to give: limits, capabilities (config.md §Process)."""
    process = config.process
    if process is None:
        return
    for index, limit in enumerate(process.rlimits):
        most = facts.hard_limits.get(limit.type.removeprefix("RLIMIT_"))
        if most is not None and limit.hard > most:
            why = f"{limit.hard} is more than this host lets us give; it is {most}"
            yield f"process.rlimits[{index}]: {limit.type} of {why}"
    if facts.capabilities is None or process.capabilities is None:
        return
    held = {f"CAP_{name}" for name in facts.capabilities}
    asked = {name for names in msgspec.structs.astuple(process.capabilities) for name in names}
    if missing := sorted(asked - held):
        yield f"process.capabilities: {', '.join(missing)} cannot be granted on this host"


def apart(config: OciConfig) -> frozenset[str]:
    """Return the kinds of namespaces that are joined by path and are not our own."""
    return frozenset(
        namespace.type
        for namespace in config.linux.namespaces
        if namespace.path.startswith("/")
        and namespace.type in _FILES
        and _inode(namespace.path) not in (None, _inode(f"/proc/self/ns/{_FILES[namespace.type]}"))
    )


def _inode(path: str) -> int | None:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None
