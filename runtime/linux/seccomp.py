"""seccomp(2): load a filter that `bpf` has compiled. Import-light."""

from __future__ import annotations

from ctypes import Structure, byref, c_char_p, c_uint, c_ushort, c_void_p

from runtime.linux.libc import system_call

SECCOMP_SET_MODE_FILTER = 1
INSTRUCTION_SIZE = 8
MAX_INSTRUCTIONS = 4096


class Program(Structure):
    """struct sock_fprog. Points to the very bytes that it is given, and keeps them alive: a buffer of ctypes' own would
    be of a class of its own, made anew for every container and garbage that only the collector finds.
    """

    _fields_ = (("len", c_ushort), ("filter", c_char_p))


_seccomp = system_call("seccomp", c_uint, c_uint, c_void_p)


def program(code: bytes) -> Program:
    """Return what `load` takes, made before the fork. Raises ValueError when it cannot be a filter."""
    count, rest = divmod(len(code), INSTRUCTION_SIZE)
    if rest or not 0 < count <= MAX_INSTRUCTIONS:
        raise ValueError(f"{len(code)} bytes are no seccomp filter")
    return Program(count, code)


def load(prepared: Program, flags: int = 0) -> None:
    """Filter every system call of this thread and its children from now on, for good.

    Needs no_new_privs or CAP_SYS_ADMIN (EACCES); EINVAL is a filter that the kernel's checker refuses.
    """
    _seccomp(SECCOMP_SET_MODE_FILTER, flags, byref(prepared))
