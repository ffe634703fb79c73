"""What it takes to know what a hundred containers use."""

from __future__ import annotations

import time

from tests.bench.execs import SLEEP
from tests.bench.measure import times_of
from tests.bench.ours import Ours
from tests.bench.results import Figure, Results


def report(results: Results, ours: Ours, *, containers: int, count: int) -> None:
    """One round is everything that `stats` shows, of each container once."""
    results.section(f"stats of {containers} containers, one round")
    made = [ours.run(*SLEEP) for _ in range(containers)]
    spans: list[int] = []
    cpu: list[int] = []
    for _ in range(count + 1):
        begun, used = time.perf_counter_ns(), time.process_time_ns()
        for container in made:
            ours.runtime.stats(container)
        spans.append(time.perf_counter_ns() - begun)
        cpu.append(time.process_time_ns() - used)
    results.times("stats.round", "trice, one round", times_of(spans[1:]))
    taken = times_of(cpu[1:])
    results.add(
        Figure(
            key="stats.cpu",
            what="of that processor time",
            unit="ms",
            value=taken.median,
            low=taken.low,
            high=taken.high,
            count=taken.count,
        )
    )
    ours.end(*made)
