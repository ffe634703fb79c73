"""What is mapped into a process from files: /proc/PID/maps, map_files of proc(5), mremap(2). Import-light."""

from __future__ import annotations

from ctypes import c_int, c_long, c_size_t, c_void_p, memmove

from runtime.linux.libc import LIBC, failure

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
_MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS = 0x02, 0x10, 0x20
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_MAP_FAILED = -1
_MEMFD = b"/memfd:"

_mmap = LIBC["mmap"]
_mmap.argtypes = (c_void_p, c_size_t, c_int, c_int, c_int, c_long)
_mmap.restype = c_long
_mprotect = LIBC["mprotect"]
_mprotect.argtypes = (c_void_p, c_size_t, c_int)
_mremap = LIBC["mremap"]
_mremap.argtypes = (c_void_p, c_size_t, c_size_t, c_int, c_void_p)
_mremap.restype = c_long


def forget_files() -> None:
    """Put copies of our own in place of all that is mapped from files with a name, code included.

    A mapping leads to its file: who may look at us opens it by /proc/PID/map_files, for writing too, if he has
    CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. What is in a memfd stays. For a process with one thread; some 4 MB, 2 ms.
    Raises OSError, with some of it done.
    """
    with open("/proc/self/maps", "rb") as file:
        lines = file.read().splitlines()
    for line in lines:
        span, rights, _, _, _, *name = line.split(None, 5)
        if name and name[0].startswith(b"/") and not name[0].startswith(_MEMFD):
            begin, _, end = span.partition(b"-")
            _replace(int(begin, 16), int(end, 16) - int(begin, 16), rights)


def _replace(begin: int, size: int, rights: bytes) -> None:
    """The old mapping is gone and the copy there in one step: this very code may run from it."""
    private = _MAP_PRIVATE | _MAP_ANONYMOUS
    if not rights.startswith(b"r"):
        _checked("mmap", _mmap(begin, size, 0, private | _MAP_FIXED, -1, 0))
        return
    copy = _checked("mmap", _mmap(None, size, PROT_READ | PROT_WRITE, private, -1, 0))
    memmove(copy, begin, size)
    protection = PROT_READ | PROT_WRITE * (rights[1:2] == b"w") | PROT_EXEC * (rights[2:3] == b"x")
    _checked("mprotect", _mprotect(copy, size, protection))
    _checked("mremap", _mremap(copy, size, size, _MREMAP_MAYMOVE | _MREMAP_FIXED, begin))


def _checked(name: str, result: int) -> int:
    if result == _MAP_FAILED:
        raise failure(name)
    return result
