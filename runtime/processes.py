"""What is done with a container that runs: more processes, its terminal, standing still, what it uses.

Part of `runtime.local`, which knows what runs; asks the kernel for everything else every time.

    <run>/containers/<id>/paused    there while `pause` holds it: a frozen group without it was left by a copy that a
                                    crash cut short, and is let run on by the next manager
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Protocol

import msgspec

from runtime.api import (
    ContainerId,
    ContainerStats,
    ExecRequest,
    HostFacts,
    Limits,
    ProcessInfo,
)
from runtime.cgroup import Group, Hierarchy
from runtime.cgroup.usage import usage_of
from runtime.container.exec import PTRACE, compile_exec, exec_process, in_reach
from runtime.container.joining import PREFIX
from runtime.container.limits import resources
from runtime.errors import InvalidSpec, InvalidState
from runtime.keeper.client import KeeperClient
from runtime.linux import caps, tty
from runtime.procfs import networks, process_info, system_cpu_ns
from runtime.records import Record, Records
from runtime.sessions import LocalExec, Told
from runtime.spec.config import OciConfig

PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An attempt that runs, as the keeper told it."""

    attempt: int
    pid: int
    started_at_ns: int


class Host(Protocol):
    """What the runtime knows and does for us."""

    def live(self, container: ContainerId) -> Live | None: ...
    def config(self, container: ContainerId) -> OciConfig: ...
    def set_config(self, container: ContainerId, config: OciConfig) -> None: ...
    def verb(self, container: ContainerId) -> threading.Lock: ...
    def emit(self, action: str, record: Record, **attributes: str) -> None: ...


