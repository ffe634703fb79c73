"""Our stdin and stdout joined to a stream: frames, the half-close, detach keys however they arrive."""

from __future__ import annotations

import os
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.client.bridge import End, Ends, Frames, carry, detach_keys


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50))), st.integers(1, 20))
def test_frames_come_apart_however_they_are_cut(sent: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(frame(stream, payload) for stream, payload in sent)
    frames = Frames()
    found = [
        piece for at in range(0, len(data), size) for piece in frames.take(data[at : at + size])
    ]
    assert found == [(stream == 2, payload) for stream, payload in sent]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-a,d", b"\x01d"),
        ("ctrl-[", b"\x1b"),
        ("ctrl-@,ctrl-_", b"\0\x1f"),
        ("x", b"x"),
        ("", b""),
    ],
)
def test_detach_keys(text: str, keys: bytes) -> None:
    assert detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-1", "ctrl-", "ab", "a,,b", "é"])
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="invalid detach keys"):
        detach_keys(text)


class Joined:
    """A bridge at work between two pipes and the server's end of a stream."""

    def __init__(self, *, detach: bytes = b"", is_multiplexed: bool = True) -> None:
        self.server, ours = socket.socketpair()
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        self.end: End | None = None
        ends = Ends(stdin=stdin, stdout=stdout, stderr=stderr, detach=detach)

        def work() -> None:
            self.end = carry(ours, b"", ends, is_multiplexed=is_multiplexed)
            for fd in (stdin, stdout, stderr):
                os.close(fd)

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def type(self, data: bytes) -> None:
        os.write(self.stdin, data)

    def close_stdin(self) -> None:
        os.close(self.stdin)
        self.stdin = -1

    def finish(self) -> tuple[End | None, bytes, bytes]:
        """Close the server's side; return how it ended, and what came out."""
        self.server.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        out, err = (b"".join(iter(lambda fd=fd: os.read(fd, 65536), b"")) for fd in (self.stdout, self.stderr))  # type: ignore[misc]  # fmt: skip
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        return self.end, out, err

    def received(self, size: int) -> bytes:
        self.server.settimeout(10)
        data = b""
        while len(data) < size and (part := self.server.recv(size - len(data))):
            data += part
        return data


def test_streams_are_kept_apart_and_the_end_of_stdin_is_a_half_close() -> None:
    one = Joined()
    one.type(b"question")
    one.close_stdin()
    assert one.received(1000) == b"question"  # and then the end
    one.server.sendall(frame(1, b"answer") + frame(2, b"note"))
    assert one.finish() == (End.CLOSED, b"answer", b"note")


def test_a_terminals_bytes_go_as_they_are() -> None:
    one = Joined(is_multiplexed=False)
    one.server.sendall(b"\1\0\0raw")
    assert one.finish() == (End.CLOSED, b"\1\0\0raw", b"")


def test_a_server_that_does_not_read_stops_our_reading_and_not_its_own_words() -> None:
    one = Joined()
    writer = threading.Thread(target=one.type, args=(b"x" * 4_000_000,), daemon=True)
    writer.start()
    one.server.sendall(frame(1, b"still heard"))
    assert os.read(one.stdout, 100) == b"still heard"
    assert one.received(4_000_000) == b"x" * 4_000_000
    writer.join(10)
    assert one.finish()[0] is End.CLOSED


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ([b"ab\x10\x11"], b"ab"),
        ([b"a\x10", b"\x11"], b"a"),
        ([b"\x10x\x10\x10\x11"], b"\x10x\x10"),
    ],
)
def test_the_detach_keys_end_it_and_are_not_sent(typed: list[bytes], sent: bytes) -> None:
    one = Joined(detach=b"\x10\x11", is_multiplexed=False)
    for data in typed:
        one.type(data)
    assert one.received(1000) == sent
    assert one.finish()[0] is End.DETACHED


def test_half_of_the_keys_is_sent_when_nothing_follows() -> None:
    one = Joined(detach=b"\x10\x11", is_multiplexed=False)
    one.type(b"a\x10")
    one.close_stdin()
    assert one.received(1000) == b"a\x10"
    assert one.finish()[0] is End.CLOSED
