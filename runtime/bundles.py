"""OCI bundles run without keeper and manager: the verbs behind `trice-runtime`.

    <root>/<id>/           0700, made by create, removed by delete; flock on it is held by every verb
        state.json         which process it is (runtime.container.state)
        ready              there once set-up is done
        exec.fifo          there until start; the container's init waits for a byte in it

The caller of `create` must run from a sealed memfd and be single-threaded (see `runtime.container.init`).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ENXIO
from pathlib import Path

import msgspec

from runtime.api import HostFacts
from runtime.cgroup import Hierarchy, open_hierarchy
from runtime.container import init, program, wire
from runtime.container.compile import BundleRoot, compile_program
from runtime.container.limits import limits_of
from runtime.container.privileges import bundle_device_rules, may_mount
from runtime.container.state import (
    BundleState,
    BundleStatus,
    decode_state,
    observed_status,
    oci_document,
    require,
)
from runtime.errors import (
    AlreadyExists,
    InvalidSpec,
    InvalidState,
    LaunchFailed,
    NotFound,
    RuntimeFault,
)
from runtime.linux import memfd, pidfd
from runtime.linux.files import write_atomic
from runtime.spec.config import OciConfig, decode_config

KILL_WAIT_MS = 10_000
"""How long a killed container may take to be gone before that is an error."""
CONFIG_LIMIT = 16 << 20

_ID = re.compile(r"[A-Za-z0-9_+.-]{1,255}")
_STATE, _READY, _FIFO = "state.json", "ready", "exec.fifo"
_KILL = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """All bundles of one root directory."""

    root: Path
    cgroup_name: str
    facts: HostFacts

    def create(self, container_id: str, bundle: Path) -> BundleState:
        """Set a container up to the point where only its program is missing; its init then waits for `start`.

        stdin, stdout and stderr are the caller's. Raises AlreadyExists, InvalidSpec, LaunchFailed, KernelRefused;
        nothing is left then.
        """
        if not memfd.runs_sealed():
            raise RuntimeFault("cannot create a container: this process is not sealed")
        _check_id(container_id)
        config = _read_config(bundle)
        directory = self._make_directory(container_id)
        try:
            with _locked(directory):
                return self._create(container_id, bundle, config, directory)
        except BaseException as error:
            self._undo(container_id, config, directory, error)
            raise

    def start(self, container_id: str) -> None:
        """Let a created container execute its program. Raises NotFound, InvalidState."""
        directory = self._directory(container_id)
        with _locked(directory):
            status = self._status(directory)
            require(status, allowed=status.can_start(), what=_named(container_id), verb="start")
            fifo = directory / _FIFO
            try:
                fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno != ENXIO:
                    raise
                raise InvalidState(_named(container_id), "stopped", "start") from None
            try:
                os.write(fd, b"1")
            finally:
                os.close(fd)
            fifo.unlink()

    def state(self, container_id: str) -> dict[str, object]:
        """Return the state document. Raises NotFound."""
        directory = self._directory(container_id)
        return oci_document(_read_state(directory), self._status(directory))

    def kill(self, container_id: str, signal: int) -> None:
        """Send a signal to the container's process, and to no other (security.md row 28).

        Raises NotFound, InvalidState when it is stopped.
        """
        directory = self._directory(container_id)
        process = self._open_process(directory)
        if process is None:
            raise InvalidState(_named(container_id), "stopped", "kill")
        try:
            pidfd.send_signal(process, signal)
        except ProcessLookupError:
            raise InvalidState(_named(container_id), "stopped", "kill") from None
        finally:
            os.close(process)

    def delete(self, container_id: str, *, force: bool) -> None:
        """Remove all that is left of a stopped container.

        With `force` it is killed first, and one that is not there is fine.

        Raises NotFound, InvalidState. Can be done again after any interruption.
        """
        try:
            directory = self._directory(container_id)
        except NotFound:
            if force:
                return
            raise
        with _locked(directory):
            try:
                state = _read_state(directory)
            except NotFound:
                if not force:
                    raise
                shutil.rmtree(directory)  # a create that was killed before it had a process
                return
            status = self._status(directory)
            allowed = force or status.can_delete()
            require(status, allowed=allowed, what=_named(container_id), verb="delete")
            self._end(container_id, directory, state)
            shutil.rmtree(directory)
        self._leave_no_empty_groups()

    def wait(self, container_id: str) -> int:
        """Wait for the end of a container that this very process created; return its wait status."""
        process = self._open_process(self._directory(container_id))
        if process is None:
            raise InvalidState(_named(container_id), "stopped", "wait for")
        try:
            pidfd.wait_ended(process, -1)
            status = pidfd.reap(process)
        finally:
            os.close(process)
        if status is None:
            raise RuntimeFault(f"cannot wait for {_named(container_id)}: it has no status")
        return status

    # ------------------------------------------------------------------ create

    def _make_directory(self, container_id: str) -> Path:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = self.root / container_id
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            raise AlreadyExists(f"{_named(container_id)} exists already") from None
        return directory

    def _create(
        self, container_id: str, bundle: Path, config: OciConfig, directory: Path
    ) -> BundleState:
        fifo = directory / _FIFO
        os.mkfifo(fifo, 0o600)
        group_name = self._group_name(container_id, config)
        hierarchy = self._hierarchy()
        hierarchy.prepare()
        group = hierarchy.create(
            group_name,
            limits_of(config.linux.resources),
            devices=bundle_device_rules(config.linux.resources.devices),
            is_everywhere=may_mount(config),
        )
        document = compile_program(
            config,
            facts=self.facts,
            rootfs=BundleRoot(path=_root_path(config, bundle)),
            cgroup_procs=group.procs_files,
            wait_fifo=str(fifo),
        )
        prepared = program.prepare(document)
        launched = init.launch(prepared, (0, 1, 2))
        try:
            state = BundleState(
                id=container_id,
                bundle=str(bundle),
                group=group_name,
                pid=launched.pid,
                start_time=pidfd.start_time(launched.pid) or 0,
                boot_id=self.facts.boot_id,
                created_at_ns=time.time_ns(),
                annotations=config.annotations,
            )
            _write(directory / _STATE, msgspec.json.encode(state))
            _await_ready(prepared, launched)
            _write(directory / _READY, b"")
        finally:
            os.close(launched.sync_fd)
            os.close(launched.pidfd)
        return state

    def _undo(
        self, container_id: str, config: OciConfig, directory: Path, error: BaseException
    ) -> None:
        """Take back a create that failed; what goes wrong here is noted on the first error, not in its place."""
        try:
            with suppress(NotFound):
                self._end(container_id, directory, _read_state(directory))
            with suppress(InvalidSpec):
                self._hierarchy().open(self._group_name(container_id, config)).remove()
            shutil.rmtree(directory)
            self._leave_no_empty_groups()
        except (RuntimeFault, OSError) as second:
            error.add_note(f"and cannot clean up after it: {second}")

    # ------------------------------------------------------------------ the process and its group

    def _directory(self, container_id: str) -> Path:
        _check_id(container_id)
        directory = self.root / container_id
        if not directory.is_dir():
            raise NotFound(f"no such container: {container_id}")
        return directory

    def _status(self, directory: Path) -> BundleStatus:
        process = self._open_process(directory)
        if process is not None:
            os.close(process)
        return observed_status(
            is_alive=process is not None,
            is_ready=(directory / _READY).exists(),
            has_fifo=(directory / _FIFO).exists(),
        )

    def _open_process(self, directory: Path) -> int | None:
        """Return a pidfd of the container's process, None when that process is no more.

        The pidfd comes first and the start time is compared after: so it cannot be of a later process.
        """
        state = _read_state(directory)
        if state.boot_id != self.facts.boot_id:
            return None
        try:
            process = pidfd.open_process(state.pid)
        except ProcessLookupError:
            return None
        if pidfd.start_time(state.pid) == state.start_time and not pidfd.has_ended(process):
            return process
        os.close(process)
        return None

    def _end(self, container_id: str, directory: Path, state: BundleState) -> None:
        """Kill what is left of its processes and remove its group. Idempotent."""
        group = self._hierarchy().open(state.group)
        group.kill()
        process = self._open_process(directory)
        if process is not None:
            try:
                with suppress(ProcessLookupError):
                    pidfd.send_signal(process, _KILL)
                if not pidfd.wait_ended(process, KILL_WAIT_MS):
                    raise InvalidState(
                        _named(container_id),
                        f"still running {KILL_WAIT_MS / 1000:.0f} s after SIGKILL",
                        "delete",
                    )
                with suppress(ChildProcessError):
                    pidfd.reap(process)
            finally:
                os.close(process)
        group.remove()

    def _hierarchy(self) -> Hierarchy:
        return open_hierarchy(self.facts, self.cgroup_name)

    def _leave_no_empty_groups(self) -> None:
        """Remove the instance's groups when nothing of it is left: no container, no keeper."""
        hierarchy = self._hierarchy()
        if not hierarchy.containers() and not hierarchy.leaf("system").is_populated():
            hierarchy.vacate()

    def _group_name(self, container_id: str, config: OciConfig) -> str:
        """Return the name below our own group that linux.cgroupsPath asks for; the id when it asks for none.

        Anything that is not directly below it is refused: no path of a bundle leads out (security.md row 8).
        """
        path = config.linux.cgroups_path
        if not path:
            return container_id
        ours = f"/{self.cgroup_name}/c/"
        name = path.removeprefix(ours)
        if not _ID.fullmatch(name) or set(name) == {"."}:
            raise InvalidSpec(
                "linux.cgroupsPath", f"{path!r} is neither NAME nor {ours}NAME, which trice can use"
            )
        return name


