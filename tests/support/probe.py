"""Asks the kernel, from inside a container, what it lets us do. The host's python runs it: standard library alone.

Its argument is JSON: {"calls": [[name, number, [arguments]], …], "hidden": […], "read_only": […]}. A line is a fact.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import stat
import sys

TIMEOUT_S = 5


def call(number: int, arguments: list[int]) -> str:
    """Return how a system call ends, made by a child of its own."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(TIMEOUT_S)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments))
        os._exit(ctypes.get_errno() if result < 0 else 0)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return signal.Signals(-code).name
    return errno.errorcode.get(code, "ok") if code else "ok"


def hidden(path: str) -> str:
    """Return "hidden" for what is not there, is the null device, or is an empty read-only directory."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return "hidden"
    if stat.S_ISDIR(status.st_mode):
        is_empty = not os.listdir(path)
        return "hidden" if is_empty and os.statvfs(path).f_flag & os.ST_RDONLY else "open"
    is_null = stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)
    return "hidden" if is_null else "open"


def read_only(path: str) -> str:
    if not os.path.exists(path):
        return "read-only"
    return "read-only" if os.statvfs(path).f_flag & os.ST_RDONLY else "writable"


def mounts() -> list[str]:
    lines = []
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            target, options = before.split(" ")[4:6]
            kind = after.split(" ")[0]
            if kind.startswith("cgroup"):
                kind = "cgroup"
            elif target.startswith("/sys/fs/cgroup"):
                continue
            if kind == "cgroup":
                target = "/sys/fs/cgroup"
            # relatime is how the kernel was built.
            shown = [option for option in options.split(",") if option != "relatime"]
            lines.append(f"mount {target} {kind} {','.join(sorted(shown))}")
    return sorted(set(lines))


def devices() -> list[str]:
    lines = []
    for name in sorted(os.listdir("/dev")):
        path = f"/dev/{name}"
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            lines.append(f"device {name} -> {os.readlink(path)}")
        elif stat.S_ISCHR(status.st_mode):
            number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
            lines.append(f"device {name} c {number} {stat.S_IMODE(status.st_mode):o}")
        else:
            lines.append(f"device {name} directory")
    return lines


def status() -> list[str]:
    wanted = ("Cap", "NoNewPrivs", "Seccomp:", "Groups", "Uid", "Gid")
    with open("/proc/self/status", encoding="utf-8") as file:
        return ["status " + " ".join(line.split()) for line in file if line.startswith(wanted)]


def sysctl(name: str) -> str:
    with open(f"/proc/sys/{name.replace('.', '/')}", encoding="utf-8") as file:
        return f"sysctl {name} {' '.join(file.read().split())}"


def main() -> None:
    asked = json.loads(sys.argv[1])
    lines = [
        *status(),
        *mounts(),
        *devices(),
        *(f"path {path} {hidden(path)}" for path in asked["hidden"]),
        *(f"path {path} {read_only(path)}" for path in asked["read_only"]),
        sysctl("net.ipv4.ip_unprivileged_port_start"),
        sysctl("net.ipv4.ping_group_range"),
        *(f"call {name} {call(number, arguments)}" for name, number, arguments in asked["calls"]),
    ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
