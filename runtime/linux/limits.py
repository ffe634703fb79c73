"""Resource limits of a process: prlimit(2). Import-light."""

from __future__ import annotations

from ctypes import Structure, byref, c_int, c_uint64, c_void_p

from runtime.linux.libc import system_call

RESOURCES = {
    "CPU": 0, "FSIZE": 1, "DATA": 2, "STACK": 3, "CORE": 4, "RSS": 5, "NPROC": 6, "NOFILE": 7, "MEMLOCK": 8, "AS": 9,
    "LOCKS": 10, "SIGPENDING": 11, "MSGQUEUE": 12, "NICE": 13, "RTPRIO": 14, "RTTIME": 15,
}  # fmt: skip
"""Names without RLIMIT_; the numbers are alike on x86-64 and aarch64."""
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
