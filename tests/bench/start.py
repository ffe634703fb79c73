"""Starts: one after another beside `crun run`, pair by pair, and many at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.crun import Crun
from tests.bench.measure import times_of
from tests.bench.ours import Ours
from tests.bench.peer import Peer
from tests.bench.results import Figure, Results

TRUE = ("/bin/busybox", "true")
AT_ONCE = 8
"""Starts that are asked for at the same time, of ours as of the peer."""
TARGET_TO_EXEC = 0.4
TARGET_FULL = 0.5


def one_by_one(results: Results, ours: Ours, crun: Crun | None, peer: Peer, *, count: int) -> None:
    """From the request to the program's execution, and to the end of all of it, beside `crun run` in turn."""
    results.section("start: busybox true, full default profile, no network, the same limits")
    to_exec: list[int] = []
    full: list[int] = []
    theirs: list[int] = []
    for _ in range(count + 1):
        made = ours.create(*TRUE)
        begun = time.perf_counter_ns()
        ours.runtime.start(made)
        to_exec.append(time.perf_counter_ns() - begun)
        ours.ended()
        full.append(time.perf_counter_ns() - begun)
        ours.end(made)
        if crun is not None:
            theirs.append(peer.run(*crun.command()))
    beside = ("crun run", times_of(theirs[1:])) if crun is not None else None
    if beside is not None:
        results.times("start.crun", "crun run", beside[1])
    for key, what, spans, target in (
        ("start.to-exec", "trice, request to exec", to_exec, TARGET_TO_EXEC),
        ("start.full", "trice, request to everything gone", full, TARGET_FULL),
    ):
        results.times(
            key, what, times_of(spans[1:]), peer=beside, target=target if beside else None
        )


def many_at_once(
    results: Results, ours: Ours, crun: Crun | None, peer: Peer, *, count: int
) -> None:
    """So many containers, a few at the same time: how many a second run to their end."""
    results.section(f"{count} starts, {AT_ONCE} at the same time, each run to its end")
    theirs: float | None = None
    if crun is not None:
        spans = peer.crowd([crun.command() for _ in range(count)], at_once=AT_ONCE)
        theirs = count / (spans.total / 1e9)
        results.add(Figure(key="crowd.crun", what="crun run", unit="a second", value=theirs))
    made = [ours.create(*TRUE) for _ in range(count)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(ours.runtime.start, made))
        for _ in made:
            ours.ended()
    rate = count / (time.perf_counter() - begun)
    ours.end(*made)
    results.add(
        Figure(
            key="crowd.trice",
            what="trice, through the keeper",
            unit="a second",
            value=rate,
            peer="crun run" if theirs else "",
            ratio=rate / theirs if theirs else None,
        )
    )
