"""Signals as descriptors, and those that the C library keeps from its callers. Import-light.

glibc uses 32 and 33 for its threads, and its sigaction(3) refuses them; a process that it has spawned (posix_spawn)
may still begin with them ignored, and execve(2) would hand that on.
"""

from __future__ import annotations

import ctypes

from runtime.linux.libc import function, system_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # without the enums of `signal`

RESERVED = (32, 33)
_DEFAULT = ctypes.create_string_buffer(64)
"""A struct sigaction of zeros: SIG_DFL, no flags, an empty mask."""
_MASK_SIZE = 8

_rt_sigaction = system_call(
    "rt_sigaction", ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
)


_signalfd = function("signalfd", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_CLOEXEC, _NONBLOCK = 0o2000000, 0o4000
_SET_SIZE = 128


def signal_descriptor(number: int) -> int:
    """Return a descriptor that can be read once this signal has come to this process (signalfd(2)); the caller owns it.

    The signal is blocked, so it does nothing else any more; a child has to unblock it.
    """
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (number,))
    wanted = ctypes.create_string_buffer((1 << (number - 1)).to_bytes(_SET_SIZE, "little"))
    return _signalfd(-1, ctypes.addressof(wanted), _CLOEXEC | _NONBLOCK)


def set_reserved_default() -> None:
    """Give the reserved signals their default action (rt_sigaction(2))."""
    for number in RESERVED:
        _rt_sigaction(number, ctypes.addressof(_DEFAULT), None, _MASK_SIZE)
