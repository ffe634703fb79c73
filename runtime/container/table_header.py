"""What stands before a launch program that has a table (see `table`): for who launches it. Import-light."""

from __future__ import annotations

import _struct
import os

from runtime.linux.memfd import is_sealed

MAGIC = b"TRTABLE1"
BASE = 0x20000000
"""Where the machine maps a table."""
ROOM = 8 << 20
"""Bytes of the longest table."""
SYNC_FD, TABLE_FD, GROUP_FD, CONTENTS_FD, NETWORK_FD, FREE_FD = range(3, 9)
"""The machine's descriptors, after stdio: the handshake, the table, the directory of the v2 group that it makes its
child in, and what a launch is given, each where there is one; from FREE_FD on there are none."""

HEADER = _struct.Struct("<8sIIIIII")
"""Magic, number of rows, their offset; offset and length of the group's directory, of the program."""


class Table:
    """What is asked of who launches a table."""

    __slots__ = ("group",)

    def __init__(self, group: str) -> None:
        self.group = group
        """The directory of the v2 group that the container is to be born in; empty where there is none."""


def table_in(fd: int) -> Table | None:
    """Return what the table in a launch program's memfd wants; None where it has none, or is not sealed."""
    head = os.pread(fd, HEADER.size, 0)
    if not head.startswith(MAGIC) or not is_sealed(fd):
        return None
    _, _, _, group, length, _, _ = HEADER.unpack(head)
    return Table(os.pread(fd, length, group).decode())


def plain_part(document: bytes) -> bytes:
    """Return the launch program itself, with or without a table before it."""
    if not document.startswith(MAGIC):
        return document
    *_, at, length = HEADER.unpack_from(document)
    return document[at : at + length]
