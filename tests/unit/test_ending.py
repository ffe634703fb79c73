"""How an end is told: statuses, lost ones, failed launches, and who killed for want of memory."""

from __future__ import annotations

import signal

import pytest

from runtime.api import ExitKind
from runtime.ending import exit_of, oom_of
from runtime.linux.kmsg import reason_in
from runtime.records import Ending

KILLED = int(signal.SIGKILL)
BY_GROUP = (
    "3,101,5000000,-;Memory cgroup out of memory: Killed process 77 (sh) total-vm:9kB, anon-rss:8kB"
)
BY_MACHINE = "3,102,6000000,-;Out of memory: Killed process 77 (sh) total-vm:9kB, anon-rss:8kB"
BY_CPUSET = (
    "3,103,6000000,-;Out of memory (oom_kill_allocating_task): Killed process 77 (sh) total-vm:9kB"
)
OTHERS = (
    "6,100,4000000,-;sh invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n",
    " SUBSYSTEM=cgroup\n",
    "3,104,7000000,-;Out of memory: Killed process 78 (sh) total-vm:9kB\n",
    "3,105,7000000,-;sh: Out of memory: Killed process 77 (sh), as a program says it\n",
    "",
)


@pytest.mark.parametrize(
    ("record", "reason"),
    [(BY_GROUP, "container"), (BY_MACHINE, "system"), (BY_CPUSET, "system"), ("", "")],
)
def test_the_kernels_word_of_a_kill(record: str, reason: str) -> None:
    assert reason_in([*OTHERS, record, *OTHERS], 77, since_us=5_000_000) == reason


def test_an_older_process_of_the_same_number_is_another() -> None:
    assert reason_in([BY_GROUP], 77, since_us=5_000_001) == ""
    assert reason_in([BY_GROUP, BY_MACHINE], 77, since_us=0) == "system"


@pytest.mark.parametrize(
    ("status", "kills", "is_ours", "kernel", "told"),
    [
        (KILLED, 1, False, "container", "container"),
        (KILLED, 0, False, "system", "system"),
        (KILLED, 1, False, "", ""),  # a child was; pid 1 was killed by somebody
        (KILLED, 1, False, None, "container"),  # the kernel's log cannot be read: counted
        (KILLED, 1, True, None, ""),
        (KILLED, 0, False, None, ""),
        (1 << 8, 1, False, "container", ""),  # it ended by itself
        (None, 1, False, "container", ""),
    ],
)
def test_who_killed_pid_1(
    status: int | None, kills: int, is_ours: bool, kernel: str | None, told: str
) -> None:
    reason = oom_of(status, oom_kills=kills, is_ours=is_ours, ask_kernel=lambda: kernel)
    assert reason == told


@pytest.mark.parametrize(
    ("ending", "kind", "code", "number"),
    [
        (Ending(attempt=1, at_ns=1, status=7 << 8), ExitKind.CODE, 7, None),
        (Ending(attempt=1, at_ns=1, status=15), ExitKind.SIGNAL, 143, 15),
        (Ending(attempt=1, at_ns=1, status=11 | 0x80), ExitKind.SIGNAL, 139, 11),  # with a core
        (Ending(attempt=1, at_ns=1, status=KILLED, oom="container"), ExitKind.OOM, 137, 9),
        (Ending(attempt=1, at_ns=1, status=KILLED, oom="system"), ExitKind.SYSTEM_OOM, 137, 9),
        (Ending(attempt=1, at_ns=1, status=None), ExitKind.LOST, 255, None),
        (
            Ending(attempt=1, at_ns=1, launch_error="cannot", launch_code=126),
            ExitKind.LAUNCH,
            126,
            None,
        ),
    ],
)
def test_how_an_end_is_told(ending: Ending, kind: ExitKind, code: int, number: int | None) -> None:
    end = exit_of(ending)
    assert (end.kind, end.code, end.signal) == (kind, code, number)
