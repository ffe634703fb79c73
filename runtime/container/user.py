"""Who a container runs as: `name|uid[:group|gid]` against the container's own passwd and group files.

Our own parser, never NSS: nothing of the container's is loaded (security.md rows 10, 11). Ids are u32 or refused.
Import-light: it runs in the child.
"""

from __future__ import annotations

import os
from stat import S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_ID = 0xFFFFFFFE
"""0xFFFFFFFF is "no change" to setresuid(2), so nobody may have it."""
_FILE_LIMIT = 8 << 20
_DIGITS = frozenset("0123456789")


class UserUnknown(Exception):
    """The text names nobody; the message says why, without the text."""


class Identity:
    """Numeric credentials, and the home directory that goes with them."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: Sequence[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = tuple(groups)
        self.home = home


def parse_id(text: str) -> int | None:
    """Return the id that `text` is in decimal digits, None when it is a name. Raises UserUnknown out of range."""
    if not text or not _DIGITS.issuperset(text):
        return None
    # The length first: int() of a very long text takes quadratic time.
    if len(text) > 10 or int(text) > MAX_ID:
        raise UserUnknown(f"id out of range (0 to {MAX_ID})")
    return int(text)


def resolve(text: str, passwd: bytes, group: bytes, extra: Iterable[int] = ()) -> Identity:
    """Return whom `text` means, by these files. Raises UserUnknown.

    A number need not be in the files; its group is then 0. Groups that list the user are added unless the text names
    a group itself. `extra` group ids are added in any case.
    """
    user_text, colon, group_text = text.partition(":")
    if colon and not group_text:
        raise UserUnknown("no group after ':'")
    name, uid, gid, home = _find_user(user_text, passwd)
    groups: list[int] = []
    if colon:
        gid = find_group(group_text, group)
    elif name:
        groups = [number for number, members in _group_rows(group) if name in members]
    unique = sorted({*groups, *extra} - {gid})
    return Identity(uid, gid, (gid, *unique), home)


def _find_user(text: str, passwd: bytes) -> tuple[str, int, int, str]:
    """Return (name or "", uid, gid, home); an empty text is uid 0."""
    wanted = 0 if not text else parse_id(text)
    for fields in _rows(passwd, 7):
        uid, gid = _row_id(fields[2]), _row_id(fields[3])
        if uid is None or gid is None:
            continue
        if uid == wanted if wanted is not None else fields[0] == text:
            return fields[0], uid, gid, fields[5] or "/"
    if wanted is None:
        raise UserUnknown("no such user in the container's /etc/passwd")
    return "", wanted, 0, "/root" if wanted == 0 else "/"


def find_group(text: str, group: bytes) -> int:
    """Return the group id that a name or number means, by this file. Raises UserUnknown."""
    number = parse_id(text)
    if number is not None:
        return number
    for fields in _rows(group, 4):
        gid = _row_id(fields[2])
        if fields[0] == text and gid is not None:
            return gid
    raise UserUnknown("no such group in the container's /etc/group")


def _group_rows(group: bytes) -> Iterator[tuple[int, list[str]]]:
    for fields in _rows(group, 4):
        gid = _row_id(fields[2])
        if gid is not None:
            yield gid, fields[3].split(",")


def _rows(data: bytes, columns: int) -> Iterator[list[str]]:
    """Yield the well-formed rows; what is not one is skipped, as libc does."""
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= columns and fields[0] and not fields[0].startswith("#"):
            yield fields


def _row_id(text: str) -> int | None:
    try:
        return parse_id(text)
    except UserUnknown:
        return None


def read_database(path: str) -> bytes:
    """Return a passwd or group file, b"" when there is none. A FIFO, device or huge file is refused (OSError).

    To be called when the root is the container's own.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    try:
        status = os.fstat(fd)
        if not S_ISREG(status.st_mode) or status.st_size > _FILE_LIMIT:
            raise OSError(22, "not an ordinary file of at most 8 MiB", path)
        chunks: list[bytes] = []
        while chunk := os.read(fd, 1 << 16):
            chunks.append(chunk)
        return b"".join(chunks)[:_FILE_LIMIT]
    finally:
        os.close(fd)