def _await_ready(prepared: program.Prepared, launched: init.Launched) -> None:
    """Return when the child is set up. Raises LaunchFailed with what it reports, or when it dies silently."""
    frame = os.read(launched.sync_fd, wire.MAX_FRAME + 1)
    if not frame:
        raise LaunchFailed(
            step="set up the container", errno=0, reason="its init was killed (out of memory?)"
        )
    if wire.decode(frame)[0] == wire.READY:
        return
    pidfd.wait_ended(launched.pidfd, KILL_WAIT_MS)
    raise launch_failed(prepared, frame)


def launch_failed(prepared: program.Prepared, frame: bytes) -> LaunchFailed:
    """Return the error that a FAILED frame of this program tells."""
    told = program.failure(prepared, frame)
    return LaunchFailed(
        step=str(told["step"]),
        errno=int(told["errno"]),
        reason=str(told["reason"]),
        path=str(told["path"]),
    )


def _check_id(container_id: str) -> None:
    if not _ID.fullmatch(container_id) or container_id in (".", ".."):
        raise InvalidSpec("container id", f"{container_id!r} is not letters, digits and _ + . -")


def _named(container_id: str) -> str:
    return f"container {container_id}"


def _read_config(bundle: Path) -> OciConfig:
    """Return the bundle's config, with relative bind sources made absolute (config.md §Mounts)."""
    path = bundle / "config.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidSpec(str(path), f"cannot read it: {error.strerror}") from error
    if len(data) > CONFIG_LIMIT:
        raise InvalidSpec(str(path), f"{len(data)} bytes are too many")
    config = decode_config(data, where=str(path))
    mounts = tuple(
        msgspec.structs.replace(mount, source=str(bundle / mount.source))
        if mount.type == "bind" or {"bind", "rbind"} & set(mount.options)
        else mount
        for mount in config.mounts
    )
    return msgspec.structs.replace(config, mounts=mounts)


def _root_path(config: OciConfig, bundle: Path) -> str:
    if config.root is None or not config.root.path:
        raise InvalidSpec("root.path", "is missing")
    return str(bundle / config.root.path)


def _read_state(directory: Path) -> BundleState:
    path = directory / _STATE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"no such container: {directory.name} (half-made; delete --force)") from None
    return decode_state(data, where=str(path))


def _write(path: Path, data: bytes) -> None:
    write_atomic(str(path), data, fsync=False)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the container's lock: one verb at a time. Raises NotFound when it was deleted meanwhile."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if not directory.exists():
            raise NotFound(f"no such container: {directory.name}")
        yield
    finally:
        os.close(fd)
