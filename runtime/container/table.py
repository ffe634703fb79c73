"""A launch as a table of system calls, for the table machine (`machine/machine.c`): the format, and how it is written.

    header │ cells │ fixed data │ rows │ varying data │ the launch program        mapped at BASE, privately

A row is a system call, or one of six words of the machine's own, with six arguments: a number, the result of an
earlier row, or the u64 at an address. What an error does is said in each row: end everything (who launches does it in
the plain way then), or skip some rows. Pointers are absolute.

Writing rows takes some milliseconds of Python. They and the fixed data are the same for all containers of one kind, so
they are written once; what differs from one to the next is reached through the cells. Pure.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from runtime.container.table_header import (
    BASE,
    GROUP_FD,
    HEADER,
    MAGIC,
    ROOM,
)
from runtime.linux import ns

_CLONE_PARENT = 0x8000
SCRATCH = 0x30000000
WHO = SCRATCH
"""What the word USER finds: uid, gid, number of groups (u64 each), then the groups (u32)."""
WHO_COUNT, WHO_GROUPS = WHO + 16, WHO + 24
HOME = SCRATCH + 0x1000
"""HOME=… of that user."""
STATUS = SCRATCH + 0x2000
"""Room for a struct statx or statfs."""
TEXT, TEXT_SIZE = SCRATCH + 0x4000, 0x1000

WORDS = 0x1000
CHECK, CHECK_NOT, SET, JUMP, USER, GO_ON = range(WORDS, WORDS + 6)
BY_IDS, BY_UID, BY_NAME = range(3)
"""How USER looks somebody up."""
MAX_EXTRA, MAX_NAME = 32, 64

NO_ERROR, ABSENT, INVALID, ANY = range(4)
"""Which errors skip rows: none, ENOENT and ENOTDIR, EINVAL, all."""
_PLAIN, _RESULT, _LOAD = range(3)

LOWERDIR_BY_ONE = (6, 7)
"""The kernel from which on overlayfs takes its layers one by one, and so any number of them."""
MAX_CELLS = 256
CELLS = BASE + 64
_DATA = CELLS + 8 * MAX_CELLS
_ROW = struct.Struct("<II6Qq")
_WANTED = struct.Struct(f"<6I{MAX_EXTRA}I{MAX_NAME}s")
_U64 = 0xFFFFFFFFFFFFFFFF


class Unsupported(Exception):
    """No table can say this: it is for the plain way."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an earlier row has returned."""

    row: int


@dataclass(frozen=True, slots=True)
class Cell:
    """The u64 at an address, when the row is carried out."""

    address: int


Value: TypeAlias = int | str | bytes | Result | Cell
"""An argument of a row: texts and bytes are where they lie in the fixed data."""
Varying: TypeAlias = int | str | tuple[str | int, ...]
"""What a cell holds: a number, where a text lies, or where a list of pointers lies (to texts, or as they are)."""


