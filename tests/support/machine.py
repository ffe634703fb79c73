"""What is on this machine right now: one snapshot of everything that a runtime could leave behind.

The whole machine is looked at, not names with our prefix: mounts of this mount namespace, network links, the nft rule
set, every group of every cgroup hierarchy, every process, every network namespace that a process or a descriptor
holds, the descriptors of the test process itself, and the places on disk where instances live. The kernel is asked;
nothing of trice is imported.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RUN_VARIABLE = "TRICE_TEST_RUN"
"""Set by the root conftest to a word of its own for each run of the tests; all that it starts inherits it."""

KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of linux/sched.h, in field 9 of /proc/PID/stat."""

ProcessKey = tuple[int, int]
"""pid and start time: a pid alone comes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process, with what tells whose it is."""

    pid: int
    start: int
    """Clock ticks since boot."""
    parent: int
    state: str
    name: str
    run: str
    """Value of TRICE_TEST_RUN in the environment it was executed with; empty if it has none."""
    root: str
    """Value of TRICE_ROOT there."""
    groups: str
    """Text of /proc/PID/cgroup."""
    netns: int
    command: str

    @property
    def key(self) -> ProcessKey:
        return (self.pid, self.start)

    def __str__(self) -> str:
        return f"{self.pid} ({self.name}) {self.command!r}, parent {self.parent}, {self.state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A snapshot. Things that can be there twice are counted."""

    mounts: Counter[str]
    links: frozenset[str]
    rules: Counter[str]
    """nft's rule set a line, each with its table (and chain) in front; counters and handles left out."""
    groups: frozenset[str]
    processes: Mapping[ProcessKey, Process]
    netns: Mapping[int, frozenset[ProcessKey]]
    """Inode of a network namespace → who is in it or has a descriptor of it."""
    descriptors: Counter[str]
    """Of the test process itself."""
    places: frozenset[str]


def take() -> Machine:
    """Return a snapshot of the whole machine; costs some 30 ms."""
    processes = {process.key: process for process in _processes()}
    return Machine(
        mounts=Counter(_mounts()),
        links=frozenset(f"{name} (index {index})" for index, name in socket.if_nameindex()),
        rules=Counter(_rules()),
        groups=frozenset(_groups()),
        processes=processes,
        netns=_namespaces(processes),
        descriptors=Counter(_descriptors()),
        places=frozenset(_places()),
    )


def _mounts() -> Iterator[str]:
    """Yield each mount without its ids: device, root, mount point, type and source (proc(5), mountinfo)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        _, _, device, root, point, *_ = before.split(" ")
        kind, source, *_ = after.split(" ")
        yield f"{point} ({kind} {source}, {device} {root})"


def hierarchies() -> tuple[str, ...]:
    """Return the mount points of every cgroup hierarchy here, v1 and v2."""
    found: list[str] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ")[0] in ("cgroup", "cgroup2"):
            found.append(before.split(" ")[4])
    return tuple(sorted(set(found)))


def homes(name: str) -> tuple[Path, ...]:
    """Return the groups of an instance of trice in every hierarchy: at the top, and where systemd runs in its scope."""
    places = (name, f"system.slice/{name}.scope")
    found = (Path(hierarchy, place) for hierarchy in hierarchies() for place in places)
    return tuple(folder for folder in found if folder.is_dir())


def _groups() -> Iterator[str]:
    for hierarchy in hierarchies():
        for folder, below, _ in os.walk(hierarchy):
            yield from (f"{folder}/{name}" for name in below)


def _rules() -> Iterator[str]:
    """Yield nft's rules; nothing where nft is not installed or the kernel has no nf_tables."""
    nft = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
    if nft is None:
        return
    listing = subprocess.run(
        [nft, "--stateless", "list", "ruleset"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    within: list[str] = []
    for line in listing.stdout.splitlines():
        text = line.strip()
        if not text:
            continue
        if text == "}":
            within.pop()
        else:
            yield " ".join([*within, text.removesuffix("{").strip()])
        if text.endswith("{"):
            within.append(text.removesuffix("{").strip())


def _processes() -> Iterator[Process]:
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        # A process may end while it is being read; then it is not there.
        with suppress(FileNotFoundError, ProcessLookupError):
            process = _process(int(entry))
            if process is not None:
                yield process


def _process(pid: int) -> Process | None:
    """Return the process, None for a kernel thread. Raises FileNotFoundError, ProcessLookupError."""
    stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    if int(fields[6]) & KERNEL_THREAD:
        return None
    environment = _environment(pid)
    return Process(
        pid=pid,
        start=int(fields[19]),
        parent=int(fields[1]),
        state=fields[0],
        name=name,
        run=environment.get(RUN_VARIABLE, ""),
        root=environment.get("TRICE_ROOT", ""),
        groups=_text(f"/proc/{pid}/cgroup"),
        netns=_inode(f"/proc/{pid}/ns/net"),
        command=_text(f"/proc/{pid}/cmdline").replace("\0", " ").strip()[:100],
    )


def _environment(pid: int) -> dict[str, str]:
    pairs = (item.partition("=") for item in _text(f"/proc/{pid}/environ").split("\0"))
    return {name: value for name, _, value in pairs if name in (RUN_VARIABLE, "TRICE_ROOT")}


def _text(path: str) -> str:
    """Return the file's text; empty where a zombie or a lack of rights gives none."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _inode(path: str) -> int:
    """Return N of a link `net:[N]`; 0 where it cannot be read (zombies have no namespaces)."""
    try:
        target = os.readlink(path)
    except OSError:
        return 0
    return int(target[5:-1]) if target.startswith("net:[") else 0


def _namespaces(processes: Mapping[ProcessKey, Process]) -> dict[int, frozenset[ProcessKey]]:
    holders: dict[int, set[ProcessKey]] = {}
    for key, process in processes.items():
        if process.netns:
            holders.setdefault(process.netns, set()).add(key)
        folder = f"/proc/{process.pid}/fd"
        try:
            descriptors = os.listdir(folder)
        except OSError:
            continue
        for descriptor in descriptors:
            if inode := _inode(f"{folder}/{descriptor}"):
                holders.setdefault(inode, set()).add(key)
    return {inode: frozenset(keys) for inode, keys in holders.items()}


def _descriptors() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:  # the descriptor of the listing itself
            continue
        yield f"{descriptor} -> {target}"


def _places() -> Iterator[str]:
    """Yield the instances' directories: those of the system and those that tests make in /tmp."""
    for place in ("/run/trice", "/var/lib/trice", "/var/cache/trice"):
        if os.path.lexists(place):
            yield place
    for name in os.listdir("/tmp"):
        if name.startswith("tr-"):
            yield f"/tmp/{name}"
