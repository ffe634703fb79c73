"""What the kernel says of an instance of trice: its processes and containers, by its groups and /proc.

Nothing here reads trice's own files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.support.machine import homes


def _procs_files(home: Path) -> Iterator[Path]:
    """Yield the cgroup.procs of all groups from `home` down; one that goes away meanwhile is no error."""
    for folder, _, names in os.walk(home):
        if "cgroup.procs" in names:
            yield Path(folder, "cgroup.procs")


def pids_of_instance(name: str) -> frozenset[int]:
    """Return the pids of everything in the instance's groups, its keeper and manager too."""
    found: set[int] = set()
    for home in homes(name):
        for file in _procs_files(home):
            with suppress(OSError):
                found.update(int(line) for line in file.read_text().split())
    return frozenset(found)


def containers_of_instance(name: str) -> frozenset[int]:
    """Return the host's pid of every container's first process: those that are pid 1 of their own namespace."""
    return frozenset(pid for pid in pids_of_instance(name) if _is_first(pid))


def processes_with(name: str, word: str) -> frozenset[int]:
    """Return the instance's own processes (no containers) whose command line has this word."""
    found = set()
    for pid in pids_of_instance(name):
        with suppress(OSError):
            if word in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
                found.add(pid)
    return frozenset(found)


def keepers_of_instance(name: str) -> frozenset[int]:
    """Return the instance's keeper; two, while one takes over from another."""
    return processes_with(name, "runtime.keeper.main")


def managers_of_instance(name: str) -> frozenset[int]:
    """Return the instance's manager. (The keeper's command line ends with the manager's, so one word is not enough.)"""
    return processes_with(name, "orchestrator.daemon") - keepers_of_instance(name)


def residents(name: str) -> tuple[int, int]:
    """Return the pids of the instance's keeper and of its manager."""
    ((keeper,), (manager,)) = (keepers_of_instance(name), managers_of_instance(name))
    return keeper, manager


def is_up(pid: int) -> bool:
    """Say whether the process is there and not a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def catches(pid: int | None, number: int, *, field: str = "SigCgt") -> bool:
    """Say whether the process has set a handler for this signal; with "SigIgn", whether it ignores it."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        caught = re.search(rf"^{field}:\t([0-9a-f]+)$", status, re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)
    return False


def _is_first(pid: int) -> bool:
    with suppress(OSError):
        numbers = re.search(
            r"^NSpid:\t(.+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE
        )
        return numbers is not None and numbers[1].split()[1:] == ["1"]
    return False
