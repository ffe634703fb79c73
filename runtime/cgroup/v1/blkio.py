"""The blkio controller of v1: weights (BFQ, or CFQ's on old kernels) and throttling of block devices."""

from __future__ import annotations

import errno
import os

from runtime.api import Blkio, BlkioDevice
from runtime.cgroup import files, values
from runtime.errors import KernelRefused

_THROTTLES = ("read_bps_device", "read_iops_device", "write_bps_device", "write_iops_device")
_WEIGHTS = ("blkio.weight", "blkio.bfq.weight")


def set_limits(group: str, blkio: Blkio | None) -> None:
    """Set all of it; a throttle that is no longer there is taken away. Raises InvalidSpec, KernelRefused."""
    wanted = blkio or Blkio()
    if wanted.weight:
        files.write(_weight_file(group), str(values.blkio_weight(wanted.weight)))
    for device in wanted.weight_device:
        text = f"{values.device_number(device.path)} {values.blkio_weight(device.value)}"
        files.write(f"{_weight_file(group)}_device", text)
    for name in _THROTTLES:
        entries: tuple[BlkioDevice, ...] = getattr(wanted, f"device_{name.removesuffix('_device')}")
        _throttle(f"{group}/blkio.throttle.{name}", entries)


def _weight_file(group: str) -> str:
    for name in _WEIGHTS:
        if os.path.exists(f"{group}/{name}"):
            return f"{group}/{name}"
    raise KernelRefused(
        step="set a weight of block devices",
        syscall="open",
        errno=errno.ENOENT,
        reason=os.strerror(errno.ENOENT),
        path=f"{group}/{_WEIGHTS[-1]}",
        hint="no scheduler with weights (bfq) is there in this kernel; leave blkio_config.weight out",
    )


def _throttle(path: str, entries: tuple[BlkioDevice, ...]) -> None:
    wanted = {values.device_number(entry.path): entry.value for entry in entries}
    there = {line.split()[0] for line in files.read(path).splitlines() if ":" in line}
    for device in sorted(there - wanted.keys()):
        files.write(path, f"{device} 0")
    for device in sorted(wanted):
        files.write(path, f"{device} {wanted[device]}")
