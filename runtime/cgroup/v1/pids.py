"""The pids controller of v1: pids.max (the same text as v2's)."""

from __future__ import annotations

from runtime.cgroup import files, values


def set_limit(group: str, limit: int | None) -> None:
    """Set how many processes and threads there may be; None is the default, -1 no limit.

    A limit below what is there only stops new ones.
    """
    files.write(f"{group}/pids.max", values.pids_max(limit))


def current(group: str) -> int:
    return files.number(f"{group}/pids.current") or 0
