"""`python -m tests.bench`: print trice beside `crun run` (and docker, podman where they answer), measured in one run.

--count N    how often each start is measured (default 50; commands a fifth of it)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench import config, crun, ours
from tests.bench.measure import Times, repeated, run_silently
from tests.support.sandbox import end_groups, paths_of

TARGET_FULL = 0.5
TARGET_FURTHER_KIB = 300


def main() -> int:
    """Measure everything and print it. Needs root and crun."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    count = parser.parse_args().count
    if os.geteuid() != 0:
        print("bench: needs root", file=sys.stderr)
        return 1
    root = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))
    try:
        _measure(root, count)
    finally:
        left = [*end_groups(paths_of(root).cgroup_name), *end_groups(f"{root.name}-crun")]
        shutil.rmtree(root, ignore_errors=True)
        if left:
            print("bench: left running, and killed now:", *left, sep="\n  ", file=sys.stderr)
    return 0


def _measure(root: Path, count: int) -> None:
    print("busybox true, no network, same configuration and limits")
    with ours.runtime_of(root) as runtime:
        starts = ours.starts(runtime, root, count=count)
    _row("trice: request to exec", starts.to_exec)
    _row("trice: full run", starts.full)
    reference = _crun(root, count)
    for engine in ("docker", "podman"):
        _engine(engine, max(3, count // 10), starts.full)
    if reference is not None:
        full = starts.full.median / reference.median
        print(
            f"  ratio to crun run: to exec {starts.to_exec.median / reference.median:.2f}, "
            f"full {full:.2f} (target {TARGET_FULL}: {_verdict(full, TARGET_FULL)})"
        )
    _resident(root, max(5, count // 5))
    config.report(root, max(5, count // 5), _row)


def _crun(root: Path, count: int) -> Times | None:
    if shutil.which("crun") is None:
        print("  crun: not installed")
        return None
    reference = crun.times(root / "bundle", group=f"{root.name}-crun", count=count)
    _row("crun run", reference)
    return reference


def _engine(name: str, count: int, mine: Times) -> None:
    """Measure `<engine> run` where an engine answers and has a busybox image; say so where not."""
    if shutil.which(name) is None:
        print(f"  {name}: not installed")
        return
    probe = subprocess.run(
        [name, "image", "inspect", "busybox"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if probe.returncode:
        reason = (probe.stderr.strip() or "no answer").splitlines()[-1]
        print(f"  {name}: not measured ({reason})")
        return
    argv = (name, "run", "--rm", "--network", "none", "busybox", "true")
    taken = repeated(lambda: run_silently(argv, dict(os.environ), Path("/")), count)
    _row(f"{name} run", taken)
    print(f"  ratio to {name} run: full {mine.median / taken.median:.3f}")


def _resident(root: Path, count: int) -> None:
    folder = root / "stack"
    ours.stack(folder, 1)
    commands = ours.Commands(root, folder)
    commands.run("image", "load", str(root / "busybox.tar"))
    try:
        found = ours.memory(commands, root, folder)
        print("memory, PSS")
        print(f"  keeper  {found.keeper:6d} KiB")
        print(f"  manager {found.manager:6d} KiB")
        print(
            f"  each further container {found.further:.0f} KiB, of it the payload {found.further_payload:.0f} "
            f"(target {TARGET_FURTHER_KIB}: {_verdict(found.further, TARGET_FURTHER_KIB)})"
        )
        print(f"commands, {1 + ours.FURTHER} containers running")
        python = (sys.executable, "-I", "-c", "pass")
        start = repeated(lambda: run_silently(python, dict(os.environ), folder), count)
        _row("an interpreter's start", start)
        for words in (("ps",), ("up", "-d")):
            taken = commands.times(*words, count=count)
            _row(f"trice {' '.join(words)}" + (" (nothing to do)" if "up" in words else ""), taken)
            print(f"  ratio to an interpreter's start: {taken.median / start.median:.1f}")
    finally:
        commands.run("system", "stop")


def _row(what: str, times: Times) -> None:
    print(f"  {what:34s}{times}")


def _verdict(value: float, target: float) -> str:
    return "met" if value <= target else f"missed by {value / target - 1:.0%}"


if __name__ == "__main__":
    sys.exit(main())
