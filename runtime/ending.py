"""How an ended attempt is told: wait statuses and OOM counts to `Exit`. Pure."""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Callable

from runtime.api import Exit, ExitKind
from runtime.records import Ending

LOST_CODE = 255
_OOM_KINDS = {"container": ExitKind.OOM, "system": ExitKind.SYSTEM_OOM}


def exit_of(ending: Ending) -> Exit:
    """Return the exit as people and policies see it.

    Only a pid 1 that the kernel itself killed is OOM (`oom_of`); an unknown status is LOST, never 0.
    """
    if ending.launch_error:
        return Exit(
            kind=ExitKind.LAUNCH,
            code=ending.launch_code,
            message=ending.launch_error,
            finished_at_ns=ending.at_ns,
        )
    if ending.status is None:
        return Exit(
            kind=ExitKind.LOST,
            code=LOST_CODE,
            message="the keeper was lost before it, so its exit status is unknown",
            finished_at_ns=ending.at_ns,
        )
    code = os.waitstatus_to_exitcode(ending.status)
    if code >= 0:
        return Exit(kind=ExitKind.CODE, code=code, finished_at_ns=ending.at_ns)
    number = -code
    return Exit(
        kind=_OOM_KINDS.get(ending.oom, ExitKind.SIGNAL),
        code=128 + number,
        signal=number,
        finished_at_ns=ending.at_ns,
    )


def oom_of(
    status: int | None, *, oom_kills: int, is_ours: bool, ask_kernel: Callable[[], str | None]
) -> str:
    """Return `Ending.oom` for a pid 1 with this wait status, in whose group so many were killed for want of memory.

    `is_ours`: we have sent it a SIGKILL. `ask_kernel` is asked only where it matters: "container", "system", "" (it was
    something else), None (it cannot tell: then kills in its group, and none of ours, count as its own).
    """
    if status is None or os.waitstatus_to_exitcode(status) != -signals.SIGKILL:
        return ""
    if (reason := ask_kernel()) is not None:
        return reason
    return "container" if oom_kills and not is_ours else ""
