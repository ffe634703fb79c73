"""Signals that the C library keeps from its callers. Import-light.

glibc uses 32 and 33 for its threads, and its sigaction(3) refuses them; a process that it has spawned (posix_spawn)
may still begin with them ignored, and execve(2) would hand that on.
"""

from __future__ import annotations

import ctypes

from runtime.linux.libc import system_call

RESERVED = (32, 33)
_DEFAULT = ctypes.create_string_buffer(64)
"""A struct sigaction of zeros: SIG_DFL, no flags, an empty mask."""
_MASK_SIZE = 8

_rt_sigaction = system_call(
    "rt_sigaction", ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
)


def set_reserved_default() -> None:
    """Give the reserved signals their default action (rt_sigaction(2))."""
    for number in RESERVED:
        _rt_sigaction(number, ctypes.addressof(_DEFAULT), None, _MASK_SIZE)
