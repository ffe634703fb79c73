"""How the kernel schedules a process: sched_setattr(2), ioprio_set(2), personality(2). Import-light."""

from __future__ import annotations

from ctypes import c_int, c_uint, c_ulong, c_void_p, create_string_buffer

from runtime.linux.libc import function, system_call

_sched_setattr = system_call("sched_setattr", c_int, c_void_p, c_uint)
_ioprio_set = system_call("ioprio_set", c_int, c_int, c_int)
_personality = function("personality", c_ulong)


def set_scheduler(attributes: bytes) -> None:
    """Set our own policy by a struct sched_attr. EPERM without CAP_SYS_NICE, EINVAL for what does not fit together."""
    _sched_setattr(0, create_string_buffer(attributes, len(attributes)), 0)


def set_io_priority(value: int) -> None:
    """Set our own class (from bit 13 on) and priority for block devices.

    EPERM for the real-time class without CAP_SYS_ADMIN.
    """
    _ioprio_set(1, 0, value)  # IOPRIO_WHO_PROCESS


def set_personality(persona: int) -> None:
    """Set our own execution domain, which exec keeps."""
    _personality(persona)
