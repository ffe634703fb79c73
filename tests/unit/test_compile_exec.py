"""Launch programs of execs: what comes before the process can be looked at by others in the container."""

from __future__ import annotations

import msgspec
import pytest

from runtime.container.exec import compile_exec
from runtime.container.program import describe
from runtime.errors import InvalidSpec
from runtime.spec.config import Capabilities, OciConfig, Scheduler, Seccomp, SeccompRule
from tests.support.launching import a_config
from tests.unit.test_compile import V2

OPEN = Seccomp(default_action="SCMP_ACT_ALLOW")
CLOSED = Seccomp(
    default_action="SCMP_ACT_ALLOW",
    syscalls=(SeccompRule(names=("clone3",), action="SCMP_ACT_ERRNO", errno_ret=1),),
)


def config(*held: str, seccomp: Seccomp = OPEN, scheduler: Scheduler | None = None) -> OciConfig:
    made = a_config("true")
    assert made.process is not None
    process = msgspec.structs.replace(
        made.process,
        capabilities=Capabilities(bounding=tuple(f"CAP_{name}" for name in held)),
        no_new_privileges=False,
        scheduler=scheduler,
    )
    linux = msgspec.structs.replace(made.linux, seccomp=seccomp)
    return msgspec.structs.replace(made, process=process, linux=linux)


def ops(made: OciConfig) -> list[str]:
    assert made.process is not None
    document = compile_exec(made, made.process, facts=V2, cgroup_procs=("/g/cgroup.procs",))
    return [line.split()[0] for line in describe(document).splitlines()[1:]]


def test_it_enters_the_pid_namespace_when_all_is_done() -> None:
    said = ops(config())
    assert said[:2] == ["enter_cgroup", "join_process"]
    assert said[-3:] == ["enter_pids", "ready", "execute"]
    assert "seccomp" in said


@pytest.mark.parametrize("held", [(), ("SYS_PTRACE",)])
def test_under_a_filter_that_lets_nobody_enter(held: tuple[str, ...]) -> None:
    said = ops(config(*held, seccomp=CLOSED))
    if held:  # it has no rights any more by then, so it gets no new ones to load the filter with
        assert said[-4:] == ["enter_pids", "seccomp", "ready", "execute"]
        assert "no_new_privileges" in said
    else:
        assert said.index("enter_pids") + 1 == said.index("seccomp") < said.index("capabilities")
        assert "no_new_privileges" not in said


@pytest.mark.parametrize(
    ("policy", "flags", "is_before"),
    [
        ("SCHED_FIFO", (), False),
        ("SCHED_DEADLINE", (), True),
        ("SCHED_OTHER", ("SCHED_FLAG_RESET_ON_FORK",), True),
    ],
)
def test_a_scheduling_policy_that_no_child_has(
    policy: str, flags: tuple[str, ...], *, is_before: bool
) -> None:
    scheduler = Scheduler(policy=policy, flags=flags)
    said = ops(config(scheduler=scheduler))
    assert (said.index("enter_pids") < said.index("scheduler")) is is_before
    if is_before:
        with pytest.raises(InvalidSpec, match=r"process.scheduler.*CAP_SYS_PTRACE"):
            ops(config("SYS_PTRACE", scheduler=scheduler))


@pytest.mark.parametrize(
    ("held", "forgets"),
    [
        (("SYS_PTRACE",), False),
        (("SYS_ADMIN",), False),
        (("SYS_PTRACE", "SYS_ADMIN"), True),
        (("SYS_PTRACE", "CHECKPOINT_RESTORE"), True),
    ],
)
def test_the_hosts_files_are_mapped_no_more_where_others_could_open_them(
    held: tuple[str, ...], *, forgets: bool
) -> None:
    assert ("forget_files" in ops(config(*held))) is forgets
