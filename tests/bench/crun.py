"""`crun run` of the same thing: `python -m tests.bench.crun BUNDLE NAME COUNT` prints the times as JSON.

It runs in a mount namespace of its own, because crun refuses the hybrid layout: there the unified hierarchy is
taken off (`times` starts it so).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.measure import Times, run_silently, times_of

IN_OWN_MOUNTS = 'if mountpoint -q "$1"; then umount "$1"; fi; shift; exec "$@"'


def times(bundle: Path, *, group: str, count: int) -> Times:
    """Return the times of a full `crun run` of the bundle, its groups below `group`."""
    worker = [sys.executable, "-m", "tests.bench.crun", str(bundle), group, str(count)]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_OWN_MOUNTS, "sh",
               "/sys/fs/cgroup/unified", *worker]  # fmt: skip
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    if result.returncode:
        raise RuntimeError(f"crun: {result.stderr.strip() or result.stdout.strip()}")
    return times_of(json.loads(result.stdout))


def _worker(bundle: str, group: str, count: int) -> int:
    config = Path(bundle, "config.json")
    document = json.loads(config.read_text())
    spans: list[int] = []
    for number in range(count + 1):
        name = f"{group}-{number}"
        document["linux"]["cgroupsPath"] = f"/{group}/{name}"
        config.write_text(json.dumps(document))
        argv = ("crun", "--root", f"{bundle}/state", "run", "--bundle", bundle, name)
        start = time.perf_counter_ns()
        code = run_silently(argv, dict(os.environ), Path(bundle))
        spans.append(time.perf_counter_ns() - start)
        if code:
            again = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            print(f"exit {code}: {again.stderr.decode().strip()}", file=sys.stderr)
            return 1
    print(json.dumps(spans[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(_worker(sys.argv[1], sys.argv[2], int(sys.argv[3])))
