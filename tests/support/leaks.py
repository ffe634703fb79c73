"""The leak check: what a test has left on the machine, as lines for people.

`diff` compares two snapshots of the whole machine. It leaves out only what cannot be ours:

* a process (and its network namespace) that another run of these tests started: its own or its parent's environment
  carries another TRICE_TEST_RUN;
* a process below one that was there before, is neither pid 1 nor an ancestor of this process, and carries no mark of
  ours: orphans go to ancestors and to pid 1, so nothing of ours can come to be there;
* a zombie whose parent is pid 1: it is dead and only waits for pid 1's time;
* the few network namespaces that a manager which was there before keeps ready: a fixture of a wider scope has it;
* the few programs for devices that this process keeps loaded.

On a busy machine that is not enough: mounts, links, groups and rules do not say who made them. `Scope.OWN` then keeps
only what is provably ours: below this process, marked with this run, or named after an instance of this run.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tests.support.machine import RUN_VARIABLE, Machine, Process, ProcessKey, take
from tests.support.waiting import slow_factor

SETTLE_S = 3.0
"""How long asynchronous ends (exiting processes, namespaces, pid 1's reaping) may take."""


READY_NETWORKS = 8
"""So many network namespaces, in which nobody is, a manager may keep ready."""


PROGRAM = "anon_inode:bpf-prog"
KEPT_PROGRAMS = 8
"""So many device programs a manager may keep loaded."""


class Scope(StrEnum):
    """How much of the machine must be as it was."""

    WHOLE = "whole"
    OWN = "own"


@dataclass(slots=True, kw_only=True)
class Ours:
    """By what this run's things are known; roots are added as tests make them."""

    run: str
    marks: set[str] = field(default_factory=set)
    """Root directories and instance names."""

    def names(self, text: str) -> bool:
        """Whether a path or a line names one of ours."""
        return any(mark in text for mark in self.marks)

    def marked(self, process: Process) -> bool:
        """Whether the process carries a mark of this run."""
        return (
            process.run == self.run
            or (bool(process.root) and process.root in self.marks)
            or self.names(process.groups)
        )


def scope_from(environment: os._Environ[str], machine: Machine, run: str) -> Scope:
    """Return the scope: TRICE_LEAKS says it; else WHOLE, but OWN while another run of tests is on the machine.

    In CI (CI set) it is always WHOLE unless TRICE_LEAKS says otherwise.
    """
    said = environment.get("TRICE_LEAKS", "")
    if said:
        return Scope(said)
    if environment.get("CI"):
        return Scope.WHOLE
    is_busy = any(process.run not in ("", run) for process in machine.processes.values())
    return Scope.OWN if is_busy else Scope.WHOLE


def diff(
    before: Machine, after: Machine, ours: Ours, scope: Scope = Scope.WHOLE
) -> tuple[str, ...]:
    """Return a line for everything that is in `after` and was not in `before`, and for every mount,
    link, rule or group that is gone. Sorted; empty when nothing was left."""
    after = _without_what_is_kept(before, after)
    processes = _Processes(before, after, ours)
    lines: list[str] = []
    for kind, was, now in (
        ("mount", before.mounts, after.mounts),
        ("link", Counter(before.links), Counter(after.links)),
        ("nft rule", before.rules, after.rules),
        ("cgroup", Counter(before.groups), Counter(after.groups)),
        ("place", Counter(before.places), Counter(after.places)),
    ):
        changes = [*_changes(kind, was, now, "left"), *_changes(kind, now, was, "gone")]
        lines += [text for text in changes if scope is Scope.WHOLE or ours.names(text)]
    lines += _changes("descriptor", before.descriptors, after.descriptors, "left")
    left = processes.left(scope)
    lines += [f"process left: {process}" for process in left]
    lines += _namespaces(before, after, processes, scope)
    return tuple(sorted(lines))


def settle(before: Machine, ours: Ours, scope: Scope) -> tuple[str, ...]:
    """Return what is left when asynchronous ends have had their time: only lines seen in every look.

    What began after the first look is not the test's (what the test left was there by then).
    """
    deadline = time.monotonic() + SETTLE_S * slow_factor()
    left = diff(before, take(), ours, scope)
    pause = 0.01
    while left and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 2, 0.25)
        now = set(map(_what, diff(before, take(), ours, scope)))
        left = tuple(line for line in left if _what(line) in now)
    return left


