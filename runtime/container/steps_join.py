"""The steps of a launch program that concern a running container and its terminals. Import-light.

Who is in the container already may look at a process in its pid namespace, at its root, memory and descriptors if it
has CAP_SYS_PTRACE. So a process that joins is nowhere to be seen until the end ("enter_pids"): by then it has let go of
the host and of every right that it will not keep. From the container it takes nothing by name but what is checked by
descriptor (security.md row 4).
"""

from __future__ import annotations

import _socket
import os
from errno import ECANCELED, EINVAL, ENOENT, ENOTDIR
from stat import S_ISDIR

from runtime.container import wire
from runtime.container.child import Child, kernel_error, refuse
from runtime.linux import fds, mount, ns, tty
from runtime.linux.openat2 import make_in_root, open_in_root

_PTS = "/dev/pts"


def join_process(child: Child, flags: int) -> None:
    """Join these namespaces of the container's first process; with the mount namespace its root becomes ours."""
    if child.given.target < 0:
        raise refuse(EINVAL, "no process to join")
    ns.setns(child.given.target, flags)
    os.close(child.given.target)
    child.given.target = -1


def join_network(child: Child) -> None:
    """Join the network namespace that was made ahead for us alone."""
    if child.given.network < 0:
        raise refuse(EINVAL, "no network namespace to join")
    ns.setns(child.given.network, ns.CLONE_NEWNET)
    os.close(child.given.network)
    child.given.network = -1


def join_namespace(_child: Child, path: str, flag: int, inode: int) -> None:
    """Join the namespace at `path`; with an `inode` it must be that very one: a pid may be reused."""
    ns.join(path, flag, inode=inode)


def take_mount(child: Child, path: str, inode: int, source: str) -> None:
    """Copy a mount out of another mount namespace: we go there, clone it, and come back.

    Nothing of the other container's is followed on the way, and what is taken must be a tmpfs.
    """
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        ns.join(path, ns.CLONE_NEWNS, inode=inode)
        try:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY)
            place = open_in_root(root, source, follow=False)
            child.taken = mount.clone_tree(place, "", recursive=False)
            os.close(place)
            os.close(root)
        finally:
            ns.setns(own, ns.CLONE_NEWNS)
    finally:
        os.close(own)
    if mount.filesystem_magic(child.taken) != mount.TMPFS_MAGIC:
        raise refuse(EINVAL, "not a tmpfs in the other container", source)


def put_mount(child: Child, target: str) -> None:
    """Attach what "take_mount" has taken, in a file system of ours."""
    devices = child.kept.get("/dev", child.root)
    name = target.removeprefix("/dev") if "/dev" in child.kept else target
    place = make_in_root(devices, name, directory=True, follow=False)
    try:
        mount.attach(child.taken, place)
    finally:
        os.close(place)
    os.close(child.taken)
    child.taken = -1


def terminal(child: Child, rows: int, columns: int, is_console: bool) -> None:
    """Make a terminal of the container's own devpts our stdin, stdout and stderr; its master goes up the handshake.

    Both ends come from one descriptor each: no name of the container's is trusted for them.
    """
    directory = _open_pts(child)
    try:
        master, peer = tty.open_pair(directory)
    finally:
        os.close(directory)
    try:
        if rows and columns:
            tty.set_size(master, rows, columns)
        if is_console:
            _bind_console(child, peer)
        if is_console:
            tty.take_control(peer)
        child.has_terminal = True
        for number in (0, 1, 2):
            os.dup2(peer, number)
        _send(child.sync, wire.encode(wire.FDS), master)
    finally:
        os.close(peer)
        os.close(master)


def enter_pids(child: Child) -> None:
    """Go on in the pid namespace that was joined, as another child of our parent's: only who is made there is there.

    Our parent is told who that is before anything else happens. Then the terminal is taken, and the groups are entered.
    """
    reader, writer = os.pipe()
    pid, pidfd = ns.clone_sibling()
    if pid:
        try:
            _send(child.sync, wire.encode(wire.CHILD, errno=pid), pidfd)
            # The handshake ends with who goes on, however long we take to leave.
            os.close(child.sync)
            os.write(writer, b"0")
        finally:
            os._exit(0)
    os.close(writer)
    told = os.read(reader, 1)
    os.close(reader)
    if not told:
        raise refuse(ECANCELED, "who makes this process has gone")
    os.setsid()
    if child.has_terminal:
        tty.take_control(0)
    for fd in child.groups:
        os.write(fd, b"0")
        os.close(fd)
    child.groups = []


def _open_pts(child: Child) -> int:
    """Return the devpts: the one that we have mounted ourselves, else what is in its place, if it is a devpts."""
    if _PTS in child.kept:
        return os.dup(child.kept[_PTS])
    root = child.root if child.root >= 0 else os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        return open_in_root(root, _PTS, follow=False)
    finally:
        if child.root < 0:
            os.close(root)


def _bind_console(child: Child, peer: int) -> None:
    """Let /dev/console be our terminal, by descriptor on both sides."""
    devices = child.kept.get("/dev")
    if devices is None:
        return  # a bundle that brings a /dev of its own keeps it as it is
    place = make_in_root(devices, "console", directory=False, follow=False)
    try:
        view = mount.clone_tree(peer, "", recursive=False)
        try:
            mount.attach(view, place)
        finally:
            os.close(view)
    finally:
        os.close(place)


def _send(sync: int, frame: bytes, fd: int) -> None:
    handshake = _socket.socket(fileno=os.dup(sync))
    try:
        fds.send_with_fds(handshake, frame, (fd,))
    finally:
        handshake.close()


def enter_directory(child: Child, path: str) -> None:
    """Go to a working directory that must be there, inside the root (security.md row 2)."""
    fd = open_in_root(child.root, path)
    try:
        if not S_ISDIR(os.fstat(fd).st_mode):
            raise kernel_error(ENOTDIR, path)
        os.fchdir(fd)
    finally:
        os.close(fd)
    if not os.getcwd().startswith("/"):
        raise refuse(ENOENT, "outside the container's root", path)
