"""The table beside a launch program: its format, that rows are written once a kind, and when there is none."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api import HostFacts
from runtime.container import compile_table, machine, program, table
from runtime.container.compile import Rootfs, compile_program
from runtime.container.table import ANY, Cell, Skip, Writer
from runtime.container.table_header import BASE, GROUP_FD, HEADER, MAGIC, plain_part
from runtime.linux import ns
from runtime.spec.config import OciConfig
from tests.support.launching import REPOSITORY, a_config
from tests.unit.test_compile import V2

FACTS = replace(V2, kernel=(6, 8))
CLONE_PARENT = 0x8000
ROW = struct.Struct("<II6Qq")
NUMBERS = {"one": 1, "two": 2}


def compiled(config: OciConfig, *, facts: HostFacts = FACTS, name: str = "a") -> bytes:
    return compile_program(
        config,
        facts=facts,
        rootfs=Rootfs(
            lower=("/lib/l/1", "/lib/l/2"), upper=f"/lib/c/{name}/upper", work=f"/lib/c/{name}/work"
        ),
        cgroup_procs=(f"/sys/fs/cgroup/trice/{name}/cgroup.procs",),
        wait_fifo=None,
    )


def rows_of(document: bytes) -> list[tuple[int, int, tuple[int, ...]]]:
    _, count, offset, *_ = HEADER.unpack_from(document)
    found = [ROW.unpack_from(document, offset + index * ROW.size) for index in range(count)]
    return [(op, how, tuple(arguments)) for op, how, *arguments, _ in found]


def test_a_row_says_where_its_errors_lead() -> None:
    writer, skip = Writer(NUMBERS), Skip()
    first = writer.call("one", 7, on=ANY, skip=skip)
    writer.call("two", first, "text", Cell(BASE))
    writer.here(skip)
    writer.jump(end := Skip())
    writer.call("two")
    writer.here(end)
    document = writer.fixed().fill([], group="/g", program=b"{}")
    rows = rows_of(document)
    assert [(op, how >> 12 & 3, how >> 16) for op, how, _ in rows] == [
        (1, table.ANY, 1), (2, table.NO_ERROR, 0), (table.JUMP, table.ANY, 1), (2, table.NO_ERROR, 0)
    ]  # fmt: skip
    assert rows[1][1] & 0x3F == 1 | 0 << 2 | 2 << 4
    text = rows[1][2][1] - BASE
    assert document[text : text + 5] == b"text\0"


def test_cells_hold_numbers_texts_and_lists() -> None:
    writer = Writer(NUMBERS)
    cells = [writer.cell() for _ in range(3)]
    document = writer.fixed().fill([7, "text", ("one", 9)], group="", program=b"")
    number, text, pointers = struct.unpack_from("<3Q", document, cells[0].address - BASE)
    assert number == 7
    assert document[text - BASE :].startswith(b"text\0")
    first, second, end = struct.unpack_from("<3Q", document, pointers - BASE)
    assert document[first - BASE :].startswith(b"one\0")
    assert (second, end) == (9, 0)
    with pytest.raises(ValueError, match="2 values for 3 cells"):
        writer.fixed().fill([1, 2], group="", program=b"")


def test_the_program_behind_a_table_is_the_one_without() -> None:
    config = a_config("sh")
    document = compiled(config)
    plain = compiled(config, facts=replace(FACTS, has_openat2=False))
    assert document.startswith(MAGIC)
    assert plain.startswith(b"{")
    assert plain_part(document) == plain
    assert program.describe(document) == program.describe(plain)


def test_the_group_is_what_it_is_born_in_and_no_row_joins_it() -> None:
    document = compiled(a_config("sh"))
    *_, at, length, _, _ = HEADER.unpack_from(document)
    assert document[at : at + length] == b"/sys/fs/cgroup/trice/a"
    op, _, (arguments, size, *_) = rows_of(document)[0]
    assert (op, size) == (table.GO_ON, 88)
    clone = struct.unpack_from("<11Q", document, arguments - BASE)
    flags = json.loads(plain_part(document))["flags"]
    assert clone == (flags | ns.CLONE_INTO_CGROUP | CLONE_PARENT, *(0,) * 9, GROUP_FD)
    assert document.count(b"/sys/fs/cgroup/trice/a/cgroup.procs") == plain_part(document).count(
        b"/sys/fs/cgroup/trice/a/cgroup.procs"
    )


def test_rows_are_written_once_for_containers_of_one_kind() -> None:
    compile_table._fixed.cache_clear()
    tables = [
        compiled(a_config("sh", "-c", name, environment={"NAME": name}), name=name)
        for name in ("one", "two", "three")
    ]
    assert compile_table._fixed.cache_info().misses == 1
    assert len({tuple(rows_of(document)) for document in tables}) == 1
    assert len(set(tables)) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"user": "app:staff"},
        {"user": "x" * 70},
        {"environment": {"A": "\ud800"}},
        {"working_dir": "/a\0b"},
        {"working_dir": "/", "environment": {"PATH": ":".join("/bin" for _ in range(300))}},
    ],
    ids=[
        "a group's name",
        "a long name",
        "a lone surrogate",
        "a zero in a path",
        "more places than cells",
    ],
)
def test_what_a_table_cannot_say_has_none(change: dict[str, object]) -> None:
    config = a_config("sh", **change)  # type: ignore[arg-type]
    assert compiled(config).startswith(b"{")


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_the_kernel_would_read_otherwise_is_no_text(text: str) -> None:
    writer = Writer(NUMBERS)
    with pytest.raises(table.Unsupported):
        writer.call("one", text)
    writer.cell()
    with pytest.raises(table.Unsupported):
        writer.fixed().fill([text], group="", program=b"")


def test_bytes_that_are_no_text_stay_what_they_are() -> None:
    document = compiled(a_config("sh", environment={"A": "\udce9"}))
    assert document.startswith(MAGIC)
    assert b"A=\xe9\0" in document


def test_every_operation_that_is_supported_has_rows_of_its_name() -> None:
    from runtime.container.table_steps import Steps

    assert [name for name in compile_table._SUPPORTED if not hasattr(Steps, name)] == []
    assert not compile_table._SUPPORTED - program.OPERATIONS.keys()


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_the_built_machine_is_its_source(architecture: str, tmp_path: Path) -> None:
    """By the compiler that it says it was built with; another one's bytes would be others."""
    folder = Path(machine.__file__).parent
    compiler = f"{architecture}-linux-gnu-gcc"
    built_by = (folder / f"machine.{architecture}.compiler").read_text()
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    version = subprocess.run(
        [compiler, "-dumpfullversion"], capture_output=True, text=True, check=True
    )
    if version.stdout != built_by:
        pytest.skip(f"built with {built_by.strip()}, here is {version.stdout.strip()}")
    script = REPOSITORY / ".ci/build-machine"
    subprocess.run([script, tmp_path], check=True, capture_output=True, timeout=60)
    name = f"machine.{architecture}"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