def _what(line: str) -> str:
    """Return what a line is about: a process is the same whatever it does, is called, or whose child it is by now."""
    return line.partition(" (")[0] if line.startswith("process ") else line


def new_ours() -> Ours:
    """Make this run's mark and put it into the environment, so that all that it starts inherits it."""
    run = os.environ.setdefault(RUN_VARIABLE, f"{os.getpid()}-{time.time_ns()}")
    return Ours(run=run)


def _changes(kind: str, was: Counter[str], now: Counter[str], word: str) -> Iterator[str]:
    for item, count in (now - was).items():
        yield f"{kind} {word}: {item}" + (f" ({count} times)" if count > 1 else "")


def _without_what_is_kept(before: Machine, after: Machine) -> Machine:
    """Return `after` without the namespaces of a pool, and this process's descriptors of such and of programs."""
    entered = {process.netns for process in after.processes.values()}
    by_holder: dict[ProcessKey, set[int]] = {}
    for inode, (first, *others) in after.netns.items():
        if inode not in entered and not others and first in before.processes:
            by_holder.setdefault(first, set()).add(inode)
    ready = {inode for held in by_holder.values() if len(held) <= READY_NETWORKS for inode in held}
    names = {f"net:[{inode}]" for inode in ready}
    if sum(line.endswith(PROGRAM) for line in after.descriptors) <= KEPT_PROGRAMS:
        names.add(PROGRAM)
    kept = {line: n for line, n in after.descriptors.items() if line.split(" -> ")[1] not in names}
    return replace(
        after,
        netns={inode: who for inode, who in after.netns.items() if inode not in ready},
        descriptors=Counter(kept),
    )


def _namespaces(
    before: Machine, after: Machine, processes: _Processes, scope: Scope
) -> Iterable[str]:
    for inode in sorted(after.netns.keys() - before.netns.keys()):
        holders = [after.processes[key] for key in after.netns[inode] if key in after.processes]
        if scope is Scope.WHOLE:
            is_ours = not all(processes.is_foreign(holder) for holder in holders)
        else:
            is_ours = any(processes.is_ours(holder) for holder in holders)
        if is_ours:
            who = ", ".join(f"{holder.pid} ({holder.name})" for holder in holders)
            yield f"network namespace left: net:[{inode}] held by {who}"


class _Processes:
    """Tells whose a process of `after` is."""

    def __init__(self, before: Machine, after: Machine, ours: Ours) -> None:
        self._before = before
        self._after = after
        self._ours = ours
        self._by_pid = {process.pid: process for process in after.processes.values()}
        self._ancestors = {process.pid for process in self._chain(os.getppid())}

    def left(self, scope: Scope) -> tuple[Process, ...]:
        """Return the new processes that count in this scope, by pid."""
        new: set[ProcessKey] = self._after.processes.keys() - self._before.processes.keys()
        found = [self._after.processes[key] for key in new]
        found = [process for process in found if not _waits_for_pid1(process)]
        if scope is Scope.WHOLE:
            found = [process for process in found if not self.is_foreign(process)]
        else:
            found = [process for process in found if self.is_ours(process)]
        return tuple(sorted(found, key=lambda process: process.pid))

    def is_ours(self, process: Process) -> bool:
        """Whether it is provably of this run: marked, or below this process or below a marked one."""
        me = os.getpid()
        return any(step.pid == me or self._ours.marked(step) for step in self._chain(process.pid))

    def is_foreign(self, process: Process) -> bool:
        """Whether it provably is not of this run."""
        if self.is_ours(process):
            return False
        for step in self._chain(process.pid):
            if step.run:
                return True
            if step.key in self._before.processes:
                return step.pid != 1 and step.pid not in self._ancestors
        return False

    def _chain(self, pid: int) -> Iterator[Process]:
        """Yield the process and its ancestors as far as they are known."""
        while (process := self._by_pid.get(pid)) is not None:
            yield process
            pid = process.parent


def _waits_for_pid1(process: Process) -> bool:
    return process.state == "Z" and process.parent == 1