class LocalProcesses:
    """The verbs of `runtime.api.Processes`, all but copying. Safe to call from several threads."""

    def __init__(
        self,
        host: Host,
        *,
        facts: HostFacts,
        hierarchy: Hierarchy,
        records: Records,
        keeper: KeeperClient,
    ) -> None:
        self._host = host
        self._still: dict[ContainerId, int] = {}
        """How many want it to stand still for the time being."""
        self._going_on: dict[ContainerId, int] = {}
        """How many need it to go on: those on their way in would stop halfway, its end would not be heard of."""
        self._gate = threading.Condition()
        self._facts = facts
        self._hierarchy = hierarchy
        self._records = records
        self._keeper = keeper

    # ------------------------------------------------------------------ exec

    def exec(self, container: ContainerId, request: ExecRequest) -> LocalExec:
        record = self._running(container, "execute a process in")
        config = self._host.config(container)
        process = exec_process(config, request, all_capabilities=caps.bounding())
        program = compile_exec(
            config,
            process,
            facts=self._facts,
            cgroup_procs=self._hierarchy.open(container).entry_files,
            size=request.size,
            is_privileged=request.privileged,
            beside=self._beside(container),
        )
        exec_id = token_hex(32)
        told = Told(
            lambda end: self._host.emit("exec_die", record, execID=exec_id, exitCode=str(end.code))
        )
        with self.going_on(container):
            if self.is_paused(container):
                raise InvalidState(_named(record), "paused", "execute a process in")
            execed = self._keeper.exec(
                container,
                exec_id=exec_id,
                program=program,
                tty=request.tty,
                stdin=request.open_stdin,
                detached=request.detached,
                on_exit=told.take,
            )
        fds = dict(execed.fds)
        told.pidfd = fds.pop("pidfd")
        if request.tty and request.open_stdin and not request.detached:
            fds["stdin"] = os.dup(fds["terminal"])
        self._host.emit("exec_start", record, execID=exec_id, command=" ".join(request.argv))
        return LocalExec(exec_id, execed.pid, fds, told)

    # ------------------------------------------------------------------ stdin and terminal

    def attach_stdin(self, container: ContainerId) -> int:
        record = self._running(container, "attach to")
        if record.request.tty:
            terminal = self._keeper.held(container, "terminal")
            if terminal is None:
                raise InvalidState(_named(record), "without its terminal", "attach to")
            return terminal
        if not record.request.open_stdin:
            raise InvalidState(_named(record), "without an open stdin", "attach to")
        held = self._keeper.held(container, "stdin")
        if held is None:
            raise InvalidState(_named(record), "past the end of its stdin", "attach to")
        try:
            # An open file of its own: its flags are nobody else's.
            return os.open(f"/proc/self/fd/{held}", os.O_WRONLY)
        finally:
            os.close(held)

    def close_stdin(self, container: ContainerId) -> None:
        record = self._running(container, "close the stdin of")
        if not record.request.tty:
            self._keeper.close_stdin(container)

    def resize(self, container: ContainerId, *, rows: int, columns: int) -> None:
        record = self._running(container, "resize")
        for number in (rows, columns):
            if not 0 < number <= 65535:
                raise InvalidSpec("size", f"{rows}x{columns} is no size of a terminal")
        terminal = self._keeper.held(container, "terminal")
        if terminal is None:
            raise InvalidState(_named(record), "without a terminal", "resize")
        try:
            tty.set_size(terminal, rows, columns)
        finally:
            os.close(terminal)

    # ------------------------------------------------------------------ pause

    def pause(self, container: ContainerId) -> None:
        with self._host.verb(container):
            record = self._running(container, "pause")
            if self.is_paused(container):
                raise InvalidState(_named(record), "paused", "pause")
            with self.standing_still(container):
                self._running(container, "pause")  # still
                self._mark(container).touch(mode=0o600)  # it stays so
        self._host.emit("pause", record)

    def unpause(self, container: ContainerId) -> None:
        with self._host.verb(container):
            record = self._running(container, "unpause")
            if not self.is_paused(container):
                raise InvalidState(_named(record), "not paused", "unpause")
            with self._gate:
                self._mark(container).unlink(missing_ok=True)  # a stop may have let it run
                if container not in self._still:  # whoever still wants it to stand lets it run
                    self._group(container).thaw()
        self._host.emit("unpause", record)

    @contextmanager
    def standing_still(self, container: ContainerId) -> Iterator[None]:
        """Freeze its processes for the time being; they stay so if it is paused. Several may want that at once.

        Who needs it to go on is done first, and nobody else begins meanwhile.
        """
        with self._gate:
            self._still[container] = self._still.get(container, 0) + 1
        try:
            with self._gate:
                self._gate.wait_for(lambda: container not in self._going_on)
            self._group(container).freeze()
            yield
        finally:
            with self._gate:
                _one_less(self._still, container)
                if container not in self._still and not self._mark(container).exists():
                    self._group(container).thaw()
                self._gate.notify_all()

    @contextmanager
    def going_on(self, container: ContainerId) -> Iterator[None]:
        """Keep it from standing still for the time being, once it does no more. One that is paused stays so."""
        with self._gate:
            self._gate.wait_for(lambda: container not in self._still or self.is_paused(container))
            self._going_on[container] = self._going_on.get(container, 0) + 1
        try:
            yield
        finally:
            with self._gate:
                _one_less(self._going_on, container)
                self._gate.notify_all()

    @contextmanager
    def unseen(self, pid_namespaces: Collection[int]) -> Iterator[None]:
        """Have those stand still who could look at whoever sets himself up in these pid namespaces (their inodes)."""
        with ExitStack() as still:
            for container in self._inside(pid_namespaces):
                if PTRACE in in_reach(self._host.config(container)):
                    still.enter_context(self.standing_still(container))
            yield

    def _inside(self, pid_namespaces: Collection[int]) -> Iterator[ContainerId]:
        for record in self._records if pid_namespaces else ():
            live = self._host.live(record.id)
            if live is not None and _pid_namespace(live.pid) in pid_namespaces:
                yield record.id

    def _beside(self, container: ContainerId) -> frozenset[str]:
        """Return the capabilities of whom a process of this container may be looked at by."""
        live = self._host.live(container)
        is_shared = any(
            (record.request.namespaces.pid or "").startswith(PREFIX) for record in self._records
        )
        inside = {container}
        if is_shared and live is not None:
            inside.update(self._inside({_pid_namespace(live.pid)}))
        return frozenset().union(*(in_reach(self._host.config(each)) for each in inside))

    def let_run(self, container: ContainerId) -> None:
        """Thaw it, paused or not, running or not. Idempotent."""
        self._group(container).thaw()
        self._mark(container).unlink(missing_ok=True)

    def is_paused(self, container: ContainerId) -> bool:
        return self._mark(container).exists() and self._group(container).is_frozen()

    def let_run_what_nobody_paused(self, container: ContainerId) -> None:
        """Thaw a container that a manager before us froze for a moment and could not thaw.

        A mark on one that runs is of a pause, or of its end, that such a manager did not finish: it must not make the
        next one who freezes for a moment look like a pause.
        """
        is_frozen = self._group(container).is_frozen()
        if not is_frozen:
            self._mark(container).unlink(missing_ok=True)
        elif not self._mark(container).exists():
            self._group(container).thaw()

    def forget_pause(self, container: ContainerId) -> None:
        """Say that an attempt which has ended is not paused."""
        self._mark(container).unlink(missing_ok=True)

    # ------------------------------------------------------------------ what it does and uses

    def top(self, container: ContainerId) -> tuple[ProcessInfo, ...]:
        self._running(container, "list the processes of")
        found = (process_info(pid) for pid in self._group(container).pids())
        return tuple(info for info in found if info is not None)

    def stats(self, container: ContainerId) -> ContainerStats:
        record = self._records.get(container)
        live = self._host.live(container)
        sample = ContainerStats(
            container=record.id,
            at_ns=time.time_ns(),
            system_cpu_ns=system_cpu_ns(),
            online_cpus=self._facts.cpu_count,
            memory_limit_bytes=record.request.limits.memory_bytes or self._facts.memory_bytes,
        )
        if live is None:
            return sample
        group = self._group(container)
        stats, usage = group.stats(), usage_of(group)
        return replace(
            sample,
            cpu_ns=stats.cpu_ns,
            cpu_user_ns=usage.cpu_user_ns,
            cpu_kernel_ns=usage.cpu_kernel_ns,
            periods=usage.periods,
            throttled_periods=usage.throttled_periods,
            throttled_ns=usage.throttled_ns,
            memory_bytes=stats.memory_bytes,
            memory_inactive_file_bytes=stats.memory_inactive_file_bytes,
            memory_limit_bytes=stats.memory_limit_bytes or sample.memory_limit_bytes,
            memory_details=usage.memory,
            pids=stats.pids,
            pids_limit=usage.pids_limit,
            block_read_bytes=usage.read_bytes,
            block_write_bytes=usage.write_bytes,
            networks=networks(live.pid),
        )

    # ------------------------------------------------------------------ changes

    def update(self, container: ContainerId, limits: Limits) -> None:
        with self._host.verb(container):
            record = self._records.get(container)
            if self._host.live(container) is not None:
                self._group(container).update(limits)
            config = self._host.config(container)
            wanted = msgspec.structs.replace(
                resources(limits), devices=config.linux.resources.devices
            )
            linux = msgspec.structs.replace(config.linux, resources=wanted)
            self._host.set_config(container, msgspec.structs.replace(config, linux=linux))
            request = replace(record.request, limits=limits)
            self._records.update(msgspec.structs.replace(record, request=request))
        self._host.emit("update", record)

    def rename(self, container: ContainerId, name: str) -> None:
        with self._host.verb(container):
            old = self._records.get(container).request.name
            record = self._records.rename(container, name)
        self._host.emit("rename", record, oldName=old)

    # ------------------------------------------------------------------ parts

    def _running(self, container: ContainerId, verb: str) -> Record:
        record = self._records.get(container)
        if self._host.live(container) is None:
            raise InvalidState(_named(record), "not running", verb)
        return record

    def _group(self, container: ContainerId) -> Group:
        return self._hierarchy.open(container)

    def _mark(self, container: ContainerId) -> Path:
        return self._records.run_directory(container) / PAUSED


def _pid_namespace(pid: int) -> int:
    """Return the inode; 0 when the process has ended."""
    try:
        return Path(f"/proc/{pid}/ns/pid").stat().st_ino
    except OSError:
        return 0


def _one_less(counts: dict[ContainerId, int], container: ContainerId) -> None:
    counts[container] -= 1
    if not counts[container]:
        del counts[container]


def _named(record: Record) -> str:
    return f"container {record.request.name}"
