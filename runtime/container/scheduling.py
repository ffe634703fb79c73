"""What an OCI config says of CPU and disk scheduling, and of the execution domain, as operations. Pure.

OCI runtime-spec, config.md §Linux Process (scheduler, ioPriority), config-linux.md §Personality.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from runtime.container.compile_mounts import Op
from runtime.errors import InvalidSpec
from runtime.spec.config import IoPriority, OciConfig, Personality, Process, Scheduler

_POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
_RESET = "SCHED_FLAG_RESET_ON_FORK"
_POLICY_FLAGS = {
    _RESET: 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
_IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_IO_CLASS_SHIFT = 13
_PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}
_ATTRIBUTES = Struct("=IIQiIQQQ")
"""struct sched_attr, version 0: size, policy, flags, nice, priority, runtime, deadline, period."""


def scheduling_ops(config: OciConfig, process: Process) -> Iterator[Op]:
    """Yield them; nothing where nothing is said. Raises InvalidSpec for words that mean nothing here."""
    if process.scheduler is not None:
        yield _scheduler(process.scheduler)
    if process.io_priority is not None:
        yield _io_priority(process.io_priority)
    if config.linux.personality is not None:
        yield _personality(config.linux.personality)


def is_inherited(policy: Scheduler) -> bool:
    """Say whether children have it, too: of SCHED_DEADLINE there can be none (sched(7))."""
    return policy.policy != "SCHED_DEADLINE" and _RESET not in policy.flags


def _scheduler(wanted: Scheduler) -> Op:
    where = "process.scheduler"
    if wanted.policy not in _POLICIES:
        raise InvalidSpec(f"{where}.policy", f"{wanted.policy!r} is none")
    if not -20 <= wanted.nice <= 19:
        raise InvalidSpec(f"{where}.nice", f"{wanted.nice} is not between -20 and 19")
    flags = 0
    for index, name in enumerate(wanted.flags):
        if name not in _POLICY_FLAGS:
            raise InvalidSpec(f"{where}.flags[{index}]", f"{name!r} is none")
        flags |= _POLICY_FLAGS[name]
    numbers = (wanted.priority, wanted.runtime, wanted.deadline, wanted.period)
    if min(numbers) < 0:
        raise InvalidSpec(where, "a number is less than 0")
    packed = _ATTRIBUTES.pack(
        _ATTRIBUTES.size, _POLICIES[wanted.policy], flags, wanted.nice, *numbers
    )
    return ["scheduler", packed.hex()]


def _io_priority(wanted: IoPriority) -> Op:
    where = "process.ioPriority"
    if wanted.kind not in _IO_CLASSES:
        raise InvalidSpec(f"{where}.class", f"{wanted.kind!r} is none")
    if not 0 <= wanted.priority <= 7:
        raise InvalidSpec(f"{where}.priority", f"{wanted.priority} is not between 0 and 7")
    return ["io_priority", _IO_CLASSES[wanted.kind] << _IO_CLASS_SHIFT | wanted.priority]


def _personality(wanted: Personality) -> Op:
    if wanted.domain not in _PERSONALITIES:
        raise InvalidSpec("linux.personality.domain", f"{wanted.domain!r} is not supported")
    if wanted.flags:
        raise InvalidSpec("linux.personality.flags", f"{wanted.flags[0]!r} is not supported")
    return ["personality", _PERSONALITIES[wanted.domain]]
