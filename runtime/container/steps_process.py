"""The steps of a launch program that turn the child into the container's process. They run after the pivot.

From here on every path is the container's own, so nothing is imported or looked up by name of ours. Import-light.
"""

from __future__ import annotations

import os
from errno import EACCES, ECANCELED, EINVAL, ENOENT, ENOEXEC, ENOTDIR
from stat import S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK

from runtime.container import user, wire
from runtime.container.child import SYNC_FD, Child, kernel_error, refuse
from runtime.linux import caps, fds, limits, ns, prctl, seccomp
from runtime.linux.openat2 import make_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PTS_MAJORS = range(136, 144)
_SAFE_FD = 64
"""Above every number that "close_fds" and stdio put something at."""


def hostname(_child: Child, name: str) -> None:
    ns.set_hostname(name)


def domainname(_child: Child, name: str) -> None:
    ns.set_domainname(name)


def open_fifo(child: Child, path: str) -> None:
    """Open the start FIFO while its path means something; the reader that `start` needs is there from now on.

    For reading and writing: so it never is at its end, whoever opens and closes it.
    """
    child.fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
    fds.set_nonblocking(child.fifo, nonblocking=False)
    if not S_ISFIFO(os.fstat(child.fifo).st_mode):
        raise refuse(EINVAL, "not a FIFO", path)


def close_fds(child: Child) -> None:
    """Close all but stdio, handshake, start FIFO and groups: no path in /proc/self/fd leads to the host any more."""
    kept = [child.sync, *((child.fifo,) if child.fifo >= 0 else ()), *child.groups]
    high = [fds.duplicate_above(fd, _SAFE_FD) for fd in kept]
    placed = [os.dup2(fd, SYNC_FD + at, inheritable=False) for at, fd in enumerate(high)]
    child.sync = placed[0]
    if child.fifo >= 0:
        child.fifo = placed[1]
    child.groups = placed[len(placed) - len(child.groups) :]
    fds.close_range(SYNC_FD + len(placed))
    child.proc = child.null = child.masked = -1
    child.kept = {}
    child.held = []
    child.root = os.open("/", os.O_PATH | os.O_DIRECTORY)


def ids(child: Child, uid: int, gid: int, groups: Sequence[int]) -> None:
    """Run as these numbers; the home directory is looked up."""
    home = _home_of(uid)
    unique = sorted(set(groups) - {gid})
    child.identity = user.Identity(uid, gid, (gid, *unique), home)


def user_name(child: Child, text: str, extra: Sequence[str]) -> None:
    """Run as whom the container's own files know by this text; `extra` are further groups, names or numbers."""
    try:
        groups = user.read_database("/etc/group")
        numbers = [user.find_group(name, groups) for name in extra]
        child.identity = user.resolve(text, user.read_database("/etc/passwd"), groups, numbers)
    except user.UserUnknown as error:
        raise refuse(EINVAL, str(error)) from None


def _home_of(uid: int) -> str:
    return user.resolve(str(uid), user.read_database("/etc/passwd"), b"").home


def own_stdio(child: Child) -> None:
    """Give stdio to the user, so that /dev/stdout can be opened again; only what is made for a process."""
    for fd in (0, 1, 2):
        status = os.fstat(fd)
        is_terminal = S_ISCHR(status.st_mode) and os.major(status.st_rdev) in _PTS_MAJORS
        if not (S_ISFIFO(status.st_mode) or S_ISSOCK(status.st_mode) or is_terminal):
            continue
        if status.st_uid != child.identity.uid:
            os.fchown(fd, child.identity.uid, -1)


def working_dir(child: Child, path: str) -> None:
    """Go to the working directory, made where it is missing; it must lie inside the root (security.md row 2)."""
    fd = make_in_root(child.root, path, directory=True)
    try:
        if not S_ISDIR(os.fstat(fd).st_mode):
            raise kernel_error(ENOTDIR, path)
        os.fchdir(fd)
    finally:
        os.close(fd)
    if not os.getcwd().startswith("/"):
        raise refuse(ENOENT, "outside the container's root", path)


def set_rlimit(_child: Child, resource: int, soft: int, hard: int) -> None:
    limits.set_limit(resource, soft, hard)


def no_new_privileges(_child: Child) -> None:
    prctl.set_no_new_privileges()


def load_seccomp(_child: Child, program: seccomp.Program) -> None:
    seccomp.load(program)


def limit_bounding(_child: Child, mask: int) -> None:
    caps.limit_bounding(mask)


def become(child: Child) -> None:
    """Take on the identity: groups first, then gid, then uid; capabilities stay for the next step to set."""
    identity = child.identity
    prctl.set_keep_capabilities(keep=True)
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    prctl.set_keep_capabilities(keep=False)
    # A change of uid sets dumpable to what fs.suid_dumpable says.
    prctl.set_dumpable(dumpable=False)


def capabilities(
    _child: Child, effective: int, permitted: int, inheritable: int, ambient: int
) -> None:
    caps.set_capabilities(effective=effective, permitted=permitted, inheritable=inheritable)
    caps.set_ambient(ambient)


def environment(child: Child, variables: dict[str, str]) -> None:
    """Set what the process will have in its environment; HOME is the user's unless it is given."""
    child.environment = {"HOME": child.identity.home, **variables}


def set_umask(child: Child, mask: int) -> None:
    child.umask = mask


def find(child: Child, name: str) -> None:
    """Find the program as the user will: a name without slash along PATH."""
    if "/" in name:
        child.executable = name
        problem = _why_not(name)
        if problem:
            raise kernel_error(problem, name)
        return
    if not name:
        raise refuse(ENOENT, "the command is empty")
    found = ENOENT
    for directory in child.environment.get("PATH", DEFAULT_PATH).split(":"):
        candidate = f"{directory or '.'}/{name}"
        problem = _why_not(candidate)
        if not problem:
            child.executable = candidate
            return
        if problem == EACCES:
            found = EACCES
    if found == EACCES:
        raise kernel_error(EACCES, name)
    raise refuse(ENOENT, "not found in $PATH", name)


def _why_not(path: str) -> int:
    """Return 0 when the file can be executed, else an errno."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or EINVAL
    if not S_ISREG(mode) or not os.access(path, os.X_OK):
        return EACCES
    return 0


def ready(child: Child) -> None:
    os.write(child.sync, wire.encode(wire.READY))


def wait_hooks(child: Child) -> None:
    """Sleep until the caller has run its hooks: our namespaces and mounts are made, the host's root is still ours."""
    go_on = wire.encode(wire.HOOKS)
    os.write(child.sync, go_on)
    if os.read(child.sync, wire.MAX_FRAME) != go_on:
        raise refuse(ECANCELED, "who makes this container has gone")


def wait_start(child: Child) -> None:
    """Sleep until somebody writes to the start FIFO."""
    os.read(child.fifo, 1)


def execute(child: Child, argv: tuple[str, ...]) -> None:
    """Become the container's program. Does not return."""
    os.umask(child.umask)
    fds.cloexec_range(SYNC_FD)
    try:
        os.execve(child.executable, argv, child.environment)
    except OSError as error:
        reason = error.strerror or ""
        if error.errno == ENOENT:
            reason = "the interpreter that it names is not in the image"
        if error.errno == ENOEXEC:
            reason = "neither a program of this architecture nor a script with #!"
        raise refuse(error.errno or EINVAL, reason, child.executable) from None


def report(child: Child, frame: bytes) -> None:
    """Send a frame up the handshake; nobody listening is no reason to fail once more."""
    try:
        os.write(child.sync, frame)
    except OSError:
        return
