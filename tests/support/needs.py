"""What a test needs of the machine: `@needs("root", "overlay")`.

Where it is not given the test is skipped and says why. In CI (CI set) a need that must hold on the machines trice is
made for (root, overlay, nft, one of the cgroup layouts) fails instead: a skip would hide that nothing was tested.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

CGROUP_ROOT = Path("/sys/fs/cgroup")


def needs(*names: str) -> pytest.MarkDecorator:
    """Mark a test (or a module's `pytestmark`) with what it needs. Raises ValueError for an unknown name."""
    for name in names:
        if name not in _CHECKS:
            raise ValueError(f"unknown need {name!r}; there are: {', '.join(sorted(_CHECKS))}")
    return pytest.mark.needs(*names)


def lacking(names: tuple[str, ...]) -> str:
    """Return why the first need that is not met is not; empty when all are."""
    for name in names:
        reason = _answer(name)
        if reason:
            return f"needs {name}: {reason}"
    return ""


def must_hold(names: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """Return why a need that must hold in CI does not; empty outside CI, or when all is well."""
    if not environment.get("CI"):
        return ""
    wanted = [name for name in names if name in ("root", "overlay", "nft", "systemd")]
    if {"cgroup_v1", "cgroup_v2"} & set(names) and _answer("cgroup_v1") and _answer("cgroup_v2"):
        return "CI must have cgroup controllers, v1 or v2"
    return lacking(tuple(wanted))


@cache
def _answer(name: str) -> str:
    return _CHECKS[name]()


def _root() -> str:
    return "" if os.geteuid() == 0 else f"uid is {os.geteuid()}"


def _cgroup_v1() -> str:
    return "" if (CGROUP_ROOT / "memory/cgroup.procs").exists() else "no v1 memory hierarchy here"


def _cgroup_v2() -> str:
    controllers = CGROUP_ROOT / "cgroup.controllers"
    if not controllers.exists():
        return "no unified hierarchy with controllers here"
    lacks = {"cpu", "memory", "pids"} - set(controllers.read_text().split())
    return f"controllers {', '.join(sorted(lacks))} are not there" if lacks else ""


def _hugetlb() -> str:
    controllers = CGROUP_ROOT / "cgroup.controllers"
    has_v2 = controllers.exists() and "hugetlb" in controllers.read_text().split()
    has_v1 = (CGROUP_ROOT / "hugetlb/cgroup.procs").exists()
    return "" if has_v1 or has_v2 else "no cgroup controller for huge pages here"


def _in_child(work: Callable[[ctypes.CDLL], int]) -> int:
    """Return work's result (an errno) of a forked child, whose namespaces end with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = work(libc)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _overlay() -> str:
    if _root():
        return _root()
    with tempfile.TemporaryDirectory(prefix="tr-", dir="/tmp") as folder:
        for name in ("lower", "upper", "work", "at"):
            Path(folder, name).mkdir()
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"

        def mount(libc: ctypes.CDLL) -> int:
            new_mount_namespace, recursive_private = 0x00020000, 0x4000 | 0x40000
            at = f"{folder}/at".encode()
            if libc.unshare(new_mount_namespace) or libc.mount(
                None, b"/", None, recursive_private, None
            ):
                return ctypes.get_errno()
            if libc.mount(b"overlay", at, b"overlay", 0, options.encode()):
                return ctypes.get_errno()
            return 0

        error = _in_child(mount)
    return f"cannot mount one on /tmp: {os.strerror(error)}" if error else ""


def _userns() -> str:
    new_user_namespace = 0x10000000
    error = _in_child(lambda libc: ctypes.get_errno() if libc.unshare(new_user_namespace) else 0)
    return f"unshare: {os.strerror(error)}" if error else ""


def _runs(*command: str) -> str:
    """Return why the command does not succeed; empty when it does."""
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not installed"
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    return "" if result.returncode == 0 else (result.stderr.strip() or f"exit {result.returncode}")


def _systemd() -> str:
    """systemd and its tools as files; it need not run here (tests.support.systemd_box)."""
    lacks = [
        path
        for path in ("/lib/systemd/systemd", "/usr/bin/systemd-run", "/usr/bin/nsenter")
        if not Path(path).exists()
    ]
    return f"{', '.join(lacks)} not installed" if lacks else ""


_CHECKS: dict[str, Callable[[], str]] = {
    "root": _root,
    "cgroup_v1": _cgroup_v1,
    "cgroup_v2": _cgroup_v2,
    "overlay": _overlay,
    "userns": _userns,
    "nft": lambda: _runs("nft", "list", "tables"),
    "docker_client": lambda: _runs("docker", "--version"),
    "crun": lambda: _runs("crun", "--version"),
    "podman": lambda: _runs("podman", "--version"),
    "systemd": _systemd,
    "hugetlb": _hugetlb,
    "busybox": lambda: "" if Path("/bin/busybox").exists() else "/bin/busybox is not there",
}
