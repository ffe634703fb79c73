"""The running containers whose namespaces another one joins, found at each of its starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from runtime.container.compile import Joined
from runtime.errors import InvalidState
from runtime.spec.config import OciConfig

PREFIX = "container:"
_KINDS = ("ipc", "mnt", "net", "pid")


def others(config: OciConfig) -> Iterator[str]:
    """Yield the ids or names that the config's namespaces are shared with, each once."""
    paths = dict.fromkeys(each.path for each in config.linux.namespaces)
    yield from (path.removeprefix(PREFIX) for path in paths if path.startswith(PREFIX))


def joined(
    config: OciConfig, pid_of: Callable[[str], tuple[str, int | None]]
) -> Mapping[str, Joined]:
    """Return whom each "container:NAME" of the config means.

    `pid_of` gives the full id of a container and the pid of its first process, None when it does not run. Raises
    InvalidState for one that does not run, and what `pid_of` raises.
    """
    return {f"{PREFIX}{name}": _joined(name, *pid_of(name)) for name in others(config)}


def pid_namespaces(config: OciConfig, joined: Mapping[str, Joined]) -> frozenset[int]:
    """Return the inodes of the pid namespaces, of those in `joined`, that the config's process will be in."""
    paths = {entry.path for entry in config.linux.namespaces if entry.type == "pid"}
    return frozenset(joined[path].inodes["pid"] for path in paths & joined.keys())


def _joined(name: str, container: str, pid: int | None) -> Joined:
    if pid is None:
        raise InvalidState(f"container {name}", "not running", "share namespaces of")
    try:
        inodes = {kind: os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in _KINDS}
        # Looked at afterwards: so they are its namespaces, even if the pid is somebody else's by now.
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as groups:
            is_its = container in groups.read()
    except FileNotFoundError:
        is_its = False
    if not is_its:
        raise InvalidState(f"container {name}", "not running", "share namespaces of")
    return Joined(pid=pid, inodes=inodes)
