"""Logs: many lines through a container into its log beside the same lines to /dev/null; reading them back; fairness."""

from __future__ import annotations

import time

from runtime.api import ContainerId, LogOptions
from tests.bench.measure import Times, times_of
from tests.bench.ours import Ours
from tests.bench.results import Figure, Results
from tests.bench.start import TRUE
from tests.support.sandbox import paths_of

LINE = "0123456789" * 10 + "12345678"
PAYLOAD = "busybox yes {line} | busybox head -c {size} {to}"
NUMBERS = "busybox seq {first} {last} {to}"
"""A program that makes its lines before it writes them, 4 KiB a write, as all do by their C library."""
FIRST_NUMBER = 10_000_000
NUMBER_BYTES = 9
"""A line of one: eight digits and its end."""
FLOOD = ("/bin/busybox", "yes", LINE)
KEEP = 4
"""The log may have so many times the text: rotation is lifted."""
TARGET_WRITE = 1.3
TARGET_READ_S = 4.0
REFERENCE_BYTES = 500_000_000
"""What the target is for."""
TARGET_SIZE = 1.01


def throughput(results: Results, ours: Ours, *, size: int, count: int) -> None:
    """So many bytes of lines of 109 bytes, to /dev/null, to a file and to the log in turn; then the log is read back.

    The file is what a log costs whoever keeps it: nobody stands between the container and the disk's cache there.
    """
    results.section(f"log of {size / 1e6:.0f} MB in lines of {len(LINE) + 1} bytes")
    text = PAYLOAD.format(line=LINE, size=size, to="{to}")
    nothing: list[int] = []
    logged: list[int] = []
    filed: list[int] = []
    for _ in range(count):
        nothing.append(_run(ours, text, size, to=">/dev/null")[0])
        filed.append(_run(ours, text, size, to=">/text")[0])
        span, made = _run(ours, text, size, to="")
        logged.append(span)
        if len(logged) < count:
            ours.end(made)
    beside = times_of(nothing)
    results.times("log.null", "to /dev/null", beside)
    results.times(
        "log.file", "into a file of the container's", times_of(filed), peer=("to /dev/null", beside)
    )
    results.times(
        "log.write", "into the log", times_of(logged), peer=("to /dev/null", beside), target=TARGET_WRITE
    )  # fmt: skip
    folder = paths_of(ours.root).containers / made / "log"
    on_disk = sum(entry.stat().st_size for entry in folder.iterdir())
    results.add(
        Figure(
            key="log.size",
            what="on disk, index included",
            unit="MB",
            value=on_disk / 1e6,
            peer="the text",
            ratio=on_disk / size,
            target=TARGET_SIZE,
        )
    )
    for key, what, options, target in (
        ("log.read", "read back, whole lines", LogOptions(batched=True), TARGET_READ_S),
        ("log.read-lines", "read back, line by line", LogOptions(), None),
    ):
        span = _read(ours, made, options, size=size) / 1e9
        part = size / REFERENCE_BYTES
        results.add(
            Figure(key=key, what=what, unit="s", value=span, target=target and target * part)
        )
    ours.end(made)


def program(results: Results, ours: Ours, *, size: int, count: int) -> None:
    """So many bytes of lines of a program that has to make them, to /dev/null and to the log in turn."""
    last = FIRST_NUMBER + size // NUMBER_BYTES - 1
    results.section(f"log of {size / 1e6:.0f} MB in numbers, a line each")
    text = NUMBERS.format(first=FIRST_NUMBER, last=last, to="{to}")
    nothing: list[int] = []
    logged: list[int] = []
    for _ in range(count):
        nothing.append(_run(ours, text, size, to=">/dev/null")[0])
        span, made = _run(ours, text, size, to="")
        logged.append(span)
        ours.end(made)
    beside = times_of(nothing)
    results.times("log.program-null", "to /dev/null", beside)
    results.times(
        "log.program", "into the log", times_of(logged), peer=("to /dev/null", beside), target=TARGET_WRITE
    )  # fmt: skip


def _run(ours: Ours, text: str, size: int, *, to: str) -> tuple[int, ContainerId]:
    script = text.format(to=to)
    made = ours.create("/bin/busybox", "sh", "-c", script, log_bytes=KEEP * size)
    begun = time.perf_counter_ns()
    ours.runtime.start(made)
    ours.ended(timeout_s=300)
    span = time.perf_counter_ns() - begun
    if to:
        ours.end(made)
    return span, made


def _read(ours: Ours, container: ContainerId, options: LogOptions, *, size: int) -> int:
    begun = time.perf_counter_ns()
    found = 0
    for chunk in ours.runtime.read_log(container, options):
        found += len(chunk.data)
    span = time.perf_counter_ns() - begun
    if found != size:
        raise RuntimeError(f"{found} bytes were read back of {size}")
    return span


def fairness(results: Results, ours: Ours, *, count: int) -> None:
    """How long a start takes while another container writes all that it can, beside a machine where none does."""
    results.section(f"fairness: {count} starts while another container floods its log")
    idle = _starts(ours, count)
    flood = ours.run(*FLOOD)
    flooded = _starts(ours, count)
    ours.end(flood)
    for key, what, pick in (
        ("p50", "median", lambda times: times.median),
        ("p99", "p99", lambda times: times.p99),
    ):
        _quantile(results, key, what, idle, pick(idle), None)
        _quantile(results, key, what, flooded, pick(flooded), pick(idle))


def _starts(ours: Ours, count: int) -> Times:
    spans: list[int] = []
    for _ in range(count + 1):
        made = ours.create(*TRUE)
        begun = time.perf_counter_ns()
        ours.runtime.start(made)
        spans.append(time.perf_counter_ns() - begun)
        ours.ended()
        ours.runtime.remove(made)
    return times_of(spans[1:])


def _quantile(
    results: Results, key: str, what: str, times: Times, value: float, idle: float | None
) -> None:
    which = "idle" if idle is None else "flooded"
    results.add(
        Figure(
            key=f"fairness.{which}-{key}",
            what=f"request to exec, {which}, {what}",
            unit="ms",
            value=value,
            low=times.low,
            high=times.high,
            count=times.count,
            peer="" if idle is None else "idle",
            ratio=None if idle is None else value / idle,
        )
    )
