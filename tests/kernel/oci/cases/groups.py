"""config-linux.md §Control groups: the path, and every limit, asked of the group that /proc tells the process is in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.kernel.oci.case import Case, Refused, Says, Values, story
from tests.support.oci import Oci
from tests.support.sandbox import paths_of

_PATH = "config-linux.md §Cgroups Path"
_MEMORY = "config-linux.md §Memory"
_CPU = "config-linux.md §CPU"
_IO = "config-linux.md §Block IO"
_PIDS = "config-linux.md §PIDs"
_HUGE = "config-linux.md §Huge page limits"
_NETWORK = "config-linux.md §Network"
_RDMA = "config-linux.md §RDMA"
_UNIFIED = "config-linux.md §Unified"
_OWNER = "config-linux.md §Cgroup ownership"

_MIB = 1 << 20
_ROOT = Path("/sys/fs/cgroup")


def group_of(pid: int, controller: str) -> Path:
    """Return the directory of the group of this controller that the process is in."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path(f"{_ROOT}/{names.removeprefix('name=')}{path}")
    unified = _ROOT / "unified" if (_ROOT / "unified").is_dir() else _ROOT
    path = next(
        line.partition("::")[2]
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        if line.startswith("0::")
    )
    return Path(f"{unified}{path}")


def _limits(config: Values, files: dict[str, str]) -> Callable[[Oci], None]:
    """Ask files of the group: "memory.limit_in_bytes" and "memory.max" both, whichever of them this layout has."""

    def tell(oci: Oci) -> None:
        oci.put({f"linux.resources.{key}": value for key, value in config.items()})
        pid = oci.start()
        found = {
            name: path.read_text().strip()
            for name in files
            if (path := group_of(pid, name.split(".")[0]) / name).exists()
        }
        assert found
        assert found == {name: files[name] for name in found}

    return tell


def _limit(
    section: str, demand: str, config: Values, *, needs: tuple[str, ...] = (), **files: str
) -> Case:
    named = {name.replace("__", "."): text for name, text in files.items()}
    return story(section, demand, is_for_vm=True, needs=needs)(_limits(config, named))


def _top(oci: Oci) -> str:
    """Return a path of the test's own for cgroupsPath."""
    return f"/{oci.root.name}"


def _remove_top(oci: Oci) -> None:
    for folder in _ROOT.iterdir():
        for place in (folder / oci.root.name, _ROOT / oci.root.name):
            if place.is_dir():
                place.rmdir()


@story(_PATH, "an absolute path is that place below each hierarchy's mount, made with what is missing above",
       is_for_vm=True)  # fmt: skip
def _absolute(oci: Oci) -> None:
    path = f"{_top(oci)}/a"
    oci.put({"linux.cgroupsPath": path, "linux.resources": {"memory": {"limit": 64 * _MIB}}})
    try:
        pid = oci.start()
        for controller in ("memory", "pids"):
            assert str(group_of(pid, controller)).endswith(path)
        oci("delete", "--force", "c1")
        assert not group_of(os.getpid(), "memory").joinpath(path).exists()
    finally:
        _remove_top(oci)


@story(_PATH, "the same relative path is the same place each time")
def _relative(oci: Oci) -> None:
    oci.put({"linux.cgroupsPath": "mine"})
    places = set()
    for _ in range(2):
        places.add(group_of(oci.start(), "memory"))
        oci("delete", "--force", "c1")
    assert len(places) == 1
    assert str(places.pop()).endswith(f"/{paths_of(oci.root).cgroup_name}/c/mine")


@story(_PATH, "without a path it is by the container's id below the instance's group")
def _default(oci: Oci) -> None:
    place = group_of(oci.start(), "memory")
    assert str(place).endswith(f"/{paths_of(oci.root).cgroup_name}/c/c1")


