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
SYNC_FD, TABLE_FD, NETWORK_FD = 3, 4, 5
"""The machine's descriptors: stdio, then the handshake, the table, and the network namespace that it may join."""

HEADER = _struct.Struct("<8sIIQIIII")
"""Magic, number of rows, their offset, flags of clone3; offset and length of the group's directory, of the program."""


class Table:
    """What is asked of who launches a table."""

    __slots__ = ("flags", "group")

    def __init__(self, flags: int, group: str) -> None:
        self.flags = flags
        self.group = group
        """The directory of the v2 group that it must be cloned into; empty where there is none."""


def table_in(fd: int) -> Table | None:
    """Return what the table in a launch program's memfd wants; None where it has none, or is not sealed."""
    head = os.pread(fd, HEADER.size, 0)
    if not head.startswith(MAGIC) or not is_sealed(fd):
        return None
    _, _, _, flags, group, length, _, _ = HEADER.unpack(head)
    return Table(flags, os.pread(fd, length, group).decode())


def plain_part(document: bytes) -> bytes:
    """Return the launch program itself, with or without a table before it."""
    if not document.startswith(MAGIC):
        return document
    *_, at, length = HEADER.unpack_from(document)
    return document[at : at + length]
