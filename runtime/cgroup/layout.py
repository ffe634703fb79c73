"""Where this machine's cgroup hierarchies are mounted. The parser is pure; `detect` reads mountinfo.

v2       /sys/fs/cgroup itself is the unified hierarchy, with controllers
hybrid   controllers on v1 hierarchies, the unified one beside them without (`/sys/fs/cgroup/unified`)
v1       v1 hierarchies only
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

V1_CONTROLLERS = frozenset(
    ("cpu", "cpuacct", "cpuset", "memory", "pids", "freezer", "devices", "blkio",
     "net_cls", "net_prio", "perf_event", "hugetlb", "rdma", "misc")
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The hierarchies that trice may use."""

    unified: str | None
    """Mount point of the v2 hierarchy."""
    by_controller: Mapping[str, str]
    """v1: controller → mount point; several controllers may share one."""

    @property
    def kind(self) -> str:
        """The word of `HostFacts.cgroup_layout`."""
        if not self.by_controller:
            return "v2"
        return "hybrid" if self.unified else "v1"

    @property
    def v1_mounts(self) -> tuple[str, ...]:
        """The v1 mount points, each once, sorted."""
        return tuple(sorted(set(self.by_controller.values())))


def detect(root: str = "/sys/fs/cgroup") -> Layout:
    """Return the layout of what is mounted at or below `root` in our mount namespace."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mountinfo:
        return parse(mountinfo.read(), root)


def parse(mountinfo: str, root: str) -> Layout:
    """Return the layout that this mountinfo text says (proc(5)).

    Read-only mounts and named hierarchies (`name=systemd`) are left out. Of several mounts of one thing the
    first counts: it is the one that the machine was set up with.
    """
    unified: str | None = None
    by_controller: dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(tail) < 3:
            continue
        point = fields[4]
        if point != root and not point.startswith(f"{root}/"):
            continue
        if "ro" in fields[5].split(","):
            continue
        if tail[0] == "cgroup2":
            unified = unified or point
        elif tail[0] == "cgroup":
            for controller in V1_CONTROLLERS.intersection(tail[2].split(",")):
                by_controller.setdefault(controller, point)
    return Layout(unified=unified, by_controller=MappingProxyType(by_controller))
