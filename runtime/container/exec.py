"""One more process in a running container, as a launch program. Pure.

It joins the container's namespaces and becomes a process by the very operations that a container's own goes through:
user, limits, capabilities, filter. Pid namespace and groups come last: see `steps_join`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from runtime.api import ExecRequest, HostFacts
from runtime.container.compile import process_ops
from runtime.container.compile_mounts import Op
from runtime.container.program import VERSION
from runtime.container.scheduling import is_inherited
from runtime.container.syscall_filter import lets_enter
from runtime.errors import InvalidSpec
from runtime.linux import lightjson
from runtime.spec.config import Capabilities, OciConfig, Process

JOINED = ("mnt", "net", "uts", "ipc", "cgroup", "pid")
PTRACE = "CAP_SYS_PTRACE"
"""Who has it may look at every process in his pid namespace, "undumpable" or not."""
MAPPED = frozenset({"CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"})
"""Who has one of these as well may open what such a process has mapped."""
TERM = "xterm"
"""What a terminal's programs are told it is, as elsewhere."""


def exec_process(
    config: OciConfig, request: ExecRequest, *, all_capabilities: Sequence[str]
) -> Process:
    """Return the process section of an exec: the container's own, with what the request says otherwise.

    `all_capabilities` are what a privileged one gets. Raises InvalidSpec for a value that cannot be.
    """
    own = config.process
    if own is None:
        raise InvalidSpec("process", "is missing")
    if not request.argv or not request.argv[0]:
        raise InvalidSpec("exec: command", "is empty")
    cwd = request.working_dir or own.cwd
    if not cwd.startswith("/"):
        raise InvalidSpec("exec: working_dir", f"{cwd!r} must be absolute")
    user = own.user
    if request.user is not None:
        user = msgspec.structs.replace(user, uid=0, gid=0, username=request.user or "0")
    capabilities = own.capabilities
    if request.privileged:
        capabilities = Capabilities(
            bounding=tuple(all_capabilities),
            effective=tuple(all_capabilities),
            permitted=tuple(all_capabilities),
        )
    return msgspec.structs.replace(
        own,
        args=request.argv,
        cwd=cwd,
        user=user,
        env=tuple(_environment(own.env, request)),
        terminal=request.tty,
        capabilities=capabilities,
        no_new_privileges=own.no_new_privileges and not request.privileged,
    )


def compile_exec(
    config: OciConfig,
    process: Process,
    *,
    facts: HostFacts,
    cgroup_procs: Sequence[str],
    size: tuple[int, int] | None = None,
    is_privileged: bool = False,
    beside: Collection[str] | None = None,
) -> bytes:
    """Return the launch program that runs `process` in a container of this config. Raises InvalidSpec.

    A privileged one has no system call filter. `beside` are the capabilities that others in its pid namespace may have,
    if that is not the container's alone.
    """
    looking = in_reach(config) if beside is None else beside
    if is_privileged:
        linux = msgspec.structs.replace(config.linux, seccomp=None)
        config = msgspec.structs.replace(config, linux=linux)
    if config.root is not None:
        # Of the root's own mount all has been said when the container was made.
        config = msgspec.structs.replace(
            config, root=msgspec.structs.replace(config.root, readonly=False)
        )
    ops: list[Op] = [
        *([["forget_files"]] if PTRACE in looking and not MAPPED.isdisjoint(looking) else ()),
        *(["enter_cgroup", path] for path in cgroup_procs),
        *_oom_ops(process),
        ["join_process", _joined(config)],
        *_terminal_ops(process, size),
        ["close_fds"],
        *(_joining(op) for op in _entering(config, process, facts, is_looked_at=PTRACE in looking)),
        ["ready"],
        ["execute", list(process.args)],
    ]
    try:
        return lightjson.dumps({"version": VERSION, "flags": 0, "ops": ops})
    except UnicodeEncodeError as error:
        raise InvalidSpec("exec", f"text that is not Unicode: {error}") from None


def _entering(
    config: OciConfig, process: Process, facts: HostFacts, *, is_looked_at: bool
) -> list[Op]:
    """Return what makes the process, with its entry into the pid namespace as late as may be.

    That is after everything, but before a filter that would not let it through, and before a scheduling policy that no
    child has. Where others in the container might look at it then, it must have given up its rights all the same: such
    a filter is loaded by one that can get no new privileges, such a policy is refused.
    """
    stops: set[str] = set()
    if config.linux.seccomp is not None and not lets_enter(config.linux.seccomp):
        stops |= {"seccomp", "seccomp_flagged"}
        if is_looked_at:
            process = msgspec.structs.replace(process, no_new_privileges=True)
    if process.scheduler is not None and not is_inherited(process.scheduler):
        stops.add("scheduler")
        if is_looked_at:
            why = "is not for a process executed beside others with CAP_SYS_PTRACE"
            raise InvalidSpec("process.scheduler", why)
    ops = list(process_ops(config, process, facts))
    at = next((index for index, op in enumerate(ops) if op[0] in stops), len(ops))
    return [*ops[:at], ["enter_pids"], *ops[at:]]


def in_reach(config: OciConfig) -> frozenset[str]:
    """Return the capabilities that processes of the container may have."""
    held = config.process.capabilities if config.process is not None else None
    return frozenset(held.bounding if held is not None else ())


def _joined(config: OciConfig) -> list[lightjson.Json]:
    """Return the kinds to join; not every kernel has time namespaces."""
    has_time = any(namespace.type == "time" for namespace in config.linux.namespaces)
    return [*JOINED, "time"] if has_time else [*JOINED]


def _terminal_ops(process: Process, size: tuple[int, int] | None) -> Iterator[Op]:
    if process.terminal:
        rows, columns = size or (0, 0)
        yield ["terminal", rows, columns, "plain"]


def _oom_ops(process: Process) -> Iterator[Op]:
    if process.oom_score_adj is not None:
        yield ["open_procfs"]
        yield ["write_proc", "self/oom_score_adj", str(process.oom_score_adj)]


def _joining(op: Op) -> Op:
    """An exec makes no directory in a running container: its working directory must be there."""
    return ["enter_directory", *op[1:]] if op[0] == "working_dir" else op


def _environment(own: Sequence[str], request: ExecRequest) -> Iterator[str]:
    merged: dict[str, str | None] = {"TERM": TERM} if request.tty else {}
    for entry in own:
        name, _, value = entry.partition("=")
        merged[name] = value
    merged.update(request.environment)
    yield from _assigned(merged)


def _assigned(variables: Mapping[str, str | None]) -> Iterator[str]:
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name or "\0" in (value or ""):
            raise InvalidSpec("exec: environment", f"{name!r} cannot be a variable")
        if value is not None:
            yield f"{name}={value}"
