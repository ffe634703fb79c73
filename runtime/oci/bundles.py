"""OCI bundles run without keeper and manager: the life of a container behind `trice-runtime`.

What lies on disk is `runtime.oci.files`; more processes, pausing and the like are `runtime.oci.processes`.
The caller of `create` must run from a sealed memfd and be single-threaded (see `runtime.container.init`).
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import ENXIO
from pathlib import Path

import msgspec

from runtime.api import HostFacts
from runtime.cgroup import Group, Hierarchy, open_hierarchy
from runtime.container import init, program
from runtime.container.compile import BundleRoot, compile_program
from runtime.container.limits import limits_of
from runtime.container.privileges import bundle_device_rules, may_mount
from runtime.errors import InvalidSpec, InvalidState, LaunchFailed, NotFound, RuntimeFault
from runtime.handshake import Ready, await_ready
from runtime.linux import memfd, pidfd
from runtime.oci.console import send_master
from runtime.oci.files import Place, is_name, make_place, place_at, read_bundle
from runtime.oci.guard import apart, guarded, shortfalls
from runtime.oci.hooks import Hooks, failures, hooks_of, inside, run_hooks
from runtime.oci.state import (
    BundleState,
    BundleStatus,
    observed_status,
    oci_document,
    require,
)
from runtime.spec.config import OciConfig, Process

KILL_WAIT_MS = 10_000
"""How long a killed container may take to be gone before that is an error."""
_KILL = 9
_SYSTEMD = re.compile(r"[^/:]*:[^/:]*:[^/:]*")
"""slice:prefix:name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """All bundles of one root directory."""

    root: Path
    cgroup_name: str
    groups: str = ""
    """Where a service manager has put the instance of this name, as the text of a /proc/PID/cgroup (`runtime.home`)."""
    facts: HostFacts
    warn: Callable[[str], None]
    """Told of what went wrong where nothing can be done about it any more."""

    def create(
        self, container_id: str, bundle: Path, *, console_socket: str | None = None
    ) -> BundleState:
        """Set a container up to the point where only its program is missing; its init then waits for `start`.

        stdin, stdout and stderr are the caller's; a terminal's master is sent to the unix socket `console_socket`.
        Raises AlreadyExists, InvalidSpec, LaunchFailed, KernelRefused; nothing is left then.
        """
        require_sealed()
        config = read_bundle(bundle)
        hooks = hooks_of(config)
        check_console(config.process, console_socket)
        config, changes = guarded(config, self.facts)
        place = make_place(self.root, container_id, self.facts.boot_id)
        try:
            with place.locked():
                place.write_config(config)
                state = self._create(place, bundle, config, hooks, console_socket)
        except BaseException as error:
            self._undo(place, config, hooks, error)
            raise
        self._tell(iter((*shortfalls(config, self.facts), *changes)))
        return state

    def start(self, container_id: str) -> None:
        """Let a created container execute its program. Raises NotFound, InvalidState.

        When a startContainer hook fails the container is killed, and that is raised.
        """
        # [lazy] the other verbs do without
        from runtime.oci.processes import run_start_hooks

        place = self.place(container_id)
        with place.locked():
            status = self.status(place)
            require(status, allowed=status.can_start(), what=place.name, verb="start")
            hooks = hooks_of(place.config())
            if hooks.start_container:
                document = oci_document(place.state(), status)
                try:
                    run_start_hooks(self, place, hooks.start_container, document)
                except RuntimeFault:
                    self._kill_all(place)
                    raise
            self._release(place)
            document = oci_document(place.state(), BundleStatus.RUNNING)
            self._tell(failures("poststart", hooks.poststart, document, directory=_folder(place)))

    def state(self, container_id: str) -> dict[str, object]:
        """Return the state document. Raises NotFound."""
        place = self.place(container_id)
        return oci_document(place.state(), self.status(place))

    def kill(self, container_id: str, signal: int, *, is_for_all: bool = False) -> None:
        """Send a signal to the container's process, and to no other (security.md row 28); or to all that are in it.

        Raises NotFound, InvalidState when it is stopped.
        """
        place = self.place(container_id)
        if is_for_all:
            self._kill_members(place, signal)
            return
        process = place.process()
        if process is None:
            raise InvalidState(place.name, "stopped", "kill")
        try:
            pidfd.send_signal(process, signal)
        except ProcessLookupError:
            raise InvalidState(place.name, "stopped", "kill") from None
        finally:
            os.close(process)

    def delete(self, container_id: str, *, force: bool) -> None:
        """Remove all that is left of a stopped container.

        With `force` it is killed first, and one that is not there is fine.

        Raises NotFound, InvalidState. Can be done again after any interruption.
        """
        try:
            place = self.place(container_id)
        except NotFound:
            if force:
                return
            raise
        with place.locked():
            try:
                state = place.state()
            except NotFound:
                if not force:
                    raise
                shutil.rmtree(place.directory)  # a create that was killed before it had a process
                return
            status = self.status(place)
            require(status, allowed=force or status.can_delete(), what=place.name, verb="delete")
            hooks = hooks_of(place.config())
            self._end(place, state)
            shutil.rmtree(place.directory)
        self._leave_no_empty_groups()
        self._poststop(hooks, state)

    def wait(self, container_id: str) -> int:
        """Wait for the end of a container that this very process created; return its wait status.

        As its parent we may go by the number: nobody else can have it before we have reaped it.
        """
        place = self.place(container_id)
        try:
            return os.waitpid(place.state().pid, 0)[1]
        except ChildProcessError:
            raise InvalidState(place.name, "no child of this process", "wait for") from None

    # ------------------------------------------------------------------ for who acts on one of them

    def place(self, container_id: str) -> Place:
        """Return where the container is. Raises NotFound, InvalidSpec."""
        place = place_at(self.root, container_id, self.facts.boot_id)
        if not place.directory.is_dir():
            raise NotFound(f"container {container_id} does not exist")
        return place

    def places(self) -> tuple[Place, ...]:
        """Return all containers, by id; half-made ones, too."""
        if not self.root.is_dir():
            return ()
        names = sorted(entry.name for entry in self.root.iterdir() if is_name(entry.name))
        return tuple(place_at(self.root, name, self.facts.boot_id) for name in names)

    def status(self, place: Place) -> BundleStatus:
        """Return where it is in its life. Raises NotFound for one that is half-made."""
        process = place.process()
        if process is not None:
            os.close(process)
        return observed_status(
            is_alive=process is not None,
            is_ready=place.is_ready(),
            has_fifo=place.fifo.exists(),
            is_frozen=process is not None and self.group(place).is_frozen(),
        )

    def group(self, place: Place) -> Group:
        """Return its group, whether it is there or not."""
        return self._hierarchy().open(place.state().group)

    # ------------------------------------------------------------------ create

    def _create(
        self,
        place: Place,
        bundle: Path,
        config: OciConfig,
        hooks: Hooks,
        console: str | None,
    ) -> BundleState:
        os.mkfifo(place.fifo, 0o600)
        group_name = self._group_name(place.container_id, config)
        group = self._make_group(group_name, config)
        document = compile_program(
            config,
            facts=self.facts,
            rootfs=BundleRoot(path=config.root.path if config.root else ""),
            cgroup_procs=group.entry_files,
            wait_fifo=str(place.fifo),
            apart=apart(config),
        )
        prepared = program.prepare(document)
        launched = _launch(prepared)
        try:
            state = BundleState(
                id=place.container_id,
                bundle=str(bundle),
                group=group_name,
                pid=launched.pid,
                start_time=pidfd.start_time(launched.pid) or 0,
                boot_id=self.facts.boot_id,
                created_at_ns=time.time_ns(),
                annotations=config.annotations,
            )
            place.write_state(state)
            told = await_ready(
                prepared,
                launched,
                run_hooks=lambda: _run_early(
                    hooks, _followed(place, state, launched), launched.pidfd
                ),
            )
            state = _followed(place, state, launched)
            hand_over(told, console)
            place.set_ready()
        finally:
            os.close(launched.sync_fd)
            os.close(launched.pidfd)
        return state

    def _make_group(self, name: str, config: OciConfig) -> Group:
        hierarchy = self._hierarchy()
        is_elsewhere = name.startswith("/")
        if not is_elsewhere:
            hierarchy.prepare()
        elif hierarchy.open(name).is_populated():
            raise InvalidSpec("linux.cgroupsPath", f"processes that are not ours are in {name}")
        return hierarchy.create(
            name,
            limits_of(config.linux.resources, layout=self.facts.cgroup_layout),
            devices=bundle_device_rules(config.linux.resources.devices),
            is_everywhere=is_elsewhere or may_mount(config),
        )

    def _undo(self, place: Place, config: OciConfig, hooks: Hooks, error: BaseException) -> None:
        """Take back a create that failed; what goes wrong here is noted on the first error, not in its place."""
        try:
            with suppress(NotFound):
                state = place.state()
                self._end(place, state)
                self._poststop(hooks, state)
            with suppress(InvalidSpec):
                group = self._hierarchy().open(self._group_name(place.container_id, config))
                if not group.is_populated():
                    group.remove()
            shutil.rmtree(place.directory)
            self._leave_no_empty_groups()
        except (RuntimeFault, OSError) as second:
            error.add_note(f"and cannot clean up after it: {second}")

    # ------------------------------------------------------------------ the process and its group

    def _release(self, place: Place) -> None:
        """Let init go on to its program."""
        try:
            fd = os.open(place.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != ENXIO:
                raise
            raise InvalidState(place.name, "stopped", "start") from None
        try:
            os.write(fd, b"1")
        finally:
            os.close(fd)
        place.fifo.unlink()

    def _kill_members(self, place: Place, signal: int) -> None:
        """Send a signal to every process of the group, each by pidfd after a second look that it is one of it."""
        group = self.group(place)
        members = group.pids()
        if not members:
            raise InvalidState(place.name, "stopped", "kill")
        if signal == _KILL:
            group.kill()
            return
        for pid in members:
            with suppress(ProcessLookupError):
                _signal_member(group, pid, signal)

    def _kill_all(self, place: Place) -> None:
        """Kill the container and wait until it is gone. Idempotent."""
        self.group(place).kill()
        process = place.process()
        if process is None:
            return
        try:
            with suppress(ProcessLookupError):
                pidfd.send_signal(process, _KILL)
            if not pidfd.wait_ended(process, KILL_WAIT_MS):
                told = f"still running {KILL_WAIT_MS / 1000:.0f} s after SIGKILL"
                raise InvalidState(place.name, told, "delete")
            with suppress(ChildProcessError):
                pidfd.reap(process)
        finally:
            os.close(process)

    def _end(self, place: Place, state: BundleState) -> None:
        """Kill what is left of its processes and remove its group. Idempotent."""
        self._kill_all(place)
        self._hierarchy().open(state.group).remove()

    def _poststop(self, hooks: Hooks, state: BundleState) -> None:
        document = oci_document(state, BundleStatus.STOPPED)
        folder = state.bundle if Path(state.bundle).is_dir() else "/"
        self._tell(failures("poststop", hooks.poststop, document, directory=folder))

    def _tell(self, said: Iterator[str]) -> None:
        for text in said:
            self.warn(text)

    def _hierarchy(self) -> Hierarchy:
        return open_hierarchy(self.facts, self.cgroup_name, groups=self.groups)

    def _leave_no_empty_groups(self) -> None:
        """Remove the instance's groups when nothing of it is left: no container, no keeper."""
        hierarchy = self._hierarchy()
        if not hierarchy.containers() and not hierarchy.leaf("system").is_populated():
            hierarchy.vacate()

    def _group_name(self, container_id: str, config: OciConfig) -> str:
        """Return where linux.cgroupsPath puts the group: at that absolute path, or by name below our own.

        No path of a bundle leads out of where it begins (security.md row 8); the group of a container of ours by its
        path is that very container's, so a bundle may not take it.
        """
        path = config.linux.cgroups_path
        if not path:
            return container_id
        homes = self._hierarchy().homes
        for home in homes:
            if is_name(name := path.removeprefix(f"{home}/c/")) and name != path:
                return name
        if _SYSTEMD.fullmatch(path):
            raise InvalidSpec(
                "linux.cgroupsPath",
                f"{path!r} is for systemd to make; use the engine's --cgroup-manager=cgroupfs",
            )
        parts = path.split("/")[1:] if path.startswith("/") else [path]
        if not all(map(is_name, parts)) or any(path.startswith(f"{home}/") for home in homes):
            raise InvalidSpec(
                "linux.cgroupsPath", f"{path!r} is neither NAME nor an absolute path of names"
            )
        return path


def _launch(prepared: program.Prepared) -> init.Launched:
    """Make the container's process. Raises LaunchFailed also for the pid namespace that it is to be made in."""
    try:
        return init.launch(prepared, (0, 1, 2))
    except OSError as error:
        raise LaunchFailed(
            step="make the container's process",
            errno=error.errno or 0,
            reason=error.strerror or str(error),
            path=str(error.filename or ""),
        ) from error


def require_sealed() -> None:
    """Raise RuntimeFault unless this process may make a child that enters a container (security.md row 1)."""
    if not memfd.runs_sealed():
        raise RuntimeFault("cannot enter a container: this process is not sealed")


def wait_status(process: int) -> int:
    """Wait for the end of a child of ours and return its wait status. Raises RuntimeFault for one that has none."""
    pidfd.wait_ended(process, -1)
    status = pidfd.reap(process)
    if status is None:
        raise RuntimeFault("cannot wait for the process: it has no status")
    return status


def _signal_member(group: Group, pid: int, signal: int) -> None:
    """Send it a signal, after a second look that the pid is still of the group."""
    process = pidfd.open_process(pid)
    try:
        if pid in group.pids():
            pidfd.send_signal(process, signal)
    finally:
        os.close(process)


def _followed(place: Place, state: BundleState, launched: init.Launched) -> BundleState:
    """Return the state with the process that it is by now; written down when that is another."""
    if launched.pid == state.pid:
        return state
    start_time = pidfd.start_time(launched.pid) or 0
    state = msgspec.structs.replace(state, pid=launched.pid, start_time=start_time)
    place.write_state(state)
    return state


def _run_early(hooks: Hooks, state: BundleState, process: int) -> None:
    """Run what comes before the pivot: the child has stopped for it."""
    document = oci_document(state, BundleStatus.CREATING)
    run_hooks("prestart", hooks.prestart, document, directory=state.bundle)
    run_hooks("createRuntime", hooks.create_runtime, document, directory=state.bundle)
    if hooks.create_container:
        with inside(process):
            run_hooks("createContainer", hooks.create_container, document, directory=state.bundle)


def check_console(process: Process | None, console: str | None) -> None:
    """Raise InvalidSpec unless there is somebody to take a terminal, and a terminal to take."""
    wants = bool(process and process.terminal)
    if wants and console is None:
        raise InvalidSpec("process.terminal", "somebody must take it: give --console-socket")
    if console is not None and not wants:
        raise InvalidSpec("--console-socket", "is of no use without process.terminal")


def hand_over(told: Ready, console: str | None) -> None:
    """Send the terminal's master, if there is one, to whoever takes it; ours is closed."""
    if told.master is None or console is None:
        return
    try:
        send_master(console, told.master)
    finally:
        os.close(told.master)


def _folder(place: Place) -> str:
    bundle = place.state().bundle
    return bundle if Path(bundle).is_dir() else "/"