class Skip:
    """A place further down that an error leads to; see `Writer.here`."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: list[int] = []


class Writer:
    """Rows and the fixed data that they point to."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = numbers
        self._rows: list[tuple[int, int, list[int]]] = []
        self._data = bytearray()
        self._places: dict[bytes, int] = {}
        self._cells = 0

    def cell(self) -> Cell:
        """Return the next of the values that differ from one container to the next, in the order of `fill`."""
        self._cells += 1
        if self._cells > MAX_CELLS:
            raise Unsupported("more varying values than there are cells")
        return Cell(CELLS + 8 * (self._cells - 1))

    def room(self) -> int:
        """Return where a fresh u64, 0, lies, for `set`."""
        return self._put(bytes(8))

    def data(self, data: bytes) -> int:
        """Return where these bytes lie; the same bytes lie there once."""
        if data not in self._places:
            self._places[data] = self._put(data)
        return self._places[data]

    def call(
        self, name: str, *arguments: Value, on: int = NO_ERROR, skip: Skip | None = None
    ) -> Result:
        """Add a system call. An error of `on` leads to `skip`; without one it does not matter."""
        return self._add(self._numbers[name], arguments, on, skip)

    def check(
        self, address: int, mask: int, wanted: Value, *, otherwise: Skip | None = None
    ) -> None:
        """Go on if the u64 there, masked, is `wanted`; else to `otherwise`, or not at all."""
        self._add(CHECK, (address, mask, wanted), ANY if otherwise else NO_ERROR, otherwise)

    def check_not(self, address: int, mask: int, unwanted: Value) -> None:
        """Go on unless the u64 there, masked, is `unwanted`."""
        self._add(CHECK_NOT, (address, mask, unwanted), NO_ERROR, None)

    def set(self, address: int, value: Value) -> None:
        self._add(SET, (address, value), NO_ERROR, None)

    def jump(self, skip: Skip) -> None:
        self._add(JUMP, (), ANY, skip)

    def user(
        self,
        by: int,
        *,
        uid: int = 0,
        name: str = "",
        gid: int | None = None,
        extra: Sequence[int] = (),
    ) -> None:
        """Find out who this is, by the container's own files: into WHO and HOME."""
        text = name.encode()
        numbers = (*extra, *(0 for _ in range(MAX_EXTRA - len(extra))))
        wanted = _WANTED.pack(
            by, gid is not None, uid, gid or 0, len(extra), len(text), *numbers, text
        )
        self._add(USER, (self.data(wanted),), NO_ERROR, None)

    def go_on(self, flags: int) -> None:
        """Let a child in new namespaces carry out what follows, as a child of whoever has spawned the machine.

        `flags` are those of clone3(2); with CLONE_INTO_CGROUP the group is at GROUP_FD.
        """
        group = GROUP_FD if flags & ns.CLONE_INTO_CGROUP else 0
        arguments = struct.pack("<11Q", flags | _CLONE_PARENT, *(0,) * 9, group)
        self._add(GO_ON, (arguments, len(arguments)), NO_ERROR, None)

    def here(self, skip: Skip) -> None:
        """Say that `skip` leads to the next row that is added."""
        for row in skip.rows:
            op, how, arguments = self._rows[row]
            self._rows[row] = op, how | (len(self._rows) - row - 1) << 16, arguments

    def fixed(self) -> Fixed:
        """Return all of it. Every skip must have been placed."""
        self._data.extend(bytes(-len(self._data) % 8))
        rows = b"".join(_ROW.pack(op, how, *arguments, 0) for op, how, arguments in self._rows)
        before = bytes(_DATA - BASE)
        return Fixed(
            image=before + self._data + rows,
            rows=len(before) + len(self._data),
            count=len(self._rows),
            cells=self._cells,
        )

    def _put(self, data: bytes) -> int:
        self._data.extend(bytes(-len(self._data) % 8))
        place = _DATA + len(self._data)
        self._data.extend(data)
        return place

    def _add(self, op: int, arguments: Sequence[Value], on: int, skip: Skip | None) -> Result:
        how = on << 12
        values = [0] * 6
        for index, argument in enumerate(arguments):
            kind, values[index] = self._argument(argument)
            how |= kind << 2 * index
        if skip is not None:
            skip.rows.append(len(self._rows))
        self._rows.append((op, how, values))
        return Result(len(self._rows) - 1)

    def _argument(self, argument: Value) -> tuple[int, int]:
        match argument:
            case Result(row):
                return _RESULT, row
            case Cell(address):
                return _LOAD, address
            case str():
                return _PLAIN, self.data(text_bytes(argument))
            case bytes():
                return _PLAIN, self.data(argument)
            case _:
                return _PLAIN, argument & _U64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What is the same in all tables of one kind: everything up to the rows' end."""

    image: bytes
    rows: int
    """Where they begin."""
    count: int
    cells: int

    def fill(self, values: Sequence[Varying], *, group: str, program: bytes) -> bytes:
        """Return the table with these values in its cells. Raises Unsupported.

        `group` is the directory of the v2 group that it is to be born in, `program` is the plain way.
        """
        if len(values) != self.cells:
            raise ValueError(f"{len(values)} values for {self.cells} cells")
        data = bytearray(self.image)
        pointers = [_place(data, value) for value in values]
        struct.pack_into(f"<{len(pointers)}Q", data, CELLS - BASE, *pointers)
        folder = os.fsencode(group)
        group_at = len(data)
        data += folder
        HEADER.pack_into(
            data, 0, MAGIC, self.count, self.rows, group_at, len(folder), len(data), len(program),
        )  # fmt: skip
        data += program
        if len(data) > ROOM:
            raise Unsupported(f"a table of {len(data)} bytes")
        return bytes(data)


def text_bytes(text: str) -> bytes:
    """Return a text as the kernel takes it: with a zero at its end and none in it. Raises Unsupported."""
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:
        raise Unsupported("text that is not Unicode") from None
    if b"\0" in data:
        raise Unsupported("text with a zero byte")
    return data + b"\0"


def _place(data: bytearray, value: Varying) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        at = len(data)
        data += text_bytes(value)
        return BASE + at
    pointers = [_place(data, each) for each in value]
    data += bytes(-len(data) % 8)
    at = len(data)
    data += struct.pack(f"<{len(pointers) + 1}Q", *pointers, 0)
    return BASE + at
