"""What this kernel and these privileges can do: `HostFacts`, asked once and passed around as a value.

Capabilities are asked of the kernel by trying, not read off its version. Not import-light.
"""

from __future__ import annotations

import os
import platform
import resource
from functools import cache
from types import MappingProxyType

from runtime.api import HostFacts
from runtime.linux import caps, openat2, pidfd
from runtime.linux.limits import RESOURCES

SYSTEMD_MARK = "/run/systemd/system"
"""Is there where systemd runs as the machine's service manager, and nowhere else (sd_booted(3))."""
CGROUP_ROOT = "/sys/fs/cgroup"
INIT_PATHS = ("/usr/bin/tini-static", "/usr/libexec/podman/catatonit", "/usr/bin/catatonit")
"""Reapers that are one static file, as distributions install them; the first that is there is used."""
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@cache
def host_facts() -> HostFacts:
    """Return the facts of this machine. The first call forks once, so call it before there are threads."""
    release = os.uname().release
    layout, controllers, hierarchies = cgroup_facts(_read("/proc/self/mounts"), CGROUP_ROOT)
    return HostFacts(
        kernel=kernel_version(release),
        architecture=_MACHINES.get(os.uname().machine, os.uname().machine),
        cgroup_layout=layout,
        cgroup_controllers=controllers,
        cgroup_hierarchies=hierarchies,
        cpu_count=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        is_root=os.geteuid() == 0,
        has_pidfd_info=pidfd.has_exit_info(),
        has_openat2=openat2.HAS_OPENAT2,
        boot_id=boot_id(),
        kernel_release=release,
        operating_system=_operating_system(),
        capabilities=(given := capability_names(_read("/proc/self/status"))),
        hard_limits=MappingProxyType({} if "SYS_RESOURCE" in given else _hard_limits()),
        init_path=next(filter(os.path.isfile, INIT_PATHS), ""),
        has_systemd=os.path.isdir(SYSTEMD_MARK) and not os.path.islink(SYSTEMD_MARK),
    )


def capability_names(status: str) -> tuple[str, ...]:
    """Return the capabilities that a process can give its children, by the text of /proc/PID/status.

    They are permitted, and in its bounding set.
    """
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    mask = int(fields["CapPrm"], 16) & int(fields["CapBnd"], 16)
    return tuple(name for number, name in enumerate(caps.NAMES) if mask >> number & 1)


def _hard_limits() -> dict[str, int]:
    limits = {name: resource.getrlimit(number)[1] for name, number in sorted(RESOURCES.items())}
    return {name: hard for name, hard in limits.items() if hard != resource.RLIM_INFINITY}


def boot_id() -> str:
    """Return the id of this boot."""
    return _read("/proc/sys/kernel/random/boot_id").strip()


def kernel_version(release: str) -> tuple[int, int]:
    """Return (major, minor) of "6.1.0-42-amd64"."""
    major, minor = release.split(".")[:2]
    digits = "".join(digit for digit in minor if digit.isdigit())
    return int(major), int(digits or 0)


def cgroup_facts(mounts: str, root: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the layout, the controllers, and the v1 hierarchies as mounted ("cpu,cpuacct", "name=systemd").

    `mounts` is the text of /proc/self/mounts. Controllers are those that limits can be set with: of v1 hierarchies, or
    what the unified root offers.
    """
    hierarchies: list[str] = []
    unified = ""
    for line in mounts.splitlines():
        _, target, kind, options = line.split(" ")[:4]
        if not (target == root or target.startswith(root + "/")):
            continue
        if kind == "cgroup2":
            unified = target
        elif kind == "cgroup":
            hierarchies.append(_hierarchy_name(options))
    if unified == root:
        return "v2", tuple(_read(f"{root}/cgroup.controllers").split()), ()
    named = sorted(hierarchies)
    controllers = [
        name for entry in named if not entry.startswith("name=") for name in entry.split(",")
    ]
    return ("hybrid" if unified else "v1"), tuple(sorted(controllers)), tuple(named)


_MOUNT_OPTIONS = frozenset(
    [
        "rw",
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "relatime",
        "noatime",
        "nodiratime",
        "clone_children",
        "none",
        "noprefix",
    ]
)


def _hierarchy_name(options: str) -> str:
    names = [
        option
        for option in options.split(",")
        if option not in _MOUNT_OPTIONS and not option.startswith("release_agent=")
    ]
    # A named hierarchy may show "xattr,name=systemd".
    named = [name for name in names if name.startswith("name=")]
    return named[0] if named else ",".join(name for name in names if name != "xattr")


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
