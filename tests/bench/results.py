"""What was measured: printed line by line as it comes, and kept as JSON. Knows nothing of what the figures mean."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench.measure import Times

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value: the median of `count`."""

    key: str
    """Stable: what a page or a later run finds it by."""
    what: str
    unit: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int = 1
    peer: str = ""
    """What `ratio` is to."""
    ratio: float | None = None
    target: float | None = None
    """At most so much: of the ratio, or of the value where there is no peer."""
    is_floor: bool = False
    """The target is at least so much."""
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return "met", or by how much the target is missed; empty without one."""
        measured = self.value if self.ratio is None else self.ratio
        if self.target is None:
            return ""
        beyond = (self.target / measured if self.is_floor else measured / self.target) - 1
        return "met" if beyond <= 0 else f"missed by {beyond:.0%}"

    def __str__(self) -> str:
        parts = [f"  {self.what:42s}{self.value:10.2f} {self.unit:7s}"]
        if self.low is not None and self.high is not None:
            parts.append(f"(min {self.low:.2f}, max {self.high:.2f}, n={self.count})")
        if self.ratio is not None:
            parts.append(f"{self.ratio:.2f}x of {self.peer}")
        if self.target is not None:
            bound = "at least" if self.is_floor else "at most"
            parts.append(f"[target {bound} {self.target:g}: {self.verdict}]")
        if self.note:
            parts.append(f"- {self.note}")
        return "  ".join(parts)


@dataclass(slots=True)
class Results:
    """All of one run, in order."""

    sections: list[tuple[str, list[Figure | str]]] = field(default_factory=list)

    def section(self, title: str) -> None:
        """Begin a section."""
        print(f"{title}; load average {os.getloadavg()[0]:.1f}", flush=True)
        self.sections.append((title, []))

    def add(self, figure: Figure) -> None:
        print(figure, flush=True)
        self.sections[-1][1].append(figure)

    def remark(self, text: str) -> None:
        """Say something about the section: what could not be measured, and why."""
        print(f"  {text}", flush=True)
        self.sections[-1][1].append(text)

    def times(
        self,
        key: str,
        what: str,
        times: Times,
        *,
        peer: tuple[str, Times] | None = None,
        target: float | None = None,
        note: str = "",
    ) -> None:
        """Add milliseconds; with a peer also the ratio of the medians."""
        self.add(
            Figure(
                key=key,
                what=what,
                unit="ms",
                value=times.median,
                low=times.low,
                high=times.high,
                count=times.count,
                peer=peer[0] if peer else "",
                ratio=times.median / peer[1].median if peer else None,
                target=target,
                note=note,
            )
        )

    def figures(self) -> dict[str, Figure]:
        """Return all figures by key."""
        return {
            each.key: each
            for _, items in self.sections
            for each in items
            if isinstance(each, Figure)
        }

    def write(self, path: Path) -> None:
        """Write all of it, and on what machine it was."""
        document = {
            "version": VERSION,
            "machine": machine(),
            "sections": [
                {
                    "title": title,
                    "lines": [
                        {"remark": each}
                        if isinstance(each, str)
                        else {**asdict(each), "verdict": each.verdict}
                        for each in items
                    ],
                }
                for title, items in self.sections
            ],
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


def machine() -> dict[str, object]:
    """Return what a reader must know of the machine to read the figures."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (row.partition(":")[2].strip() for row in cpus if row.startswith("model name")), ""
    )
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "cpu": model,
        "memory_mib": int(memory) // 1024,
        "python": platform.python_version(),
        "load_average": [round(each, 2) for each in os.getloadavg()],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
