"""config-linux.md §Namespaces, user mappings, time offsets, sysctl, personality."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel.oci.case import Case, Refused, Says, namespaces, story
from tests.support.oci import Oci
from tests.support.waiting import eventually

_NAMESPACES = "config-linux.md §Namespaces"
_TIME = "config-linux.md §Offset for Time Namespace"
_SYSCTL = "config-linux.md §Sysctl"
_PERSONALITY = "config-linux.md §Personality"

_FILES = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup",
          "time": "time"}  # fmt: skip
_FLAGS = {
    "pid": "--pid",
    "network": "--net",
    "ipc": "--ipc",
    "uts": "--uts",
    "cgroup": "--cgroup",
    "time": "--time",
}


def _inode(pid: int | str, kind: str) -> int:
    return os.stat(f"/proc/{pid}/ns/{_FILES[kind]}").st_ino


@contextmanager
def _somebody(kind: str) -> Iterator[int]:
    """Give the pid of a process in a namespace of its own of this kind."""
    command = [
        "unshare",
        _FLAGS[kind],
        *(["--fork"] if kind in ("pid", "time") else []),
        "sleep",
        "60",
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _sleeper(process.pid) is not None)
            yield _sleeper(process.pid) or 0
        finally:
            if (found := _sleeper(process.pid)) and found != process.pid:
                os.kill(found, 9)
            process.kill()


def _sleeper(pid: int) -> int | None:
    """Return the process that has come to be `sleep`: this one, or its child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for candidate in (pid, *map(int, children)):
        if Path(f"/proc/{candidate}/comm").read_text() == "sleep\n":
            return candidate
    return None


def _new(kind: str) -> Callable[[Oci], None]:
    def tell(oci: Oci) -> None:
        oci.put({"linux.namespaces": namespaces(**{kind: ""})})
        assert _inode(oci.start(), kind) != _inode("self", kind)

    return tell


def _inherited(kind: str) -> Callable[[Oci], None]:
    def tell(oci: Oci) -> None:
        oci.put({"hostname": None, "linux.namespaces": namespaces(**{kind: None})})
        assert _inode(oci.start(), kind) == _inode("self", kind)

    return tell


def _joined(kind: str) -> Callable[[Oci], None]:
    def tell(oci: Oci) -> None:
        with _somebody(kind) as other:
            path = f"/proc/{other}/ns/{_FILES[kind]}"
            oci.put({"hostname": None, "linux.namespaces": namespaces(**{kind: path})})
            pid = oci.start()
            assert _inode(pid, kind) == _inode(other, kind)
            oci("exec", "c1", "true")
            oci("delete", "--force", "c1")

    return tell


def _wrong(kind: str) -> Callable[[Oci], None]:
    wrong = "/proc/self/ns/uts" if kind != "uts" else "/proc/self/ns/ipc"

    def tell(oci: Oci) -> None:
        oci.put({"hostname": None, "linux.namespaces": namespaces(**{kind: wrong})})
        said = oci.create(code=1)
        assert wrong in said
        assert said.count("\n") == 1

    return tell


@story(_NAMESPACES, "in a pid namespace of its own the process is number 1, and sees no other")
def _first(oci: Oci) -> None:
    oci.run_args("sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l")
    assert oci.run() == "1\n3\n"


@story(_NAMESPACES, "without a pid namespace, all of a container's processes end with it",
       config={"linux.namespaces": namespaces(pid=None)})  # fmt: skip
def _all_end(oci: Oci) -> None:
    oci.run_args("sh", "-c", "setsid sleep 600 & exec sleep 600")
    oci.start()
    eventually(lambda: len(oci("ps", "-f", "json", "c1").stdout.split(",")) == 2)
    oci("kill", "c1", "KILL")
    eventually(lambda: oci.status() == "stopped")
    oci("delete", "c1")
    assert oci.groups() == []


@story(_TIME, "the offsets are in force", config={
    "linux.namespaces": namespaces(time=""),
    "linux.timeOffsets": {"monotonic": {"secs": 86400}, "boottime": {"secs": 864000, "nanosecs": 5}}})  # fmt: skip
def _offsets(oci: Oci) -> None:
    pid = oci.start()
    assert _inode(pid, "time") != _inode("self", "time")
    uptime = float(oci("exec", "c1", "cut", "-d.", "-f1", "/proc/uptime").stdout)
    assert uptime > time.clock_gettime(time.CLOCK_BOOTTIME) + 863_000


@story(_SYSCTL, "a parameter of a network namespace that it joins is set there")
def _sysctl_joined(oci: Oci) -> None:
    with _somebody("network") as other:
        oci.put({"linux.namespaces": namespaces(network=f"/proc/{other}/ns/net"),
                 "linux.sysctl": {"net.ipv4.ip_forward": "1"}})  # fmt: skip
        oci.run_args("cat", "/proc/sys/net/ipv4/ip_forward")
        assert oci.run() == "1\n"


_KINDS = ("pid", "network", "ipc", "uts", "mount", "cgroup", "time")

