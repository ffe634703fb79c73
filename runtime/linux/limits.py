"""Resource limits of a process: prlimit(2). Import-light."""

from __future__ import annotations

from ctypes import Structure, byref, c_int, c_uint64, c_void_p

from runtime.linux.libc import system_call
from runtime.names import RESOURCE_LIMITS

RESOURCES = {name: number for number, name in enumerate(RESOURCE_LIMITS)}
"""Names without RLIMIT_."""
INFINITY = 0xFFFFFFFFFFFFFFFF


class _Limit(Structure):
    _fields_ = (("soft", c_uint64), ("hard", c_uint64))


_prlimit = system_call("prlimit64", c_int, c_int, c_void_p, c_void_p)


def set_limit(resource: int, soft: int, hard: int) -> None:
    """Set one limit of our own process.

    Raises PermissionError when the hard limit would rise without CAP_SYS_RESOURCE.
    """
    limit = _Limit(soft, hard)
    _prlimit(0, resource, byref(limit), None)


def raise_to_hard(resource: int) -> int:
    """Set our own soft limit to the hard one, which needs no privilege; return it."""
    limit = _Limit()
    _prlimit(0, resource, None, byref(limit))
    set_limit(resource, limit.hard, limit.hard)
    hard: int = limit.hard
    return hard
