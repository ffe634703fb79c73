"""Where trice-runtime does otherwise than the OCI runtime-spec says, or refuses what it may have, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    what: str
    why: str


DIFFERENCES: Mapping[str, Difference] = {
    "process-at-create": Difference(
        what="`create` wants `process`, which is needed at `start` alone",
        why="What a container may do is set up before it waits for `start`, so it must be known. Other runtimes want "
        "it, too.",
    ),
    "rlimit": Difference(
        what="A limit of `rlimits` that this host does not let us raise is as high as it does; it is told",
        why="Without CAP_SYS_RESOURCE no process can do more, and engines ask for a million descriptors by default.",
    ),
    "labels": Difference(
        what="AppArmor profiles and SELinux labels (`apparmorProfile`, `selinuxLabel`, `mountLabel`) are refused",
        why="A container that is thought to be confined and is not is worse than none, and the kernels that all this "
        "is tried on have neither.",
    ),
    "exec-affinity": Difference(
        what="`execCPUAffinity` is refused",
        why="A processor list that an exec begins with and loses again; nobody has asked for it.",
    ),
    "unknown-capability": Difference(
        what="A capability of an unknown name is an error; version 1.1 asks for a warning",
        why="It is a slip of the pen or of a newer kernel; either way the container would have less, or be less "
        "limited, than its config says. Known ones that this host cannot grant are warned about.",
    ),
    "relative-destination": Difference(
        what="A relative `destination` is refused",
        why="Version 1.0 demands it, and nobody writes one.",
    ),
    "proc-place": Difference(
        what="`proc` is mounted at `/proc` alone, `sysfs` at `/sys` alone",
        why="Masked and read-only paths are for these places: a second procfs would have neither.",
    ),
    "over-proc": Difference(
        what="Nothing is mounted over `/proc` but the files that lxcfs gives",
        why="A false `/proc` has been the way out of more than one runtime.",
    ),
    "idmap": Difference(
        what="Mounts with ids of their own are refused", why="They belong to user namespaces."
    ),
    "remount": Difference(
        what="`remount` is refused", why="Every mount is made once, as it will be; none is changed."
    ),
    "recursive-ro": Difference(
        what="`ro` and its like are for all that an `rbind` brings along, as if written `rro`",
        why="People who write `ro` mean that nothing there is written to.",
    ),
    "default-filesystems": Difference(
        what="`/proc`, `/sys`, `/dev/pts` and `/dev/shm` are there when the config lists them; `/dev` always is",
        why="The specification wants them to be available, and every engine lists them. A config that leaves one out "
        "gets less, as other runtimes do.",
    ),
    "default-device-list": Difference(
        what="Without `resources.devices` a container may use the default devices and no other",
        why="That a group may use everything is the kernel's default, not a wish.",
    ),
    "writable-groups": Difference(
        what="A cgroup mount is read-only whatever its options say; it is told",
        why="On v1 a container with CAP_SYS_ADMIN and a writable hierarchy owns the machine (release_agent); the "
        "engines ask for it with `--privileged` without anybody meaning it.",
    ),
    "cgroup-namespace": Difference(
        what="On v1, a container with CAP_SYS_ADMIN and no cgroup namespace gets one of its own; it is told",
        why="It could mount the hierarchies itself, and would see them from their roots.",
    ),
    "relative-cgroups-path": Difference(
        what="A relative `cgroupsPath` is one name below the instance's own group",
        why="Nothing of a config leads out of where its groups belong.",
    ),
    "systemd": Difference(
        what="A `cgroupsPath` in systemd's form (`slice:prefix:name`) is refused, with `--systemd-cgroup` or without",
        why="Groups are made by trice-runtime itself, not by systemd: use cgroupfs as the engine's cgroup manager.",
    ),
    "memory-old": Difference(
        what="`memory.kernel`, `memory.kernelTCP` and `useHierarchy: false` are refused",
        why="The kernel has done away with them; the specification advises against them.",
    ),
    "leaf-weight": Difference(
        what="`leafWeight` is refused", why="It went with the CFQ scheduler."
    ),
    "user-namespace": Difference(
        what="User namespaces and mappings are refused",
        why="Everything runs in the host's user namespace so far.",
    ),
    "mount-namespace": Difference(
        what="A container has a mount namespace of its own; none is joined",
        why="Its root would be mounted for others to see.",
    ),
    "seccomp-notify": Difference(
        what="`SCMP_ACT_NOTIFY` is refused", why="There is no way to hand the descriptor on yet."
    ),
    "hook-timeout": Difference(
        what="A hook without `timeout` has 60 seconds",
        why="One that hangs must not hold a container, and its lock, for ever.",
    ),
    "preserve-fds": Difference(
        what="`--preserve-fds` is refused",
        why="A container gets stdin, stdout and stderr and no other descriptor of the host.",
    ),
}
