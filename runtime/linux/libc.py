"""The C library: how every wrapper here calls it, and how a failure becomes an OSError. Owns all system call numbers.

Import-light: keeper and init load this module, so only builtins, os and ctypes (style.md practice 16).
A wrapper declares its function once, at import, through `function` or `system_call`; both give a callable that checks
the return value and raises OSError with errno, and with `filename` where the caller names a path.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Pointer: TypeAlias = "ctypes.Array[ctypes.c_char] | ctypes._CArgObject"
    Argument: TypeAlias = "int | bytes | Pointer | None"
    Checked: TypeAlias = Callable[..., int]

LIBC = ctypes.CDLL(None, use_errno=True)
"""Releases the interpreter lock around a call."""
LIBC_LOCKED = ctypes.PyDLL(None, use_errno=True)
"""Keeps the interpreter lock: for the one call that returns twice, clone3."""

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

_MACHINE = os.uname().machine
_NUMBERS_BY_MACHINE = {
    "x86_64": {"pivot_root": 155, "capset": 126, "capget": 125, "seccomp": 317, "setns": 308, "unshare": 272,
               "sethostname": 170, "setdomainname": 171, "prlimit64": 302, "bpf": 321, "rt_sigaction": 13,
               "clone": 56, "sched_setattr": 314, "ioprio_set": 251},
    "aarch64": {"pivot_root": 41, "capset": 91, "capget": 90, "seccomp": 277, "setns": 268, "unshare": 97,
                "sethostname": 161, "setdomainname": 162, "prlimit64": 261, "bpf": 280, "rt_sigaction": 134,
                "clone": 220, "sched_setattr": 274, "ioprio_set": 30},
}  # fmt: skip
# From 424 on every architecture numbers its calls alike.
NUMBERS = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437, "mount_setattr": 442,
    **_NUMBERS_BY_MACHINE.get(_MACHINE, {}),
}  # fmt: skip


def failure(name: str, path: str | bytes | None = None, number: int | None = None) -> OSError:
    """Return the OSError of the call that just failed; `name` is what strace would print."""
    code = ctypes.get_errno() if number is None else number
    error = OSError(code, os.strerror(code), path) if path else OSError(code, os.strerror(code))
    error.add_note(name)
    return error


def function(name: str, *argument_types: type) -> Checked:
    """Return libc's function `name`, checked: -1 raises OSError; `path=` names the object in the error."""
    return _checked(name, LIBC[name], (), argument_types)


def system_call(name: str, *argument_types: type) -> Checked:
    """Return the system call `name`, which libc has no function for, checked like `function`.

    On a machine whose number for it is not known the call answers ENOSYS.
    """
    number = NUMBERS.get(name, -1)
    return _checked(name, LIBC["syscall"], (number,), argument_types)


def _checked(
    name: str,
    entry: ctypes._NamedFuncPointer,
    first: tuple[int, ...],
    argument_types: tuple[type, ...],
) -> Checked:
    entry.argtypes = (*(ctypes.c_long for _ in first), *argument_types)
    entry.restype = ctypes.c_long if first else ctypes.c_int

    def call(*arguments: Argument, path: str | bytes | None = None) -> int:
        result: int = entry(*first, *arguments)
        if result == -1:
            raise failure(name, path)
        return result

    return call
