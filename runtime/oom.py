"""Why the kernel killed a container's first process, by the kernel's own log."""

from __future__ import annotations

import time

from runtime.linux import kmsg
from runtime.processes import Live

KERNEL_CLOCK_SLACK_NS = 1_000_000_000
"""How far the kernel log's clock and ours may be apart."""


def why_killed(live: Live, ended_at_ns: int) -> str | None:
    """Return why the kernel killed this attempt's pid 1, if it did (`kmsg.oom_reason`)."""
    if not live.pid or not live.started_at_ns:
        return None
    lived_ns = max(0, ended_at_ns - live.started_at_ns) + KERNEL_CLOCK_SLACK_NS
    since_ns = time.monotonic_ns() - (time.time_ns() - ended_at_ns) - lived_ns
    return kmsg.oom_reason(live.pid, since_us=max(0, since_ns // 1000))
