"""What a container may do unless its stack file says otherwise: capabilities, paths, devices. Pure data.

The capability set is the one that images are written against (docker's) without NET_RAW; pings and low ports work by
sysctls of the container's own network namespace instead. System calls: `seccomp_default`.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.spec.config import DeviceRule, OciMount

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip

DEFAULT_SYSCTLS: Mapping[str, str] = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}

MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

DEVICE_NODES = (
    "full c 1:7 666", "null c 1:3 666", "random c 1:8 666", "tty c 5:0 666", "urandom c 1:9 666", "zero c 1:5 666",
)  # fmt: skip
DEVICE_LINKS = (
    "fd -> /proc/self/fd", "ptmx -> pts/ptmx", "stderr -> /proc/self/fd/2", "stdin -> /proc/self/fd/0",
    "stdout -> /proc/self/fd/1",
)  # fmt: skip

DEFAULT_DEVICE_RULES = (
    DeviceRule(allow=False, access="rwm"),
    DeviceRule(allow=True, type="b", access="m"),
    DeviceRule(allow=True, type="c", access="m"),
    *(
        DeviceRule(allow=True, type="c", major=major, minor=minor, access="rwm")
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
    ),
)  # fmt: skip
"""Nothing but the nodes above and terminals. Making any node is for seccomp and the capability to say."""

SHM = "/dev/shm"  # noqa: S108 - the container's own, a fresh tmpfs
SHM_BYTES = 64 << 20
INIT_SOURCE = "/usr/bin/tini-static"
"""The reaper where nothing is known of the host."""
_PLAIN = ("nosuid", "nodev", "noexec")

DEFAULT_MOUNTS = (
    OciMount(destination="/proc", type="proc", source="proc", options=_PLAIN),
    OciMount(
        destination="/dev",
        type="tmpfs",
        source="tmpfs",
        options=("nosuid", "noexec", "strictatime", "mode=755", "size=65536k"),
    ),
    OciMount(
        destination="/dev/pts",
        type="devpts",
        source="devpts",
        options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    OciMount(destination="/sys", type="sysfs", source="sysfs", options=(*_PLAIN, "ro")),
    OciMount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=(*_PLAIN, "ro")),
    OciMount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=_PLAIN),
    OciMount(
        destination=SHM,
        type="tmpfs",
        source="shm",
        options=(*_PLAIN, "mode=1777", "size=65536k"),
    ),
)
