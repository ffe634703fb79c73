"""Processes in groups, for tests of cgroups: started there, counted, ended by their own pids."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.cgroup import Group
from tests.support.waiting import eventually

ENTER = 'while [ "$1" != -- ]; do echo 0 >"$1" || exit 99; shift; done; shift; exec "$@"'
"""A shell that attaches itself, as a container's init does, and becomes the program."""


@contextmanager
def running(group: Group, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command in the group; it has entered when this returns. Killed and reaped at the end."""
    arguments = ["/bin/sh", "-c", ENTER, "sh", *group.procs_files, "--", *command]
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            eventually(
                lambda: process.poll() is not None or _has_entered(process.pid, group),
                what="the command has entered its group",
            )
            yield process
        finally:
            process.kill()


def _has_entered(pid: int, group: Group) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()  # empty in the middle of an execve
    if not command or ENTER.encode() in command:
        return False
    return all(str(pid) in Path(file).read_text().split() for file in group.procs_files)


def paths_of(group: Group) -> dict[str, Path]:
    """Return the group's directories, by the name of the hierarchy they are in ("" for v2's root)."""
    found: dict[str, Path] = {}
    for file in group.procs_files:
        folder = Path(file).parent
        found[folder.parts[4] if "trice-" not in folder.parts[4] else ""] = folder
    return found
