"""The cpu controller of v2: cpu.max."""

from __future__ import annotations

from runtime.cgroup import files, values


def set_limit(group: str, cpus: float | None) -> None:
    """Set how many CPUs' time the group gets; None takes the limit away."""
    files.write(f"{group}/cpu.max", values.cpu_max(cpus))
