"""Capabilities: names, sets as bit masks, and the calls that give them up. Import-light.

A mask has bit N set for capability number N (capabilities(7)).
"""

from __future__ import annotations

from ctypes import Structure, byref, c_int, c_uint32, c_void_p
from errno import EINVAL

from runtime.linux.libc import system_call
from runtime.linux.prctl import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    prctl,
)
from runtime.names import CAPABILITIES as NAMES

__all__ = ["NAMES", "bounding", "limit_bounding", "mask_of", "set_ambient", "set_capabilities"]

_NUMBERS = {name: number for number, name in enumerate(NAMES)}
_VERSION_3 = 0x20080522


class _Header(Structure):
    _fields_ = (("version", c_uint32), ("pid", c_int))


class _Data(Structure):
    _fields_ = (("effective", c_uint32), ("permitted", c_uint32), ("inheritable", c_uint32))


_capset = system_call("capset", c_void_p, c_void_p)


def bounding() -> tuple[str, ...]:
    """Return the names of what this process can still have: nobody whom it starts gets more (capabilities(7))."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        text = file.read()
    mask = int(text.partition("CapBnd:")[2].split()[0], 16)
    return tuple(f"CAP_{name}" for number, name in enumerate(NAMES) if mask >> number & 1)


def mask_of(names: list[str] | tuple[str, ...]) -> int:
    """Return the mask of these names (CAP_ in front or not). Raises ValueError for one that is unknown."""
    mask = 0
    for name in names:
        number = _NUMBERS.get(name.removeprefix("CAP_"))
        if number is None:
            raise ValueError(f"unknown capability {name!r}")
        mask |= 1 << number
    return mask


def limit_bounding(mask: int) -> None:
    """Give up for good every capability that is not in `mask` (and all that this kernel has beyond our names)."""
    for number in range(64):
        if mask >> number & 1:
            continue
        try:
            prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
        except OSError as error:
            if error.errno != EINVAL:
                raise
            if number >= len(NAMES):
                return  # past the kernel's last capability


def set_capabilities(*, effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's three sets (capset(2)). Raises OSError EPERM for one that is not permitted now."""
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    for half in range(2):
        shift = 32 * half
        data[half].effective = effective >> shift & 0xFFFFFFFF
        data[half].permitted = permitted >> shift & 0xFFFFFFFF
        data[half].inheritable = inheritable >> shift & 0xFFFFFFFF
    _capset(byref(header), byref(data))


def set_ambient(mask: int) -> None:
    """Make the ambient set exactly `mask`; each must be permitted and inheritable."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(64):
        if mask >> number & 1:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)
