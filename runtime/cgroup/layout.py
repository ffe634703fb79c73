"""Where this machine's cgroup hierarchies are mounted, and where in them an instance has its groups.

Pure but for `detect` and `own_groups`.

v2       /sys/fs/cgroup itself is the unified hierarchy, with controllers
hybrid   controllers on v1 hierarchies, the unified one beside them without (`/sys/fs/cgroup/unified`)
v1       v1 hierarchies only

An instance has one group in each hierarchy, its home there. Where a service manager looks after the hierarchy it is
what was delegated to us, else a top-level group of our own:

    <hierarchy>/trice/{system,c}                          nobody else looks after it
    <hierarchy>/system.slice/trice.scope/{system,c}       systemd does (a hierarchy that it leaves alone: as above)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

UNIFIED_KIND = ""
"""What /proc/PID/cgroup has in the place of the controllers for the v2 hierarchy."""
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
    named: tuple[str, ...] = ()
    """The mount points of v1 hierarchies without controllers ("name=systemd")."""
    is_read_only: bool = False
    """There are hierarchies that cannot be written to; they are left out."""
    groups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Mount point → the group in that hierarchy of the process that was asked about."""

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

    def home(self, mount: str, name: str) -> str:
        """Return the instance's group in this hierarchy, by its path there: delegated, or at the top."""
        return delegated(self.groups.get(mount, ""), name) or f"/{name}"

    def homes(self, name: str) -> Mapping[str, str]:
        """Return the instance's directory in every hierarchy that it has groups in, by mount point.

        Of hierarchies without controllers those where something was delegated, and those at whose root we would be:
        whose group is the root can reach the release_agent; elsewhere a service manager has put us.
        """
        own = f"/{name}/"
        named = [
            mount
            for mount in self.named
            if (group := self.groups.get(mount, "")) == "/"
            or group.startswith(own)
            or delegated(group, name)
        ]
        mounts = (*((self.unified,) if self.unified else ()), *self.v1_mounts, *named)
        return MappingProxyType({mount: f"{mount}{self.home(mount, name)}" for mount in mounts})

    def delegated(self, name: str) -> tuple[str, ...]:
        """Return those of the instance's directories that a service manager has made for it; empty: it has no unit."""
        return tuple(
            f"{mount}{group}"
            for mount, inside in self.groups.items()
            if (group := delegated(inside, name))
        )


def scope_of(name: str) -> str:
    """Return the name of the unit that holds everything of an instance on a machine with systemd."""
    return f"{name}.scope"


def delegated(group: str, name: str) -> str:
    """Return the instance's scope that this group is in, or is; empty when it is in none."""
    parts = group.split("/")
    scope = scope_of(name)
    return "/".join(parts[: parts.index(scope) + 1]) if scope in parts else ""


def detect(root: str = "/sys/fs/cgroup", groups: str = "") -> Layout:
    """Return the layout of what is mounted at or below `root` in our mount namespace.

    `groups` is the text of a /proc/PID/cgroup that says where the instance has been put; without it our own counts.
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mountinfo:
        return parse(mountinfo.read(), root, groups or own_groups())


def own_groups() -> str:
    """Return the text of /proc/self/cgroup (cgroups(7))."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def parse(mountinfo: str, root: str, groups: str = "") -> Layout:
    """Return the layout that these texts of mountinfo and of a process's cgroup file say (proc(5)).

    Read-only mounts are left out. Of several mounts of one thing the first counts: it is the one that the machine was
    set up with.
    """
    rows = (line.split(":", 2) for line in groups.splitlines())
    inside = {kind: row[2] for row in rows if len(row) == 3 for kind in row[1].split(",")}
    unified: str | None = None
    by_controller: dict[str, str] = {}
    named: list[str] = []
    found: dict[str, str] = {}
    is_read_only = False
    for point, kinds, options in _mounts(mountinfo, root):
        if "ro" in options:
            is_read_only = True
            continue
        if UNIFIED_KIND in kinds:
            unified = unified or point
        for controller in V1_CONTROLLERS.intersection(kinds):
            by_controller.setdefault(controller, point)
        if any(kind.startswith("name=") and kind in inside for kind in kinds):
            named.append(point)
        for kind in inside.keys() & kinds:
            found[point] = inside[kind]
    return Layout(
        unified=unified,
        by_controller=MappingProxyType(by_controller),
        named=tuple(named),
        is_read_only=is_read_only,
        groups=MappingProxyType(found),
    )


def _mounts(mountinfo: str, root: str) -> Iterator[tuple[str, frozenset[str], list[str]]]:
    """Yield the hierarchies mounted at or below `root`, what /proc/PID/cgroup may call them, and mount options."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(tail) < 3:
            continue
        point, options = fields[4], fields[5].split(",")
        if point != root and not point.startswith(f"{root}/"):
            continue
        if tail[0] == "cgroup2":
            yield point, frozenset((UNIFIED_KIND,)), options
        elif tail[0] == "cgroup":
            yield point, frozenset(tail[2].split(",")), options
