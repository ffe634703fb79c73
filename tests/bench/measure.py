"""Times and memory: medians of repeated work, PSS of processes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds of one thing done several times."""

    median: float
    low: float
    """The fastest."""
    p95: float
    p99: float
    high: float
    """The slowest."""
    count: int

    def __str__(self) -> str:
        return f"{self.median:7.2f} ms  (min {self.low:.2f}, p95 {self.p95:.2f}, n={self.count})"


def times_of(nanoseconds: Iterable[int]) -> Times:
    """Return the summary of these times."""
    values = sorted(value / 1e6 for value in nanoseconds)
    return Times(
        median=statistics.median(values),
        low=values[0],
        p95=_quantile(values, 0.95),
        p99=_quantile(values, 0.99),
        high=values[-1],
        count=len(values),
    )


def _quantile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, round(len(values) * part))]


def repeated(work: Callable[[], object], count: int) -> Times:
    """Do the work so many times, after once that does not count."""
    work()
    spans: list[int] = []
    for _ in range(count):
        start = time.perf_counter_ns()
        work()
        spans.append(time.perf_counter_ns() - start)
    return times_of(spans)


def run_silently(
    argv: tuple[str, ...],
    environment: dict[str, str],
    folder: Path,
    *,
    errors: Path = Path(os.devnull),
) -> int:
    """Run a command with its output thrown away, what it says on stderr to `errors`; return its exit code.

    By posix_spawn: no fork of this big process is measured.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    said = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in ((null, 0), (null, 1), (said, 2))]
        # posix_spawn knows no working directory: env(1) changes it.
        command = ("/usr/bin/env", f"--chdir={folder}", *argv)
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
    finally:
        os.close(null)
        os.close(said)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def pss_kib(pids: Iterable[int]) -> int:
    """Return the proportional set size of these processes together, in KiB (proc(5), smaps_rollup)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total
