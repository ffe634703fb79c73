"""What is done with a bundle's container beside its life: exec, pause, resume, ps, update, stats; for `trice-runtime`.

The caller of `execute` must run from a sealed memfd and be single-threaded, like that of `create`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from runtime.container import init, program
from runtime.container.child import Given
from runtime.container.exec import compile_exec
from runtime.container.limits import limits_of
from runtime.errors import InvalidSpec, InvalidState, LaunchFailed
from runtime.handshake import await_executed, await_ready
from runtime.linux import memfd, pidfd
from runtime.oci.bundles import Bundles, check_console, hand_over, require_sealed
from runtime.oci.files import Place
from runtime.oci.hooks import Hook
from runtime.oci.state import require
from runtime.spec.config import Capabilities, OciConfig, Process, Resources

_KILL = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecChanges:
    """What an exec's command line says otherwise than the container's own process section."""

    argv: tuple[str, ...]
    environment: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    """`uid[:gid]`, or names that the container's own files know."""
    additional_groups: tuple[int, ...] = ()
    capabilities: tuple[str, ...] = ()
    """Beside those of the container's own process."""
    tty: bool = False
    no_new_privileges: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """A process that runs in a container. The descriptors are the caller's.

    `master` is that of its terminal, when nobody else has taken it.
    """

    pid: int
    pidfd: int
    master: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleProcesses:
    """The verbs beside the life of a container."""

    bundles: Bundles

    def execute(
        self,
        container_id: str,
        asked: Process | ExecChanges,
        *,
        console_socket: str | None = None,
        is_foreground: bool = False,
        ignores_paused: bool = False,
    ) -> Executed:
        """Start one more process in it; return when its program is executing.

        stdin, stdout and stderr are the caller's, or a terminal whose master goes to `console_socket`; one in the
        foreground keeps it. Raises NotFound, InvalidState, InvalidSpec, LaunchFailed.
        """
        require_sealed()
        place = self.bundles.place(container_id)
        status = self.bundles.status(place)
        require(
            status,
            allowed=status.can_execute(ignores_paused=ignores_paused),
            what=place.name,
            verb="execute a process in",
        )
        config = place.config()
        process = asked if isinstance(asked, Process) else _changed(config, asked)
        if console_socket is not None or not is_foreground:
            check_console(process, console_socket)
        return self._launch(place, config, process, console_socket=console_socket)

    def pause(self, container_id: str) -> None:
        """Stop its processes where they are. Raises InvalidState unless it runs; thawed again on any error."""
        place = self.bundles.place(container_id)
        with place.locked():
            status = self.bundles.status(place)
            require(status, allowed=status.can_pause(), what=place.name, verb="pause")
            self.bundles.group(place).freeze()

    def resume(self, container_id: str) -> None:
        """Let them run on. Raises InvalidState unless it is paused."""
        place = self.bundles.place(container_id)
        with place.locked():
            status = self.bundles.status(place)
            require(status, allowed=status.can_resume(), what=place.name, verb="resume")
            self.bundles.group(place).thaw()

    def pids(self, container_id: str) -> tuple[int, ...]:
        """Return the host's pids of all its processes."""
        return self.bundles.group(self.bundles.place(container_id)).pids()

    def update(self, container_id: str, wanted: Resources) -> None:
        """Set what `wanted` says of limits, of running processes too; what it does not say stays.

        Raises InvalidSpec, InvalidState, KernelRefused.
        """
        if wanted.devices:
            raise InvalidSpec("devices", "rules cannot be changed while the container is there")
        place = self.bundles.place(container_id)
        with place.locked():
            status = self.bundles.status(place)
            require(status, allowed=status.can_kill(), what=place.name, verb="update")
            config = place.config()
            resources = merged(config.linux.resources, wanted)
            self.bundles.group(place).update(
                limits_of(resources, layout=self.bundles.facts.cgroup_layout)
            )
            linux = msgspec.structs.replace(config.linux, resources=resources)
            place.write_config(msgspec.structs.replace(config, linux=linux))

    def stats(self, container_id: str) -> dict[str, object]:
        """Return what its group has used, in the shape of `events --stats`."""
        group = self.bundles.group(self.bundles.place(container_id))
        used = group.stats()
        usage: dict[str, object] = {"usage": used.memory_bytes}
        if used.memory_limit_bytes is not None:
            usage["limit"] = used.memory_limit_bytes
        return {
            "type": "stats",
            "id": container_id,
            "data": {
                "cpu": {"usage": {"total": used.cpu_ns}},
                "memory": {
                    "usage": usage,
                    "raw": {"inactive_file": used.memory_inactive_file_bytes},
                },
                "pids": {"current": used.pids},
            },
        }

    # ------------------------------------------------------------------ the process itself

    def _launch(
        self,
        place: Place,
        config: OciConfig,
        process: Process,
        *,
        console_socket: str | None = None,
        stdio: tuple[int, int, int] = (0, 1, 2),
    ) -> Executed:
        size = process.console_size
        document = compile_exec(
            config,
            process,
            facts=self.bundles.facts,
            cgroup_procs=self.bundles.group(place).entry_files,
            size=(size.height, size.width) if size else None,
        )
        prepared = program.prepare(document)
        target = place.process()
        if target is None:
            raise InvalidState(place.name, "stopped", "execute a process in")
        try:
            launched = init.launch(prepared, stdio, Given(target=target))
        finally:
            os.close(target)
        try:
            told = await_ready(prepared, launched, run_hooks=_no_hooks)
            if console_socket is not None:
                hand_over(told, console_socket)
            await_executed(prepared, launched)
        except BaseException:
            _kill_child(launched.pidfd)
            raise
        finally:
            os.close(launched.sync_fd)
        master = told.master if console_socket is None else None
        return Executed(pid=launched.pid, pidfd=launched.pidfd, master=master)

    def run_hook(self, place: Place, config: OciConfig, hook: Hook, state: bytes) -> None:
        """Run a startContainer hook to its end: a program of the container, with its process's user and rights.

        Raises LaunchFailed when it fails or takes too long.
        """
        step = f"run the startContainer hook {hook.path}"
        own = config.process or Process(cwd="/")
        process = msgspec.structs.replace(
            own, args=(hook.path, *hook.args[1:]), env=hook.env, cwd="/", terminal=False
        )
        document = memfd.sealed("hook-state", state)
        null = os.open("/dev/null", os.O_RDWR)
        try:
            child = self._launch(place, config, process, stdio=(document, null, null)).pidfd
        finally:
            os.close(document)
            os.close(null)
        if not pidfd.wait_ended(child, hook.timeout_s * 1000):
            _kill_child(child)
            reason = f"it took longer than {hook.timeout_s} s"
            raise LaunchFailed(step=step, errno=0, reason=reason)
        status = pidfd.reap(child)
        os.close(child)
        if status:
            code = os.waitstatus_to_exitcode(status)
            told = f"it ended with code {code}" if code > 0 else f"it was ended by signal {-code}"
            raise LaunchFailed(step=step, errno=0, reason=told)


