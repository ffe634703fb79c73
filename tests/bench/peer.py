"""Commands of other runtimes, timed where they can run: `python -m tests.bench.peer` is told what to run by JSON lines.

crun refuses the hybrid layout of cgroups, and podman runs crun: so the worker is in a mount namespace of its own where
the unified hierarchy is taken off. Nothing else is different there.

    {"argvs": [[…], …], "at_once": N}  ─►  {"spans": [ns, …], "total": ns}  or  {"error": "…"}
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import run_silently

_IN_OWN_MOUNTS = (
    'if mountpoint -q "$1"; then umount "$1" && mount -t tmpfs none "$1"; fi; shift; exec "$@"'
)
"""crun makes directories there all the same: they go with this namespace."""


class PeerFailed(Exception):
    """A command of a peer failed; the message is its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Nanoseconds."""

    each: tuple[int, ...]
    """Of every command."""
    total: int
    """From the first's beginning to the last's end."""


class Peer:
    """The worker. One request at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *argv: str) -> int:
        """Run one command; return how long it took in ns. Raises PeerFailed."""
        return self.crowd([argv], at_once=1).each[0]

    def crowd(self, argvs: Sequence[Sequence[str]], *, at_once: int) -> Spans:
        """Run commands, so many at once. Raises PeerFailed when one fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"argvs": argvs, "at_once": at_once}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the worker is gone"}
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return Spans(each=tuple(answer["spans"]), total=answer["total"])


@contextmanager
def peer(environment: dict[str, str] | None = None) -> Iterator[Peer]:
    """Start the worker; it ends with the block."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_OWN_MOUNTS, "sh",
               "/sys/fs/cgroup/unified", sys.executable, "-m", "tests.bench.peer"]  # fmt: skip
    with subprocess.Popen(
        command,
        env=environment or dict(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Peer(process)
        assert process.stdin is not None
        process.stdin.close()


def _work() -> int:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: dict[str, object] = _crowd(request["argvs"], request["at_once"])
        except PeerFailed as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
    return 0


def _crowd(argvs: list[list[str]], at_once: int) -> dict[str, object]:
    begun = time.perf_counter_ns()
    if at_once == 1:
        spans = [_timed(argv) for argv in argvs]
    else:
        with ThreadPoolExecutor(at_once) as pool:
            spans = list(pool.map(_timed, argvs))
    return {"spans": spans, "total": time.perf_counter_ns() - begun}


def _timed(argv: list[str]) -> int:
    with tempfile.NamedTemporaryFile(mode="r") as said:
        begun = time.perf_counter_ns()
        code = run_silently(tuple(argv), dict(os.environ), Path("/"), errors=Path(said.name))
        span = time.perf_counter_ns() - begun
        if code:
            raise PeerFailed(f"{argv[0]}: exit code {code}: {said.read().strip()[-500:]}")
        return span


if __name__ == "__main__":
    sys.exit(_work())
