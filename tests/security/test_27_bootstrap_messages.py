"""Row 27: what travels between caller and child is length-checked and typed (CVE-2021-43784).

The handshake, the launch program, the JSON below both, and the memfd that carries programs: fed with random, cut and
changed bytes they say a ValueError or ProtocolError, and nothing else ever happens.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.container import program, wire
from runtime.container.init import Launched
from runtime.keeper.handshake import Handshake
from runtime.linux import fds, lightjson, memfd

if TYPE_CHECKING:
    from runtime.linux.lightjson import Json

GOOD = lightjson.dumps(
    {
        "version": 1,
        "flags": 0x20000,
        "ops": [
            ["private"],
            ["mount", "proc", "/proc", "nosuid", ["a=b"], "no-links"],
            ["ids", 1000, 1000, [1, 2]],
            ["capabilities", "CHOWN", "", "", ""],
            ["environment", ["A=b"]],
            ["execute", ["true"]],
        ],
    }
)
PREPARED = program.prepare(GOOD)
JSON_VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=wire.MAX_FRAME + 100))
def test_random_frames(frame: bytes) -> None:
    try:
        tag, step, errno, text = wire.decode(frame)
    except wire.ProtocolError:
        return
    assert tag in (wire.READY, wire.FAILED, wire.FDS, wire.HOOKS, wire.CHILD)
    assert len(frame) <= wire.MAX_FRAME
    assert 0 <= step <= 0xFFFF
    assert errno >= 0
    assert frame == struct.pack("<BHi", tag, step, errno) + text.encode()


@pytest.mark.parametrize("length", [0, 1, 6, wire.MAX_FRAME + 1, 1 << 20])
def test_frames_of_a_wrong_length(length: int) -> None:
    """Seen to fail with the length check taken out of `decode`: a struct.error, or a megabyte taken for a frame."""
    with pytest.raises(wire.ProtocolError, match="are no frame"):
        wire.decode(bytes([wire.FAILED]) * min(length, 1) + b"\0" * max(0, length - 1))


@given(st.binary(max_size=200))
def test_a_hostile_child_tells_no_step_that_there_is_not(frame: bytes) -> None:
    try:
        told = program.failure(PREPARED, frame)
    except wire.ProtocolError:
        return
    assert told["step"] in PREPARED.labels


@pytest.mark.parametrize("is_another", [False, True])
def test_a_frame_counts_only_from_who_is_launched(*, is_another: bool) -> None:
    """Seen to fail without `check_sender`: whoever has got hold of the socket says which process goes on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fds.tell_senders(ours)
    with theirs:
        pid = os.getpid() + is_another
        handshake = Handshake(PREPARED, Launched(pid, -1, ours.detach()))
        followed: list[int] = []
        handshake.follow = lambda pid, pidfd: (followed.append(pid), os.close(pidfd))[0]
        fds.send_with_fds(theirs, wire.encode(wire.CHILD, errno=7), (theirs.fileno(),))
        handshake.read()
        assert followed == ([] if is_another else [7])
        assert (handshake.failure is not None) is is_another
        handshake.close()


@given(st.binary(max_size=400))
def test_random_programs(document: bytes) -> None:
    with pytest.raises(ValueError):
        program.prepare(document)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_program_with_one_byte_changed(position: int, value: int) -> None:
    changed = bytearray(GOOD)
    changed[position] = value
    try:
        program.prepare(bytes(changed))
    except ValueError:
        return


@given(st.integers(0, len(GOOD) - 1))
def test_a_program_cut_anywhere(length: int) -> None:
    with pytest.raises(ValueError):
        program.prepare(GOOD[:length])


@pytest.mark.parametrize("name", sorted(program.OPERATIONS))
@given(st.data())
def test_every_operation_checks_its_arguments(name: str, data: st.DataObject) -> None:
    """Seen to fail with `_fits` answering True: TypeErrors in the process that everything depends on."""
    count = len(program.OPERATIONS[name].shape)
    arguments = data.draw(st.lists(JSON_VALUES, min_size=count, max_size=count))
    document = lightjson.dumps({"version": 1, "flags": 0, "ops": [[name, *arguments]]})
    try:
        prepared = program.prepare(document)
    except ValueError:
        return
    assert len(prepared.steps) == 1


def test_a_program_that_is_longer_than_any_is_not_even_parsed() -> None:
    with pytest.raises(ValueError, match="too long"):
        program.prepare(b"[" * (program.MAX_DOCUMENT + 1))


def test_a_memfd_that_could_still_change_is_not_read() -> None:
    fd = os.memfd_create("unsealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, GOOD)
        with pytest.raises(ValueError, match="not a sealed memfd"):
            memfd.read_sealed(fd, program.MAX_DOCUMENT)
        fcntl.fcntl(fd, memfd.F_ADD_SEALS, memfd.F_SEAL_WRITE)
        with pytest.raises(ValueError, match="not a sealed memfd"):
            memfd.read_sealed(fd, program.MAX_DOCUMENT)
        fcntl.fcntl(fd, memfd.F_ADD_SEALS, memfd.ALL_SEALS)
        assert memfd.read_sealed(fd, program.MAX_DOCUMENT) == GOOD
        with pytest.raises(ValueError, match="bytes, more than 10"):
            memfd.read_sealed(fd, 10)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)


@pytest.mark.parametrize("kind", ["pipe", "file", "directory"])
def test_what_is_no_memfd_is_not_read(kind: str, tmp_path: os.PathLike[str]) -> None:
    if kind == "pipe":
        fd, other = os.pipe()
        os.close(other)
    elif kind == "file":
        fd = os.open(os.path.join(tmp_path, "x"), os.O_RDWR | os.O_CREAT, 0o600)
    else:
        fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match="not a sealed memfd"):
            memfd.read_sealed(fd, 100)
    finally:
        os.close(fd)