def run_start_hooks(
    bundles: Bundles, place: Place, hooks: Sequence[Hook], state: Mapping[str, object]
) -> None:
    """Run the startContainer hooks in a created container. Raises LaunchFailed at the first that fails."""
    require_sealed()
    config = place.config()
    for hook in hooks:
        processes = BundleProcesses(bundles=bundles)
        processes.run_hook(place, config, hook, msgspec.json.encode(state))


def merged(old: Resources, new: Resources) -> Resources:
    """Return the limits with what `new` says in place of what was said before."""
    changes: dict[str, object] = {}
    for field in ("memory", "cpu", "pids", "block_io"):
        was, wanted = getattr(old, field), getattr(new, field)
        if wanted is None:
            continue
        if was is not None:
            said = {
                name: value
                for name in wanted.__struct_fields__
                if (value := getattr(wanted, name)) not in (None, "", (), False)
            }
            wanted = msgspec.structs.replace(was, **said)
        changes[field] = wanted
    return msgspec.structs.replace(old, **changes)


def decode_process(document: bytes, *, where: str) -> Process:
    """Return a process section (`exec --process FILE`). Raises InvalidSpec."""
    try:
        process = msgspec.json.decode(document, type=Process)
    except msgspec.DecodeError as error:
        raise InvalidSpec(where, str(error)) from error
    if not process.args:
        raise InvalidSpec(f"{where}: args", "is empty")
    return process


def decode_resources(document: bytes, *, where: str) -> Resources:
    """Return a resources section (`update --resources FILE`). Raises InvalidSpec."""
    try:
        return msgspec.json.decode(document, type=Resources)
    except msgspec.DecodeError as error:
        raise InvalidSpec(where, str(error)) from error


def _changed(config: OciConfig, changes: ExecChanges) -> Process:
    own = config.process
    if own is None:
        raise InvalidSpec("process", "is missing")
    if not changes.argv:
        raise InvalidSpec("exec", "needs a command, or --process FILE")
    user = own.user
    if changes.user:
        user = msgspec.structs.replace(user, uid=0, gid=0, username=changes.user)
    if changes.additional_groups:
        groups = (*user.additional_gids, *changes.additional_groups)
        user = msgspec.structs.replace(user, additional_gids=groups)
    return msgspec.structs.replace(
        own,
        args=changes.argv,
        env=(*own.env, *changes.environment),
        cwd=changes.cwd or own.cwd,
        user=user,
        terminal=changes.tty,
        capabilities=_with(own.capabilities or Capabilities(), changes.capabilities),
        no_new_privileges=own.no_new_privileges or changes.no_new_privileges,
    )


def _with(own: Capabilities, added: Sequence[str]) -> Capabilities:
    return msgspec.structs.replace(
        own,
        bounding=(*own.bounding, *added),
        effective=(*own.effective, *added),
        permitted=(*own.permitted, *added),
    )


def _kill_child(process: int) -> None:
    """End a child of ours, however far it has come, and close its pidfd."""
    with suppress(ProcessLookupError):
        pidfd.send_signal(process, _KILL)
    pidfd.wait_ended(process, -1)
    pidfd.reap(process)
    os.close(process)


def _no_hooks() -> None:
    raise LaunchFailed(step="execute", errno=0, reason="it stopped for hooks that it has not")
