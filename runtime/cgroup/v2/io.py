"""The io controller of v2: io.weight (or BFQ's) and io.max."""

from __future__ import annotations

import os

from runtime.api import Blkio
from runtime.cgroup import files, values

_KEYS = ("rbps", "wbps", "riops", "wiops")


def set_limits(group: str, blkio: Blkio | None) -> None:
    """Set all of it; a ceiling that is no longer there is taken away. Raises InvalidSpec, KernelRefused."""
    wanted = blkio or Blkio()
    if wanted.weight:
        files.write(*_weight(group, "default", wanted.weight))
    for device in wanted.weight_device:
        files.write(*_weight(group, values.device_number(device.path), device.value))
    path = f"{group}/io.max"
    limits = maxima(wanted)
    there = {line.split()[0] for line in files.read(path).splitlines() if ":" in line}
    for device_number in sorted(there - limits.keys()):
        files.write(path, f"{device_number} " + " ".join(f"{key}=max" for key in _KEYS))
    for device_number in sorted(limits):
        files.write(path, f"{device_number} {limits[device_number]}")


def maxima(blkio: Blkio) -> dict[str, str]:
    """Return for each device what `io.max` is told: "rbps=… wbps=max riops=… wiops=max"."""
    found: dict[str, dict[str, int]] = {}
    by_key = {
        "rbps": blkio.device_read_bps,
        "wbps": blkio.device_write_bps,
        "riops": blkio.device_read_iops,
        "wiops": blkio.device_write_iops,
    }
    for key, entries in by_key.items():
        for entry in entries:
            found.setdefault(values.device_number(entry.path), {})[key] = entry.value
    return {
        device: " ".join(f"{key}={rates.get(key, 'max')}" for key in _KEYS)
        for device, rates in found.items()
    }


def _weight(group: str, device: str, weight: int) -> tuple[str, str]:
    """Return (file, text): BFQ takes the number as it is."""
    bfq = f"{group}/io.bfq.weight"
    if os.path.exists(bfq):
        return bfq, f"{device} {values.blkio_weight(weight)}"
    return f"{group}/io.weight", f"{device} {values.io_weight(weight)}"