CASES: tuple[Case, ...] = (
    *(story(_NAMESPACES, f"{kind}: a new one when no path is given", is_for_vm=kind == "cgroup")(_new(kind))
      for kind in _KINDS),
    *(story(_NAMESPACES, f"{kind}: the runtime's own when it is not listed")(_inherited(kind))
      for kind in _KINDS if kind != "mount"),
    *(story(_NAMESPACES, f"{kind}: that of the path, and an exec is in it, too")(_joined(kind))
      for kind in _KINDS if kind != "mount"),
    *(story(_NAMESPACES, f"{kind}: a path of another type is an error")(_wrong(kind))
      for kind in _KINDS if kind != "mount"),
    Refused(section=_NAMESPACES, demand="a type that is there twice is an error",
            config={"linux.namespaces+": {"type": "pid"}}, says="twice"),
    Refused(section=_NAMESPACES, demand="a type that is unknown is an error",
            config={"linux.namespaces+": {"type": "fancy"}}, says="fancy"),
    Refused(section=_NAMESPACES, demand="a path that is not there is an error",
            config={"linux.namespaces": namespaces(network="/no/such")}, says="/no/such"),
    Refused(section=_NAMESPACES, demand="a path must be absolute",
            config={"linux.namespaces": namespaces(network="proc/self/ns/net")}, says="must be absolute"),
    Refused(section=_NAMESPACES, demand="a file that is no namespace is an error",
            config={"linux.namespaces": namespaces(network="/dev/null")}, says="/dev/null"),
    Refused(section=_NAMESPACES, demand="user is refused", config={"linux.namespaces+": {"type": "user"}},
            says="'user'", differs="user-namespace"),
    Refused(section="config-linux.md §User namespace mappings", demand="mappings are refused",
            config={"linux.uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}]},
            says="linux.uidMappings", differs="user-namespace"),
    Refused(section=_NAMESPACES, demand="without a mount namespace of its own it is refused",
            config={"linux.namespaces": namespaces(mount=None)}, says="mount namespace", differs="mount-namespace"),
    Refused(section=_NAMESPACES, demand="joining a mount namespace is refused",
            config={"linux.namespaces": namespaces(mount="/proc/self/ns/mnt")}, says="mount namespace",
            differs="mount-namespace"),
    _first,
    _all_end,
    _offsets,
    Refused(section=_TIME, demand="offsets need a time namespace of its own",
            config={"linux.timeOffsets": {"monotonic": {"secs": 1}}}, says="linux.timeOffsets"),
    Refused(section=_TIME, demand="a clock that has no offset is refused",
            config={"linux.namespaces": namespaces(time=""), "linux.timeOffsets": {"realtime": {"secs": 1}}},
            says="linux.timeOffsets"),
    Says(section=_SYSCTL, demand="parameters of the container's own namespaces are set",
         config={"linux.sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1048576",
                                  "fs.mqueue.msg_max": "20", "kernel.domainname": "d.example"}},
         script="cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmax fs/mqueue/msg_max kernel/domainname",
         expected="1\n1048576\n20\nd.example\n", is_for_vm=True),
    Refused(section=_SYSCTL, demand="a parameter of the whole machine is refused",
            config={"linux.sysctl": {"kernel.panic": "1"}}, says="linux.sysctl['kernel.panic']"),
    Refused(section=_SYSCTL, demand="one of a namespace that is the host's is refused",
            config={"linux.namespaces": namespaces(network=None), "linux.sysctl": {"net.ipv4.ip_forward": "1"}},
            says="linux.sysctl"),
    Refused(section=_SYSCTL, demand="also when the host's is given by its path",
            config={"linux.namespaces": namespaces(network="/proc/self/ns/net"),
                    "linux.sysctl": {"net.ipv4.ip_forward": "1"}}, says="linux.sysctl"),
    Refused(section=_SYSCTL, demand="one that the kernel does not have is an error",
            config={"linux.sysctl": {"net.ipv4.no_such_thing": "1"}}, says="no_such_thing"),
    Says(section=_PERSONALITY, demand="LINUX32 shows a 32 bit machine",
         config={"linux.personality": {"domain": "LINUX32"}}, script="cat /proc/self/personality; uname -m",
         expected="00000008\ni686\n"),
    Says(section=_PERSONALITY, demand="LINUX is the default", config={"linux.personality": {"domain": "LINUX"}},
         script="cat /proc/self/personality", expected="00000000\n"),
    Refused(section=_PERSONALITY, demand="another domain is refused",
            config={"linux.personality": {"domain": "SVR4"}}, says="linux.personality"),
    Refused(section=_PERSONALITY, demand="flags are refused",
            config={"linux.personality": {"domain": "LINUX", "flags": ["X"]}}, says="linux.personality.flags"),
    Refused(section="config-linux.md §IntelRdt", demand="it is an error where no resctrl is mounted",
            config={"linux.intelRdt": {"closID": "x"}}, says="linux.intelRdt"),
)  # fmt: skip
