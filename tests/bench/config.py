"""How long `trice config` takes: cold, on the largest example, and on generated stacks of growing size.

The generated services have what is usual: environment with variables, ports, healthcheck, dependencies. Beside it
is the time of the reference tool (`make conformance` installs it), on the same files in the same run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import Times, repeated, run_silently

EXAMPLES = Path(__file__).parents[2] / "examples" / "stacks"
ORACLES = ".venv-conformance/lib/python*/site-packages/compose/docker-compose"
TRICE = Path(sys.executable).with_name("trice")
SIZES = (75, 150, 300, 600)
TARGET_EXAMPLE_MS = 200
TARGET_MS = 1000
TARGET_SIZE = 300
TARGET_GROWTH = 2.2
"""Twice the services in at most so many times the time; what starting costs makes it less than two."""

_SERVICE = """\
  service-{n:04}:
    image: registry.example/app-{few}:1.{n}
    restart: unless-stopped
    environment:
      LOG_LEVEL: ${{LOG_LEVEL:-info}}
      DATABASE_URL: postgres://db-{few}:5432/app
      WORKERS: {few}
    ports: ["{outside}:80", "127.0.0.1:{further}:443/tcp"]
    healthcheck:
      test: [CMD, curl, -f, http://localhost/]
      interval: 30s
      timeout: 5s
      retries: 3
    depends_on:
      service-{half:04}: {{condition: service_healthy}}
"""


def generated(count: int) -> str:
    """Return a stack of so many services; each depends on the one of half its number."""
    services = [
        _SERVICE.format(n=n, few=n % 7, half=n // 2, outside=10_000 + n, further=20_000 + n)
        for n in range(1, count + 1)
    ]
    return "name: generated\nservices:\n  service-0000: {image: first}\n" + "".join(services)


def report(folder: Path, count: int, row: Callable[[str, Times], None]) -> None:
    """Measure in `folder`, each thing so many times, and print it."""
    print(f"config, cold; load average {os.getloadavg()[0]:.1f}")
    example = max(EXAMPLES.glob("*/compose.yaml"), key=lambda file: file.stat().st_size)
    taken = _times(TRICE, example, count)
    row(f"trice config, {example.parent.name}", taken)
    print(f"  target {TARGET_EXAMPLE_MS} ms: {_verdict(taken.median, TARGET_EXAMPLE_MS)}")
    oracle = next(iter(Path(__file__).parents[2].glob(ORACLES)), None)
    curve = {}
    for size in SIZES:
        file = folder / f"generated-{size}.yaml"
        file.write_text(generated(size))
        curve[size] = _times(TRICE, file, count)
        row(f"trice config, {size} services", curve[size])
        if oracle is not None:
            row(f"docker compose config, {size}", _times(oracle, file, max(3, count // 3)))
    if oracle is None:
        print("  docker compose: not installed; make conformance does it")
    middle = curve[TARGET_SIZE].median
    print(f"  target {TARGET_MS} ms for {TARGET_SIZE}: {_verdict(middle, TARGET_MS)}")
    growth = curve[2 * TARGET_SIZE].median / middle
    further = (curve[2 * TARGET_SIZE].median - middle) / TARGET_SIZE
    print(
        f"  twice the services in {growth:.2f} times the time, {further:.2f} ms each further one"
        f" (linear, target {TARGET_GROWTH}: {_verdict(growth, TARGET_GROWTH)})"
    )


def _times(tool: Path, file: Path, count: int) -> Times:
    argv = (str(tool), "-f", str(file), "config", "--quiet")
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent"}

    def work() -> None:
        code = run_silently(argv, environment, Path("/"))
        if code:
            raise SystemExit(f"bench: {' '.join(argv)}: exit code {code}")

    return repeated(work, count)


def _verdict(value: float, target: float) -> str:
    return "met" if value <= target else f"missed by {value / target - 1:.0%}"
