"""Where this machine's cgroup hierarchies are mounted. The parser is pure; `detect` reads mountinfo.

v2       /sys/fs/cgroup itself is the unified hierarchy, with controllers
hybrid   controllers on v1 hierarchies, the unified one beside them without (`/sys/fs/cgroup/unified`)
v1       v1 hierarchies only
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    named: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """v1 hierarchies without controllers ("name=systemd"): mount point → the group in it that we are in."""

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
    with (
        open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mountinfo,
        open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as groups,
    ):
        return parse(mountinfo.read(), root, groups.read())


def parse(mountinfo: str, root: str, groups: str = "") -> Layout:
    """Return the layout that these texts of mountinfo and of our own cgroup file say (proc(5)).

    Read-only mounts are left out. Of several mounts of one thing the first counts: it is the one that the machine was
    set up with.
    """
    rows = (line.split(":", 2) for line in groups.splitlines())
    own = {row[1]: row[2] for row in rows if len(row) == 3}
    own_named = {name for name in own if name.startswith("name=")}
    named: dict[str, str] = {}
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
            for name in own_named.intersection(tail[2].split(",")):
                named[point] = own[name]
    return Layout(
        unified=unified,
        by_controller=MappingProxyType(by_controller),
        named=MappingProxyType(named),
    )
