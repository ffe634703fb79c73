"""One more process in a running container: the runtime's own exec, the whole command, and the same of others."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runtime.api import ContainerId, ExecRequest
from tests.bench.measure import Times, repeated, run_silently, times_of
from tests.bench.ours import Commands, Ours
from tests.bench.peer import Peer, PeerFailed
from tests.bench.results import Results
from tests.support.podman import IMAGE, Podman

ECHO = ("/bin/busybox", "echo", "x")
SLEEP = ("/bin/busybox", "sleep", "100000")
NAME = "trice-bench"
"""Of the other's container."""
TARGET = 0.1
PATIENCE_S = 30


def report(results: Results, ours: Ours, peer: Peer, podman: Podman | None, *, count: int) -> None:
    """From the request to the first byte of output, beside `podman exec` and `docker exec` in turn."""
    results.section("exec: busybox echo in a running container")
    made = ours.run(*SLEEP)
    first_output(ours, made)
    theirs: dict[str, list[int]] = {}
    others: dict[str, Callable[[], int]] = {}
    if podman is not None and start_other(results, peer, podman):
        podman_exec = podman.command("exec", NAME, *ECHO)
        others["podman exec"] = lambda: peer.run(*podman_exec)
    if (docker := _docker(results)) is not None:
        others["docker exec"] = lambda: peer.run(*docker)
    spans: list[int] = []
    for _ in range(count):
        spans.append(first_output(ours, made))
        for name, work in others.items():
            theirs.setdefault(name, []).append(work())
    mine = times_of(spans)
    results.times("exec.trice", "trice, request to first output", mine)
    for name, taken in theirs.items():
        beside = times_of(taken)
        results.times(f"exec.{name.split()[0]}", name, beside)
        results.times(
            f"exec.ratio-{name.split()[0]}", f"trice beside {name}", mine, peer=(name, beside), target=TARGET
        )  # fmt: skip
    ours.end(made)
    if "podman exec" in others and podman is not None:
        peer.run(*podman.command("rm", "--force", "--time", "0", NAME))
    if docker is not None:
        _docker_rm()


def first_output(ours: Ours, container: ContainerId) -> int:
    """Run it; return after how many ns its first byte was here. It is waited for, which does not count."""
    begun = time.perf_counter_ns()
    session = ours.runtime.exec(container, ExecRequest(argv=ECHO))
    try:
        assert session.stdout_fd is not None
        assert select.select([session.stdout_fd], [], [], PATIENCE_S)[0]
        assert os.read(session.stdout_fd, 10) == b"x\n"
        span = time.perf_counter_ns() - begun
        session.wait(PATIENCE_S)
    finally:
        session.close()
    return span


def command(results: Results, commands: Commands, folder: Path, *, count: int) -> None:
    """`trice exec`, with what an interpreter's start alone takes: the command line is Python."""
    taken = commands.times("exec", "-T", "s0", *ECHO, count=count)
    floor = interpreter(folder, count)
    results.times("exec.command", "trice exec -T, the whole command", taken, peer=("an interpreter's start", floor),
                  note="Python starts, loads the command line and asks by a socket")  # fmt: skip


def interpreter(folder: Path, count: int) -> Times:
    """Return what everything that is Python takes at least."""
    argv = (sys.executable, "-I", "-c", "pass")
    return repeated(lambda: run_silently(argv, dict(os.environ), folder), count)


def start_other(results: Results, peer: Peer, podman: Podman) -> bool:
    """Start podman's container, with its own default runtime; False, and it is said why, where it cannot."""
    command = podman.command("run", "-d", "--name", NAME, *podman.container(), IMAGE, *SLEEP)
    try:
        peer.run(*command)
    except PeerFailed as error:
        results.remark(f"podman: not measured ({error})")
        return False
    return True


def _docker(results: Results) -> tuple[str, ...] | None:
    """Return docker's command, when an engine answers and has a busybox; say so where not."""
    if shutil.which("docker") is None:
        results.remark("docker exec: not installed")
        return None
    run = ("docker", "run", "-d", "--rm", "--name", NAME, "--network", "none", "busybox", "sleep", "1000")  # fmt: skip
    done = subprocess.run(
        run, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or "no answer").splitlines()
        results.remark(f"docker exec: not measured ({said[-1] if len(said) == 1 else said[0]})")
        return None
    return ("docker", "exec", NAME, "busybox", "echo", "x")


def _docker_rm() -> None:
    run_silently(("docker", "rm", "-f", NAME), dict(os.environ), Path("/"))
