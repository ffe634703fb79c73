"""How long `trice config` takes: cold, on the largest example, and on generated stacks of growing size.

The generated services have what is usual: environment with variables, ports, healthcheck, dependencies. Beside it
is the time of the reference tool (`make conformance` installs it), on the same files in the same run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.bench.measure import Times, repeated, run_silently
from tests.bench.results import Figure, Results

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


def report(results: Results, folder: Path, count: int, *, sizes: tuple[int, ...] = SIZES) -> None:
    """Measure in `folder`, each thing so many times."""
    results.section("config, cold")
    example = max(EXAMPLES.glob("*/compose.yaml"), key=lambda file: file.stat().st_size)
    taken = _times(TRICE, example, count)
    results.times(
        "config.example", f"trice config, {example.parent.name}", taken, target=TARGET_EXAMPLE_MS
    )
    oracle = next(iter(Path(__file__).parents[2].glob(ORACLES)), None)
    curve = {}
    for size in sizes:
        file = folder / f"generated-{size}.yaml"
        file.write_text(generated(size))
        beside: tuple[str, Times] | None = None
        if oracle is not None:
            beside = ("docker compose config", _times(oracle, file, max(3, count // 3)))
            results.times(f"config.compose-{size}", f"docker compose config, {size}", beside[1])
        curve[size] = _times(TRICE, file, count)
        results.times(f"config.{size}", f"trice config, {size} services", curve[size], peer=beside)
    if oracle is None:
        results.remark("docker compose: not installed; make conformance does it")
    middle, most = sorted(curve)[-2:]
    results.add(
        Figure(
            key="config.many",
            what=f"{middle} services",
            unit="ms",
            value=curve[middle].median,
            target=TARGET_MS * middle / TARGET_SIZE,
        )
    )
    growth = curve[most].median / curve[middle].median
    further = (curve[most].median - curve[middle].median) / (most - middle)
    results.add(
        Figure(
            key="config.growth",
            what="twice the services in so many times the time",
            unit="x",
            value=growth,
            target=TARGET_GROWTH,
            note=f"{further:.2f} ms each further one",
        )
    )


def _times(tool: Path, file: Path, count: int) -> Times:
    argv = (str(tool), "-f", str(file), "config", "--quiet")
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent"}

    def work() -> None:
        code = run_silently(argv, environment, Path("/"))
        if code:
            raise SystemExit(f"bench: {' '.join(argv)}: exit code {code}")

    return repeated(work, count)
