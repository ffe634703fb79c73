"""bpf(2): load a program and attach it to a cgroup. What the program says is made elsewhere."""

from __future__ import annotations

import os
from ctypes import Structure, addressof, byref, c_int, c_uint, c_uint32, c_uint64, c_void_p, sizeof
from ctypes import create_string_buffer as buffer
from errno import EINVAL, ENOSYS, EPERM
from functools import cache

from runtime.linux.libc import system_call

BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
INSTRUCTION_SIZE = 8

_NOTHING = bytes.fromhex("b7000000000000009500000000000000")
"""The program "r0 = 0; exit"."""


class _Load(Structure):
    _fields_ = (
        ("prog_type", c_uint32), ("insn_cnt", c_uint32), ("insns", c_uint64), ("license", c_uint64),
        ("log_level", c_uint32), ("log_size", c_uint32), ("log_buf", c_uint64), ("kern_version", c_uint32),
        ("prog_flags", c_uint32),
    )  # fmt: skip


class _Attach(Structure):
    _fields_ = (
        ("target_fd", c_uint32), ("attach_bpf_fd", c_uint32), ("attach_type", c_uint32), ("attach_flags", c_uint32),
    )  # fmt: skip


_bpf = system_call("bpf", c_int, c_void_p, c_uint)


def load_device_program(code: bytes) -> int:
    """Return a loaded BPF_PROG_TYPE_CGROUP_DEVICE; the caller owns the descriptor.

    Raises OSError: EPERM without CAP_BPF, EINVAL for a program that the verifier refuses.
    """
    instructions, licence = buffer(code, len(code)), buffer(b"GPL")
    request = _Load(
        prog_type=BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt=len(code) // INSTRUCTION_SIZE,
        insns=addressof(instructions),
        license=addressof(licence),
    )
    fd = _bpf(BPF_PROG_LOAD, byref(request), sizeof(request))
    os.set_inheritable(fd, False)
    return fd


def attach_device_program(program: int, group: str) -> None:
    """Let the program decide over devices in the group; it takes the place of one that is there.

    The kernel lets go of it with the group. bpf(2), BPF_CGROUP_DEVICE.
    """
    target = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        request = _Attach(target, program, BPF_CGROUP_DEVICE, 0)
        _bpf(BPF_PROG_ATTACH, byref(request), sizeof(request), path=group)
    finally:
        os.close(target)


@cache
def has_device_programs() -> bool:
    """Whether this kernel and these privileges can load such a program (CONFIG_CGROUP_BPF, CAP_BPF)."""
    try:
        os.close(load_device_program(_NOTHING))
    except OSError as error:
        if error.errno in (ENOSYS, EPERM, EINVAL):
            return False
        raise
    return True
