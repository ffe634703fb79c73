"""What a long life leaves behind in an instance: asked of the kernel twice, and compared.

Descriptors, private memory and threads of keeper and manager; groups, also those that are removed and that the kernel
still holds; mounts that anybody there sees; files and directories of the instance.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.paths import Paths
from tests.support.instance import residents
from tests.support.machine import hierarchies


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One resident process."""

    descriptors: tuple[str, ...]
    """What each is, sorted; numbers of anonymous ones left out."""
    threads: int
    private_kib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """One look at an instance. Everything but memory and threads must be the same after any number of containers."""

    keeper: Process
    manager: Process
    groups: tuple[str, ...]
    """Below the instance's own, in every hierarchy."""
    dying_groups: int
    """nr_dying_descendants of cgroup.stat (cgroup-v2.rst): removed, and still held by something."""
    mounts: tuple[str, ...]
    """That name the instance's root, in the mount namespaces of this process, keeper and manager."""
    files: tuple[str, ...]
    """All that is in its run and lib directories."""

    def more_than(self, before: Footprint) -> dict[str, object]:
        """Return what there is more of than before, by what it is; memory and threads are the caller's."""
        found: dict[str, object] = {
            "descriptors of the keeper": _more(before.keeper.descriptors, self.keeper.descriptors),
            "descriptors of the manager": _more(
                before.manager.descriptors, self.manager.descriptors
            ),
            "groups": _more(before.groups, self.groups),
            "dying groups": max(0, self.dying_groups - before.dying_groups),
            "mounts": _more(before.mounts, self.mounts),
            "files": _more(before.files, self.files),
        }
        return {what: value for what, value in found.items() if value}


def footprint(paths: Paths, root: Path) -> Footprint:
    """Look at an instance whose keeper and manager run."""
    keeper, manager = residents(paths.cgroup_name)
    tops = [Path(top, paths.cgroup_name) for top in hierarchies()]
    return Footprint(
        keeper=_process(keeper),
        manager=_process(manager),
        groups=tuple(sorted(folder for top in tops for folder, _, _ in os.walk(top))),
        dying_groups=sum(map(_dying, tops)),
        mounts=tuple(
            sorted(
                line.split(" ", 5)[4]
                for who in ("self", str(keeper), str(manager))
                for line in Path(f"/proc/{who}/mountinfo").read_text().splitlines()
                if str(root) in line
            )
        ),
        files=tuple(sorted(_files(paths.run) + _files(paths.lib))),
    )


def _process(pid: int) -> Process:
    folder = Path(f"/proc/{pid}/fd")
    found = []
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(entry).partition(":[")[0])
    return Process(
        descriptors=tuple(sorted(found)),
        threads=int(_field(pid, "Threads")),
        private_kib=private_kib(pid),
    )


def private_kib(pid: int) -> int:
    """Return what would be free without this process, in KiB (proc(5), smaps_rollup)."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_"))


def _field(pid: int, name: str) -> str:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(row for row in rows if row.startswith(f"{name}:")).split()[1]


def _dying(top: Path) -> int:
    """Return the count of a v2 group; the hierarchies of v1 have none."""
    with suppress(OSError):
        for row in (top / "cgroup.stat").read_text().splitlines():
            name, _, value = row.partition(" ")
            if name == "nr_dying_descendants":
                return int(value)
    return 0


def _files(top: Path) -> list[str]:
    return [f"{folder}/{name}" for folder, below, files in os.walk(top) for name in below + files]


def _more(before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    """Return what is there more often than before, each as often as that."""
    rest = list(after)
    for item in before:
        with suppress(ValueError):
            rest.remove(item)
    return rest
