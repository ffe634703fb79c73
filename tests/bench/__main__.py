"""`python -m tests.bench`: print trice beside crun, podman, docker and docker compose, measured in one run.

Nothing here is a test. Peers take turns with us wherever that can be; what is not installed is said and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import config, execs, logs, ours, resident, start, stats
from tests.bench.crun import Crun
from tests.bench.peer import Peer, peer
from tests.bench.results import Results
from tests.support.podman import Podman, podman_in
from tests.support.sandbox import end_groups, paths_of

MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    starts: int = 60
    crowd: int = 100
    execs: int = 40
    containers: int = 100
    rounds: int = 10
    log_bytes: int = 500 * MB
    logs: int = 3
    commands: int = 10
    sizes: tuple[int, ...] = config.SIZES


TINY = Scale(
    starts=2, crowd=4, execs=2, containers=3, rounds=2, log_bytes=4 * MB, logs=1, commands=1,
    sizes=(1, 2),
)  # fmt: skip
"""So that all of it has run: the figures mean nothing."""


def main() -> int:
    """Measure everything and print it. Needs root."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--tiny", action="store_true", help="as little as possible of everything")
    parser.add_argument(
        "--only", nargs="*", choices=sorted(PARTS), help="these parts; all of them unless given"
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: needs root", file=sys.stderr)
        return 1
    results = Results()
    root = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))
    try:
        measure(results, root, TINY if options.tiny else Scale(), options.only or [*PARTS])
    finally:
        left = [*end_groups(paths_of(root).cgroup_name), *end_groups(f"{root.name}-crun")]
        shutil.rmtree(root, ignore_errors=True)
        if left:
            print("bench: left running, and killed now:", *left, sep="\n  ", file=sys.stderr)
    if options.json:
        results.write(options.json)
    return 0


def measure(results: Results, root: Path, scale: Scale, parts: list[str]) -> None:
    for part in PARTS:
        if part in parts:
            PARTS[part](results, root, scale)


def starting(results: Results, root: Path, scale: Scale) -> None:
    with peer() as beside, ours.ours_in(root) as mine:
        crun = _crun(results, root, mine)
        start.one_by_one(results, mine, crun, beside, count=scale.starts)
        start.many_at_once(results, mine, crun, beside, count=scale.crowd)


def executing(results: Results, root: Path, scale: Scale) -> None:
    with (
        _podman(root / f"{root.name}-podman") as podman,
        ours.ours_in(root) as mine,
        peer(podman.environment if podman else None) as beside,
    ):
        execs.report(results, mine, beside, podman, count=scale.execs)


def using(results: Results, root: Path, scale: Scale) -> None:
    with ours.ours_in(root) as mine:
        stats.report(results, mine, containers=scale.containers, count=scale.rounds)


def logging(results: Results, root: Path, scale: Scale) -> None:
    with ours.ours_in(root) as mine:
        logs.throughput(results, mine, size=scale.log_bytes, count=scale.logs)
        logs.program(results, mine, size=scale.log_bytes, count=scale.logs)
        logs.fairness(results, mine, count=scale.starts)


def living(results: Results, root: Path, scale: Scale) -> None:
    resident.report(results, root, count=scale.commands)


def configuring(results: Results, root: Path, scale: Scale) -> None:
    config.report(results, root, scale.commands, sizes=scale.sizes)


PARTS = {
    "start": starting,
    "exec": executing,
    "stats": using,
    "logs": logging,
    "resident": living,
    "config": configuring,
}


def _crun(results: Results, root: Path, mine: ours.Ours) -> Crun | None:
    if shutil.which("crun") is None:
        results.section("crun")
        results.remark("not installed: nothing is measured beside it")
        return None
    made = mine.create(*start.TRUE)
    document = mine.config(made)
    mine.end(made)
    return Crun(root / "bundle", document, group=f"{root.name}-crun")


@contextmanager
def _podman(root: Path) -> Iterator[Podman | None]:
    if shutil.which("podman") is None or shutil.which("crun") is None:
        yield None
        return
    root.mkdir()
    with podman_in(root, runtime="crun") as podman:
        yield podman


__all__ = ["PARTS", "Peer", "Scale", "main", "measure"]

if __name__ == "__main__":
    sys.exit(main())