@story(_PATH, "a group that has processes is refused, and they stay in it")
def _populated(oci: Oci) -> None:
    path = f"{_top(oci)}/a"
    oci.put({"linux.cgroupsPath": path})
    try:
        oci.start("c1")
        assert f"are in {path}" in oci.create("c2", code=1)
        assert oci.status("c1") == "running"
        oci("delete", "--force", "c1")
    finally:
        _remove_top(oci)


@story(_MEMORY, "a process past the limit is killed by the kernel, and no other",
       config={"linux.resources.memory": {"limit": 16 * _MIB, "swap": 16 * _MIB}}, is_for_vm=True)  # fmt: skip
def _oom(oci: Oci) -> None:
    # One process alone eats (tail keeps what it reads until a newline comes): of two, the second may ask for a page
    # when the first is killed but what it had is not yet given back, and the kernel then takes another, often pid 1.
    oci.run_args("sh", "-c", "tail /dev/zero; echo went on")
    assert oci.run() == "went on\n"


@story(_OWNER, "a read-only cgroup mount: the group's owner is as it was", config={
    "mounts+": {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
    "process.user": {"uid": 1000, "gid": 1000}})  # fmt: skip
def _owner(oci: Oci) -> None:
    group = group_of(oci.start(), "memory")
    assert {group.stat().st_uid, (group / "cgroup.procs").stat().st_uid} == {0}


@story(_MEMORY, "limits that are not given are not set", is_for_vm=True)
def _nothing_set(oci: Oci) -> None:
    pid = oci.start()
    memory = group_of(pid, "memory")
    for name in ("memory.limit_in_bytes", "memory.max"):
        if (memory / name).exists():
            text = (memory / name).read_text().strip()
            assert text == "max" or int(text) > 1 << 60
    assert (group_of(pid, "pids") / "pids.max").read_text() == "max\n"


@story(_IO, "rates of a device, by bytes and by operations", is_for_vm=True)
def _throttles(oci: Oci) -> None:
    number = _a_disk()
    major, minor = map(int, number.split(":"))
    device = {"major": major, "minor": minor}
    oci.put({"linux.resources.blockIO": {
        f"throttle{kind}Device": [{**device, "rate": rate}]
        for kind, rate in (("ReadBps", 1 << 20), ("WriteBps", 2 << 20), ("ReadIOPS", 100), ("WriteIOPS", 200))
    }})  # fmt: skip
    pid = oci.start()
    group = group_of(pid, "blkio")
    if (group / "io.max").exists():
        assert (
            group / "io.max"
        ).read_text() == f"{number} rbps=1048576 wbps=2097152 riops=100 wiops=200\n"
        return
    for name, rate in (
        ("read_bps", 1 << 20),
        ("write_bps", 2 << 20),
        ("read_iops", 100),
        ("write_iops", 200),
    ):
        assert (group / f"blkio.throttle.{name}_device").read_text() == f"{number} {rate}\n"


def _a_disk() -> str:
    """Return the numbers of a whole disk, not a partition."""
    return next(
        (Path("/sys/block") / name / "dev").read_text().strip()
        for name in sorted(os.listdir("/sys/block"))
    )


_CONTROLLER = {"memory__limit_in_bytes": str(64 * _MIB), "memory__max": str(64 * _MIB)}

CASES: tuple[Case, ...] = (
    _absolute,
    _relative,
    _default,
    _populated,
    Refused(section=_PATH, demand="a path that leads out is refused", config={"linux.cgroupsPath": "/../../escape"},
            says="linux.cgroupsPath"),
    Refused(section=_PATH, demand="a relative path of several names is refused",
            config={"linux.cgroupsPath": "a/b"}, says="linux.cgroupsPath", differs="relative-cgroups-path"),
    Refused(section=_PATH, demand="a systemd slice is refused",
            config={"linux.cgroupsPath": "machine.slice:crio:abc"}, says="--cgroup-manager=cgroupfs",
            differs="systemd"),
    _owner,
    _nothing_set,
    _limit(_MEMORY, "limit", {"memory": {"limit": 64 * _MIB}}, **_CONTROLLER),
    _limit(_MEMORY, "reservation", {"memory": {"limit": 64 * _MIB, "reservation": 32 * _MIB}},
           memory__soft_limit_in_bytes=str(32 * _MIB), memory__low=str(32 * _MIB)),
    _limit(_MEMORY, "swap is memory and swap together", {"memory": {"limit": 64 * _MIB, "swap": 96 * _MIB}},
           memory__memsw__limit_in_bytes=str(96 * _MIB), memory__swap__max=str(32 * _MIB), **_CONTROLLER),
    story(_MEMORY, "-1 is no limit")(_limits({"memory": {"limit": -1, "swap": -1}},
                                             {"memory.limit_in_bytes": str((1 << 63) - 4096), "memory.max": "max"})),
    story(_MEMORY, "swappiness", needs=("cgroup_v1",))(
        _limits({"memory": {"limit": 64 * _MIB, "swappiness": 10}}, {"memory.swappiness": "10"})),
    story(_MEMORY, "disableOOMKiller", needs=("cgroup_v1",))(
        _limits({"memory": {"limit": 64 * _MIB, "disableOOMKiller": True}},
                {"memory.oom_control": "oom_kill_disable 1\nunder_oom 0\noom_kill 0"})),
    Refused(section=_MEMORY, demand="swappiness is an error on v2, which has none", needs=("cgroup_v2",),
            config={"linux.resources.memory": {"swappiness": 10}}, says="swappiness", is_for_vm=True),
    Refused(section=_MEMORY, demand="disableOOMKiller is an error on v2, which has none", needs=("cgroup_v2",),
            config={"linux.resources.memory": {"disableOOMKiller": True}}, says="disableOOMKiller", is_for_vm=True),
    _limit(_MEMORY, "useHierarchy and checkBeforeUpdate say what is so anyway",
           {"memory": {"limit": 64 * _MIB, "useHierarchy": True, "checkBeforeUpdate": True}}, **_CONTROLLER),
    Refused(section=_MEMORY, demand="useHierarchy false is refused",
            config={"linux.resources.memory": {"useHierarchy": False}}, says="useHierarchy", differs="memory-old"),
    Refused(section=_MEMORY, demand="kernel is refused", config={"linux.resources.memory": {"kernel": 1 << 24}},
            says="memory.kernel", differs="memory-old"),
    Refused(section=_MEMORY, demand="kernelTCP is refused", config={"linux.resources.memory": {"kernelTCP": 1 << 24}},
            says="memory.kernelTCP", differs="memory-old"),
    Says(section=_MEMORY, demand="kernel and kernelTCP of -1 are no limit, and taken",
         config={"linux.resources.memory": {"kernel": -1, "kernelTCP": -1}}, script="echo ran", expected="ran\n"),
    Refused(section=_MEMORY, demand="a limit in which no program can start is refused",
            config={"linux.resources.memory": {"limit": 4096}}, says="4096 bytes is less than the minimum"),
    _oom,
    _limit(_CPU, "shares", {"cpu": {"shares": 512}}, cpu__shares="512", cpu__weight="20"),
    _limit(_CPU, "quota and period", {"cpu": {"quota": 50_000, "period": 200_000}}, cpu__cfs_quota_us="50000",
           cpu__cfs_period_us="200000", cpu__max="50000 200000"),
    _limit(_CPU, "a quota of -1 is none", {"cpu": {"quota": -1}}, cpu__cfs_quota_us="-1", cpu__max="max 100000"),
    _limit(_CPU, "burst", {"cpu": {"quota": 50_000, "period": 100_000, "burst": 20_000}},
           cpu__cfs_burst_us="20000", cpu__max__burst="20000"),
    Refused(section=_CPU, demand="a burst of more than the quota is an error",
            config={"linux.resources.cpu": {"quota": 50_000, "burst": 60_000}}, says="burst"),
    _limit(_CPU, "idle", {"cpu": {"idle": 1}}, cpu__idle="1"),
    _limit(_CPU, "cpus and mems", {"cpu": {"cpus": "0", "mems": "0"}}, cpuset__cpus="0", cpuset__mems="0"),
    Refused(section=_CPU, demand="a list of processors that is none is refused",
            config={"linux.resources.cpu": {"cpus": "a"}}, says="'a' is no list of processors"),
    Refused(section=_CPU, demand="a list of nodes that is none is refused",
            config={"linux.resources.cpu": {"mems": "a"}}, says="'a' is no list"),
    Refused(section=_CPU, demand="realtimeRuntime is an error where the kernel gives groups no such time",
            config={"linux.resources.cpu": {"realtimeRuntime": 1 << 40}}, says="", is_for_vm=True),
    _limit(_PIDS, "limit", {"pids": {"limit": 50}}, pids__max="50"),
    _limit(_PIDS, "-1 is no limit", {"pids": {"limit": -1}}, pids__max="max"),
    Says(section=_PIDS, demand="a fork past the limit fails", config={"linux.resources.pids": {"limit": 3}},
         script="(sleep 9 & sleep 9 & sleep 9 & sleep 9) 2>/dev/null; echo $?", expected="2\n"),
    _limit(_IO, "weight", {"blockIO": {"weight": 200}}, blkio__bfq__weight="200", blkio__weight="200",
           io__bfq__weight="default 200", io__weight="default 1920"),
    _throttles,
    Refused(section=_IO, demand="leafWeight is refused", config={"linux.resources.blockIO": {"leafWeight": 10}},
            says="leafWeight", differs="leaf-weight"),
    _limit(_HUGE, "limits by page size", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * _MIB}]},
           needs=("hugetlb",), hugetlb__2MB__rsvd__limit_in_bytes=str(4 * _MIB), hugetlb__2MB__rsvd__max=str(4 * _MIB)),
    Refused(section=_HUGE, demand="a page size that the kernel does not have is an error",
            config={"linux.resources.hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}, says="hugetlb"),
    Refused(section=_HUGE, demand="a page size that is none is refused",
            config={"linux.resources.hugepageLimits": [{"pageSize": "../x", "limit": 1}]}, says="pageSize"),
    Refused(section=_NETWORK, demand="classID is an error where there is no net_cls hierarchy",
            config={"linux.resources.network": {"classID": 1}}, says="net_cls"),
    Refused(section=_NETWORK, demand="priorities are an error where there is no net_prio hierarchy",
            config={"linux.resources.network": {"priorities": [{"name": "lo", "priority": 1}]}}, says="net_prio"),
    Refused(section=_RDMA, demand="it is an error where there is no rdma controller",
            config={"linux.resources.rdma": {"mlx5": {"hcaHandles": 1}}}, says="rdma"),
    story(_UNIFIED, "files of the group are written as they are given", needs=("cgroup_v2",), is_for_vm=True)(
        _limits({"unified": {"memory.high": str(32 * _MIB), "cpu.weight": "77"}},
                {"memory.high": str(32 * _MIB), "cpu.weight": "77"})),
    Refused(section=_UNIFIED, demand="a controller that is not there is an error", needs=("cgroup_v2",),
            config={"linux.resources.unified": {"fancy.max": "1"}}, says="fancy", is_for_vm=True),
    Refused(section=_UNIFIED, demand="a file that is not there is an error", needs=("cgroup_v2",),
            config={"linux.resources.unified": {"memory.fancy": "1"}}, says="memory.fancy", is_for_vm=True),
    Refused(section=_UNIFIED, demand="what is no name of a file is refused",
            config={"linux.resources.unified": {"../cgroup.procs": "1"}}, says="linux.resources.unified"),
    Refused(section=_UNIFIED, demand="it is an error without cgroup v2", needs=("cgroup_v1",),
            config={"linux.resources.unified": {"memory.high": "1"}}, says="linux.resources.unified"),
)  # fmt: skip
