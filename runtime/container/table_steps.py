"""Every operation of a launch program as rows of a table: the way that all goes well, and nothing else. Pure.

Each function here is the twin of a step (`steps_mount`, `steps_process`, …) and makes the same system calls; where the
step decides, rows check. What is seldom, or would need more than that, has no twin: such a program has no table. What
does not go as the rows say is done again by the steps, which can tell why.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from stat import S_IFCHR, S_IFDIR, S_IFIFO, S_IFREG, S_IFSOCK

from runtime.container import table, wire
from runtime.container.table import (
    ABSENT,
    ANY,
    INVALID,
    NO_ERROR,
    Cell,
    Result,
    Skip,
    Unsupported,
    Writer,
)
from runtime.container.table_header import FREE_FD, GROUP_FD, NETWORK_FD, SYNC_FD
from runtime.linux import caps, mount, ns, prctl, seccomp, signals
from runtime.linux.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE
from runtime.linux.openat2 import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)

_O_PATH = os.O_PATH | os.O_CLOEXEC
_FORMAT = 0o170000
_MODE, _INODE, _RDEV = table.STATUS + 28, table.STATUS + 32, table.STATUS + 128
"""Fields of a struct statx."""
_BASIC = 0x7FF
_U16, _U32, _U64 = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_CLOSE_ON_EXEC = 4
_CAPABILITY_VERSION = 0x20080522
_AMBIENT = (prctl.PR_CAP_AMBIENT, prctl.PR_CAP_AMBIENT_RAISE, prctl.PR_CAP_AMBIENT_CLEAR_ALL)


class Steps:
    """Writes the rows of a program's operations, in order, and knows what the earlier ones have left."""

    def __init__(self, writer: Writer, kernel: tuple[int, int]) -> None:
        self._w = writer
        self._kernel = kernel
        self._root = Result(0)
        self._kept: dict[str, Result] = {}
        self._proc = Result(0)
        self._null = self._masked = Result(0)
        self._is_masked_attached = 0
        self._environment = Cell(0)
        self._executable = writer.room()
        self._umask = 0o022

    # ------------------------------------------------------------------ parts of many

    def _status(self, fd: Result | int, path: str = "") -> None:
        self._w.call("statx", fd, path, 0 if path else AT_EMPTY_PATH, _BASIC, table.STATUS)

    def _open(
        self,
        root: Result,
        path: str,
        resolve: int = 0,
        flags: int = _O_PATH,
        *,
        on: int = NO_ERROR,
        skip: Skip | None = None,
    ) -> Result:
        wanted = struct.pack("<3Q", flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)
        return self._w.call("openat2", root, path, wanted, len(wanted), on=on, skip=skip)

    def _inside(self, path: str) -> tuple[Result, str]:
        best = max(
            (kept for kept in self._kept if path.startswith(f"{kept}/")), key=len, default=""
        )
        return (self._kept[best], path[len(best) :]) if best else (self._root, path)

    def _directory(self, path: str, *, follow: bool) -> Result:
        """Open a directory; what is missing is made if it would lie right in the root that it is found from."""
        root, name = self._inside(path)
        if name.count("/") == 1 and len(name) > 1:
            self._w.call("mkdirat", root, name[1:], 0o755, on=ANY)
        return self._open(root, name, 0 if follow else RESOLVE_NO_SYMLINKS)

    def _present(self, path: str, absent: Skip) -> Result:
        """Open what there is, if it is."""
        if path in self._kept:
            return self._w.call("dup", self._kept[path])
        root, name = self._inside(path)
        return self._open(root, name, on=ABSENT, skip=absent)

    def _close(self, *fds: Result) -> None:
        for fd in fds:
            self._w.call("close", fd, on=ANY)

    def _filesystem(
        self, kind: str, options: Sequence[tuple[str, str | None]], attributes: int
    ) -> Result:
        context = self._w.call("fsopen", kind, 1)
        for key, value in options:
            if value is None:
                self._w.call("fsconfig", context, 0, key, 0, 0)
            else:
                self._w.call("fsconfig", context, 1, key, value, 0)
        self._w.call("fsconfig", context, 6, 0, 0, 0)
        tree = self._w.call("fsmount", context, 1, attributes)
        self._close(context)
        return tree

    def _clone(self, directory: Result | int, path: str, *, recursive: bool) -> Result:
        flags = (
            os.O_CLOEXEC | 1 | (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
        )
        return self._w.call("open_tree", directory, path, flags)

    def _set_attributes(self, tree: Result, attributes: int, *, recursive: bool = False) -> None:
        cleared = mount.MOUNT_ATTR__ATIME if attributes & mount.MOUNT_ATTR__ATIME else 0
        change = struct.pack("<4Q", attributes, cleared, 0, 0)
        flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
        self._w.call("mount_setattr", tree, "", flags, change, len(change))

    def _attach(self, tree: Result | Cell, place: Result) -> None:
        self._w.call("move_mount", tree, "", place, "", 0x44)

    def _not_proc(self, place: Result) -> None:
        self._w.call("fstatfs", place, table.STATUS)
        self._w.check_not(table.STATUS, _U64, mount.PROC_SUPER_MAGIC)

    # ------------------------------------------------------------------ groups and namespaces

    def begin(self, flags: int) -> None:
        """Become the container's first process, with nothing of the caller's but what it has been given."""
        self._w.go_on(flags)
        self.undumpable()
        self._w.call("setsid")
        self._w.call("umask", 0)
        self._w.call("close", GROUP_FD, on=ANY)
        self._w.call("close_range", FREE_FD, _U32, 0)
        for number in signals.RESERVED:  # a spawned process may have them ignored
            self._w.call("rt_sigaction", number, bytes(64), 0, 8)

    def join_cgroup(self) -> None:
        file = self._w.call("openat", AT_FDCWD, self._w.cell(), os.O_WRONLY | os.O_CLOEXEC)
        self._w.call("write", file, b"0", 1)
        self._close(file)

    def join_namespace(self, flag: int, is_checked: bool) -> None:
        path, inode = self._w.cell(), self._w.cell()
        file = self._w.call("openat", AT_FDCWD, path, os.O_RDONLY | os.O_CLOEXEC)
        if is_checked:
            self._status(file)
            self._w.check(_INODE, _U64, inode)
        self._w.call("setns", file, flag)
        self._close(file)

    def join_network(self) -> None:
        self._w.call("setns", NETWORK_FD, ns.CLONE_NEWNET)
        self._w.call("close", NETWORK_FD)

    def unshare(self, flag: int) -> None:
        self._w.call("unshare", flag)

    def private(self) -> None:
        self._w.call("mount", 0, "/", 0, mount.MS_REC | mount.MS_PRIVATE, 0)

    def loopback(self) -> None:
        sock = self._w.call("socket", 2, 2 | os.O_CLOEXEC, 0)
        request = struct.pack("<16sh22x", b"lo", _IFF_UP)
        self._w.call("ioctl", sock, _SIOCSIFFLAGS, request)
        self._close(sock)

    def open_procfs(self) -> None:
        self._proc = self._filesystem("proc", (), 0)

    def write_proc(self, path: str, value: str) -> None:
        file = self._open(self._proc, path, RESOLVE_NO_XDEV, os.O_WRONLY | os.O_CLOEXEC)
        self._w.call("fstatfs", file, table.STATUS)
        self._w.check(table.STATUS, _U64, mount.PROC_SUPER_MAGIC)
        text = value.encode()
        self._w.call("write", file, text, len(text))
        self._close(file)

    # ------------------------------------------------------------------ the file tree

    def overlay_root(self, layers: int, attributes: int) -> None:
        base, upper, work, at = (self._w.cell() for _ in range(4))
        self._w.call("chdir", base)
        if self._kernel >= table.LOWERDIR_BY_ONE:
            lower = [self._w.cell() for _ in range(layers)]
            context = self._w.call("fsopen", "overlay", 1)
            for each in lower:
                self._w.call("fsconfig", context, 1, "lowerdir+", each, 0)
            self._w.call("fsconfig", context, 1, "upperdir", upper, 0)
            self._w.call("fsconfig", context, 1, "workdir", work, 0)
            self._w.call("fsconfig", context, 6, 0, 0, 0)
            self._root = self._w.call("fsmount", context, 1, attributes)
            self._close(context)
            self._w.call("move_mount", self._root, "", AT_FDCWD, at, 0x4)
        else:
            self._w.call("mount", "overlay", at, "overlay", 0, self._w.cell())
            self._root = self._w.call("openat", AT_FDCWD, at, _O_PATH | os.O_DIRECTORY)
            if attributes:
                self._set_attributes(self._root, attributes)
        self._w.call("chdir", "/")

    def bind_root(self, path: str, attributes: int) -> None:
        place = self._w.call("openat", AT_FDCWD, path, _O_PATH | os.O_DIRECTORY)
        self._root = self._clone(place, "", recursive=True)
        self._set_attributes(self._root, attributes)
        self._attach(self._root, place)
        self._close(place)
        self._w.call("chdir", "/")

    def mount(
        self,
        kind: str,
        target: str,
        attributes: int,
        options: Sequence[tuple[str, str | None]],
        is_strict: bool,
    ) -> None:
        place = self._directory(target, follow=not is_strict)
        self._not_proc(place)
        tree = self._filesystem(kind, options, attributes)
        self._attach(tree, place)
        self._close(place)
        self._keep(target, tree, is_kept=is_strict)

    def _keep(self, target: str, tree: Result, *, is_kept: bool) -> None:
        if is_kept:
            self._kept[target] = tree
        else:
            self._close(tree)

    def devices(
        self,
        attributes: int,
        options: Sequence[tuple[str, str | None]],
        nodes: Sequence[tuple[str, int, int]],
        symlinks: Sequence[tuple[str, str]],
    ) -> None:
        tree = self._filesystem("tmpfs", options, attributes)
        for name, mode, device in nodes:
            self._w.call("mknodat", tree, name, mode, device)
        for name, target in symlinks:
            self._w.call("symlinkat", target, tree, name)
        place = self._directory("/dev", follow=False)
        self._attach(tree, place)
        self._close(place)
        self._keep("/dev", tree, is_kept=True)

    def bind(
        self,
        source: str,
        target: str,
        attributes: int,
        is_recursive: bool,
        is_deep: bool,
        may_be_proc: bool,
    ) -> None:
        tree = self._clone(AT_FDCWD, source, recursive=is_recursive)
        self._put(tree, target, attributes, is_deep=is_deep, may_be_proc=may_be_proc)

    def bind_volume(self, volume: str, subpath: str, target: str, attributes: int) -> None:
        flags = _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        data = self._w.call("openat", AT_FDCWD, f"{volume}/data", flags)
        place = self._open(data, subpath or ".")
        tree = self._clone(place, "", recursive=False)
        self._close(data, place)
        self._put(tree, target, attributes, is_deep=False, may_be_proc=False)

    def _put(
        self, tree: Result, target: str, attributes: int, *, is_deep: bool, may_be_proc: bool
    ) -> None:
        """Attach a tree of unknown kind at a place of the same kind."""
        if attributes:
            self._set_attributes(tree, attributes, recursive=is_deep)
        other, done = Skip(), Skip()
        self._status(tree)
        self._w.check(_MODE, _FORMAT, S_IFDIR, otherwise=other)
        place = self._directory(target, follow=True)
        self._status(place)
        self._w.check(_MODE, _FORMAT, S_IFDIR)
        self._put_on(tree, place, may_be_proc=may_be_proc)
        self._w.jump(done)
        self._w.here(other)
        root, name = self._inside(target)
        place = self._open(root, name)
        self._status(place)
        self._w.check_not(_MODE, _FORMAT, S_IFDIR)
        self._put_on(tree, place, may_be_proc=may_be_proc)
        self._w.here(done)
        self._close(tree)

    def _put_on(self, tree: Result, place: Result, *, may_be_proc: bool) -> None:
        if not may_be_proc:
            self._not_proc(place)
        self._attach(tree, place)
        self._close(place)

    def change_mount(self, path: str, attributes: int) -> None:
        if path not in self._kept:
            raise Unsupported(path)
        self._set_attributes(self._kept[path], attributes)

    def read_only(self, path: str) -> None:
        absent = Skip()
        place = self._present(path, absent)
        view = self._clone(place, "", recursive=True)
        self._set_attributes(view, mount.MOUNT_ATTR_RDONLY, recursive=True)
        self._attach(view, place)
        self._close(view, place)
        self._w.here(absent)

    def mask_sources(self) -> None:
        self._null = self._w.call("openat", AT_FDCWD, "/dev/null", _O_PATH | os.O_NOFOLLOW)
        self._status(self._null)
        self._w.check(_MODE, _FORMAT, S_IFCHR)
        self._w.check(_RDEV, _U64, 1 | 3 << 32)
        attributes = (
            mount.MOUNT_ATTR_RDONLY
            | mount.MOUNT_ATTR_NOSUID
            | mount.MOUNT_ATTR_NODEV
            | mount.MOUNT_ATTR_NOEXEC
        )
        options = (("mode", "555"), ("size", "4k"), ("nr_inodes", "1"))
        self._masked = self._filesystem("tmpfs", options, attributes)
        self._is_masked_attached = self._w.room()

    def mask(self, path: str) -> None:
        absent, file, again = Skip(), Skip(), Skip()
        place = self._present(path, absent)
        self._status(place)
        self._w.check(_MODE, _FORMAT, S_IFDIR, otherwise=file)
        self._w.check(self._is_masked_attached, _U64, 0, otherwise=again)
        self._attach(self._masked, place)
        self._w.set(self._is_masked_attached, 1)
        self._w.jump(absent)
        for source, begin in ((self._masked, again), (self._null, file)):
            self._w.here(begin)
            cover = self._clone(source, "", recursive=False)
            self._attach(cover, place)
            self._close(cover)
            self._w.jump(absent)
        self._w.here(absent)

    def pivot(self) -> None:
        self._w.call("fchdir", self._root)
        self._w.call("pivot_root", ".", ".")
        self._w.call("umount2", ".", mount.MNT_DETACH)
        self._w.call("chdir", "/")

    def root_read_only(self) -> None:
        self._set_attributes(self._root, mount.MOUNT_ATTR_RDONLY)

    # ------------------------------------------------------------------ the process

    def hostname(self) -> None:
        self._w.call("sethostname", self._w.cell(), self._w.cell())

    def domainname(self) -> None:
        self._w.call("setdomainname", self._w.cell(), self._w.cell())

    def close_fds(self) -> None:
        self._w.call("close_range", SYNC_FD + 1, _U32, 0)
        self._root = self._w.call("openat", AT_FDCWD, "/", _O_PATH | os.O_DIRECTORY)
        self._kept = {}

    def ids(self, uid: int, gid: int, groups: Sequence[int]) -> None:
        if len(groups) > table.MAX_EXTRA:
            raise Unsupported("groups")
        self._w.user(table.BY_IDS, uid=uid, gid=gid, extra=groups)

    def user(self, text: str, extra: Sequence[str]) -> None:
        name, colon, group = text.partition(":")
        if (
            not all(map(_is_id, (*extra, *([group] if colon else []))))
            or len(extra) > table.MAX_EXTRA
        ):
            raise Unsupported("names of groups")
        by, uid = (table.BY_UID, int(name or "0")) if _is_id(name or "0") else (table.BY_NAME, 0)
        if (
            (name.isdecimal() and by == table.BY_NAME)
            or not name.isascii()
            or len(name) > table.MAX_NAME
        ):
            raise Unsupported("user")
        self._w.user(
            by,
            uid=uid,
            name=name if by == table.BY_NAME else "",
            gid=int(group) if colon else None,
            extra=[*map(int, extra)],
        )

    def own_stdio(self) -> None:
        for fd in (0, 1, 2):
            ours, socket, device, other = Skip(), Skip(), Skip(), Skip()
            self._status(fd)
            self._w.check(_MODE, _FORMAT, S_IFIFO, otherwise=socket)
            self._w.jump(ours)
            self._w.here(socket)
            self._w.check(_MODE, _FORMAT, S_IFSOCK, otherwise=device)
            self._w.jump(ours)
            self._w.here(device)
            self._w.check(_MODE, _FORMAT, S_IFCHR, otherwise=other)
            self._w.check(_RDEV, _U32 & ~7, 136, otherwise=other)
            self._w.here(ours)
            self._w.call("fchown", fd, Cell(table.WHO), -1)
            self._w.here(other)

    def working_dir(self, path: str) -> None:
        place = self._directory(path, follow=True)
        self._status(place)
        self._w.check(_MODE, _FORMAT, S_IFDIR)
        self._w.call("fchdir", place)
        self._close(place)
        self._w.call("getcwd", table.TEXT, table.TEXT_SIZE)
        self._w.check(table.TEXT, 0xFF, ord("/"))

    def rlimit(self, resource: int, soft: int, hard: int) -> None:
        self._w.call("prlimit64", 0, resource, struct.pack("<2Q", soft, hard), 0)

    def no_new_privileges(self) -> None:
        self._w.call("prctl", prctl.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

    def seccomp(self, code: str) -> None:
        instructions = bytes.fromhex(code)
        count = len(instructions) // seccomp.INSTRUCTION_SIZE
        filter_program = struct.pack("<H6xQ", count, self._w.data(instructions))
        self._w.call("seccomp", seccomp.SECCOMP_SET_MODE_FILTER, 0, filter_program)

    def bounding(self, mask: int) -> None:
        beyond = Skip()
        for number in range(64):
            if mask >> number & 1:
                continue
            skip = beyond if number >= len(caps.NAMES) else None
            self._w.call("prctl", prctl.PR_CAPBSET_DROP, number, 0, 0, 0, on=INVALID, skip=skip)
        self._w.here(beyond)

    def become(self) -> None:
        self._w.call("prctl", prctl.PR_SET_KEEPCAPS, 1, 0, 0, 0)
        self._w.call("setgroups", Cell(table.WHO_COUNT), table.WHO_GROUPS)
        for name, field in (("setresgid", table.WHO + 8), ("setresuid", table.WHO)):
            self._w.call(name, Cell(field), Cell(field), Cell(field))
        self._w.call("prctl", prctl.PR_SET_KEEPCAPS, 0, 0, 0, 0)
        self.undumpable()

    def undumpable(self) -> None:
        self._w.call("prctl", prctl.PR_SET_DUMPABLE, 0, 0, 0, 0)

    def capabilities(self, effective: int, permitted: int, inheritable: int, ambient: int) -> None:
        halves = [
            each >> shift & _U32
            for shift in (0, 32)
            for each in (effective, permitted, inheritable)
        ]
        header = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
        self._w.call("capset", header, struct.pack("<6I", *halves))
        option, up, clear = _AMBIENT
        self._w.call("prctl", option, clear, 0, 0, 0)
        for number in range(64):
            if ambient >> number & 1:
                self._w.call("prctl", option, up, number, 0, 0)

    def environment(self) -> None:
        self._environment = self._w.cell()

    def umask(self, mask: int) -> None:
        self._umask = mask

    def find(self, candidates: int) -> None:
        found = Skip()
        for _ in range(candidates):
            path, other = self._w.cell(), Skip()
            self._w.call("faccessat", AT_FDCWD, path, os.X_OK, on=ANY, skip=other)
            self._w.call("statx", AT_FDCWD, path, 0, _BASIC, table.STATUS, on=ANY, skip=other)
            self._w.check(_MODE, _FORMAT, S_IFREG, otherwise=other)
            self._w.set(self._executable, path)
            self._w.jump(found)
            self._w.here(other)
        self._w.check_not(self._executable, _U64, 0)
        self._w.here(found)

    def ready(self) -> None:
        frame = wire.encode(wire.READY)
        self._w.call("write", SYNC_FD, frame, len(frame))

    def execute(self) -> None:
        self._w.call("umask", self._umask)
        self._w.call("close_range", SYNC_FD, _U32, _CLOSE_ON_EXEC)
        self._w.call("execve", Cell(self._executable), self._w.cell(), self._environment)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= 0xFFFFFFFE
