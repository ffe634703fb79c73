"""Namespaces: making them, joining them, and clone3. Import-light."""

from __future__ import annotations

import os
from ctypes import addressof, c_char_p, c_int, c_long, c_size_t, c_uint64, get_errno, sizeof
from errno import ENOSYS, ESRCH

from runtime.linux.libc import LIBC_LOCKED, NUMBERS, failure, function

CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

FLAG_NAMES = (
    ("mnt", CLONE_NEWNS), ("pid", CLONE_NEWPID), ("net", CLONE_NEWNET), ("uts", CLONE_NEWUTS),
    ("ipc", CLONE_NEWIPC), ("cgroup", CLONE_NEWCGROUP), ("user", CLONE_NEWUSER),
    ("time", CLONE_NEWTIME),
)  # fmt: skip
"""Names as in /proc/PID/ns."""

_SIGCHLD = 17

unshare = function("unshare", c_int)
"""unshare(flags): move the calling process to new namespaces."""
setns = function("setns", c_int, c_int)
"""setns(fd, flags): join the namespace of a /proc/PID/ns file, or several of a pidfd (5.8)."""
_sethostname = function("sethostname", c_char_p, c_size_t)
_setdomainname = function("setdomainname", c_char_p, c_size_t)

_clone3 = LIBC_LOCKED["syscall"]
_clone3.argtypes = (c_long, c_long, c_size_t)
_clone3.restype = c_long
_CloneArguments = c_uint64 * 11
# struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, size, cgroup


def set_hostname(name: str) -> None:
    """Set the host name of this UTS namespace; at most 64 bytes."""
    data = name.encode()
    _sethostname(data, len(data), path=name)


def set_domainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace; at most 64 bytes."""
    data = name.encode()
    _setdomainname(data, len(data), path=name)


def clone(flags: int, group: int = -1) -> tuple[int, int]:
    """Fork this single-threaded process into new namespaces; return (pid, pidfd), and (0, -1) in the child.

    `group` is a descriptor of the v2 group that the child is born in (5.7), in place of ours: EAGAIN when its limit of
    processes is reached, EBUSY or EOPNOTSUPP when no process may be in it.

    The pidfd is CLOEXEC and the caller's. Neither Python's nor libc's fork handlers run: the child may use what is
    imported already, and must leave by execve or os._exit. clone3(2), 5.3; raises OSError (EPERM, ENOSPC, EINVAL).
    """
    pidfd = c_int(-1)
    arguments = _CloneArguments(flags | CLONE_PIDFD, addressof(pidfd), 0, 0, _SIGCHLD)
    if group >= 0:
        arguments[0] |= CLONE_INTO_CGROUP
        arguments[10] = group
    pid: int = _clone3(NUMBERS["clone3"], addressof(arguments), sizeof(arguments))
    if pid == 0:
        return 0, -1
    if pid < 0:
        raise failure("clone3", number=get_errno())
    return pid, pidfd.value


def clone_sibling() -> tuple[int, int]:
    """Fork this single-threaded process as a child of its own parent, in the pid namespace that it has joined.

    Returns as `clone` does. A filter that lets clone3 not through (ENOSYS) may let clone(2) through.
    """
    flags, pidfd = CLONE_PARENT | CLONE_PIDFD, c_int(-1)
    arguments = _CloneArguments(flags, addressof(pidfd))
    pid: int = _clone3(NUMBERS["clone3"], addressof(arguments), sizeof(arguments))
    if pid < 0 and get_errno() == ENOSYS:
        nothing = c_size_t(0)
        where = c_size_t(addressof(pidfd))
        pid = _clone3(NUMBERS["clone"], flags, 0, where, nothing, nothing)
    if pid == 0:
        return 0, -1
    if pid < 0:
        raise failure("clone", number=get_errno())
    return pid, pidfd.value


def open_namespace(path: str, *, inode: int = 0) -> int:
    """Return a descriptor of the namespace at `path`; the caller owns it.

    With `inode` it must be the very namespace that has this one; ESRCH when it is another by now.
    """
    fd = os.open(path, os.O_RDONLY)
    if inode and os.fstat(fd).st_ino != inode:
        os.close(fd)
        raise OSError(ESRCH, "the container it belonged to has ended", path)
    return fd


def join(path: str, flag: int, *, inode: int = 0) -> None:
    """Join the namespace at `path` (see `open_namespace`), which must be of the kind `flag`."""
    fd = open_namespace(path, inode=inode)
    try:
        setns(fd, flag, path=path)
    finally:
        os.close(fd)
