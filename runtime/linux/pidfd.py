"""Processes by pidfd: signals, statuses, identity. A pid alone is never acted on (security.md row 28). Import-light."""

from __future__ import annotations

import _struct
import os
from fcntl import ioctl
from select import POLLIN, poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # without the enums of `signal`

PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xFF, 11, 64 bytes); kernel 6.13, exit statuses from 6.15."""
PIDFD_INFO_PID = 1
PIDFD_INFO_EXIT = 8

_INFO = _struct.Struct("=QQ" + "I" * 11 + "i")
_INFO_EXIT_CODE = 13
P_PIDFD = 3


def open_process(pid: int) -> int:
    """Return a pidfd of this process; the caller owns it. Raises ProcessLookupError when there is none."""
    return os.pidfd_open(pid)


def send_signal(pidfd: int, signal: int) -> None:
    """Send a signal to exactly this process. Raises ProcessLookupError once it has been reaped (or is a zombie)."""
    _signal.pidfd_send_signal(pidfd, signal)


def reap(pidfd: int) -> int | None:
    """Reap our child if it has ended and return its wait status; None while it runs.

    Raises ChildProcessError when it is not our child, or was reaped before.
    """
    info = os.waitid(P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    if info is None:
        return None
    if info.si_code == os.CLD_EXITED:
        return info.si_status << 8
    return info.si_status | (0x80 if info.si_code == os.CLD_DUMPED else 0)


def exit_status(pidfd: int) -> int | None:
    """Return the wait status of a process that was reaped by anybody; None while it is not, or the kernel cannot tell.

    PIDFD_GET_INFO (6.15). Ask `has_exit_info` to tell the two reasons apart.
    """
    fields = _information(pidfd, PIDFD_INFO_PID | PIDFD_INFO_EXIT)
    if fields is None or not fields[0] & PIDFD_INFO_EXIT:
        return None
    return fields[_INFO_EXIT_CODE]


def has_ended(pidfd: int) -> bool:
    """Say whether the process has ended (reaped or not)."""
    poller = poll()
    poller.register(pidfd, POLLIN)
    return bool(poller.poll(0))


def wait_ended(pidfd: int, timeout_ms: int) -> bool:
    """Wait up to timeout_ms milliseconds (negative: for ever) for its end; say whether it came."""
    poller = poll()
    poller.register(pidfd, POLLIN)
    return bool(poller.poll(timeout_ms if timeout_ms >= 0 else None))


def has_exit_info() -> bool:
    """Say whether this kernel tells exit statuses of processes that are not our children: asked by a real one."""
    child = os.fork()
    if child == 0:
        os._exit(7)
    pidfd = os.pidfd_open(child)
    try:
        os.waitpid(child, 0)
        return exit_status(pidfd) == 7 << 8
    finally:
        os.close(pidfd)


def start_time(pid: int) -> int | None:
    """Return when the process began, in clock ticks since boot (field 22 of /proc/PID/stat); None when it is gone.

    With the boot id it tells a process from a later one of the same number.
    """
    fields = _stat_fields(pid)
    return None if fields is None else int(fields[19])


def children_elsewhere() -> list[int]:
    """Return our children in other pid namespaces than ours, ended and unreaped ones too."""
    own, here = os.getpid(), os.readlink("/proc/self/ns/pid")
    found = []
    for name in os.listdir("/proc"):
        fields = _stat_fields(int(name)) if name.isdigit() else None
        if fields is not None and int(fields[1]) == own and _differs(f"/proc/{name}/ns/pid", here):
            found.append(int(name))
    return found


def _differs(link: str, expected: str) -> bool:
    try:
        return os.readlink(link) != expected
    except OSError:
        return False


def _stat_fields(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat after the command's name, which may hold blanks and parentheses."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 2 :].split()


def _information(pidfd: int, mask: int) -> tuple[int, ...] | None:
    buffer = bytearray(_INFO.size)
    _struct.pack_into("=Q", buffer, 0, mask)
    try:
        ioctl(pidfd, PIDFD_GET_INFO, buffer)
    except OSError:
        return None  # ENOTTY/EINVAL: older kernel; ESRCH: reaped and nothing kept
    return _INFO.unpack(buffer)
