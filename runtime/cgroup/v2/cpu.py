"""The cpu controller of v2: cpu.max and cpu.weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.cgroup import files, values

if TYPE_CHECKING:
    from runtime.api import Limits


def set_limits(group: str, limits: Limits) -> None:
    """Set how many CPUs' time the group gets, and its share when there is too little. Raises InvalidSpec.

    (There is no time for real-time processes to be given here: v2 has none.)
    """
    files.write(f"{group}/cpu.max", values.cpu_max(*values.cpu_bandwidth(limits)))
    files.write(f"{group}/cpu.weight", str(values.cpu_weight(limits.cpu_shares)))
