"""Frames and peers of the keeper's protocol, over a socket pair."""

from __future__ import annotations

import _socket
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.keeper.protocol import (
    MAX_FRAME,
    MAX_QUEUED,
    Malformed,
    Peer,
    PeerGone,
    decode,
    encode,
    number_of,
    text_of,
)
from runtime.linux.fds import close_all, receive_with_fds

if TYPE_CHECKING:
    from runtime.linux.lightjson import Json


@pytest.fixture
def pair() -> Iterator[tuple[Peer, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer = Peer(_socket.socket(fileno=ours.detach()), 1)
    yield peer, theirs
    peer.close()
    theirs.close()


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_message_and_its_descriptors(pair: tuple[Peer, socket.socket]) -> None:
    peer, other = pair
    reader, writer = os.pipe()
    peer.send({"ok": True}, (writer,))
    data, fds = receive_with_fds(other, MAX_FRAME)
    message, (copy,) = decode(data, fds)
    assert message == {"ok": True}
    os.write(copy, b"x")
    assert os.read(reader, 1) == b"x"
    close_all((reader, writer, copy))


def test_a_long_message_travels_in_a_sealed_memfd(pair: tuple[Peer, socket.socket]) -> None:
    peer, other = pair
    before = open_fds()
    message: dict[str, Json] = {"containers": ["x" * 1000 for _ in range(200)]}
    peer.send(message, (0,))
    data, fds = receive_with_fds(other, MAX_FRAME)
    assert len(data) < 100
    assert len(fds) == 2
    received, rest = decode(data, fds)
    assert received == message
    close_all(rest)
    assert open_fds() == before


def test_what_is_not_sealed_is_not_believed() -> None:
    before = open_fds()
    fd = os.memfd_create("x")
    os.write(fd, b"{}")
    with pytest.raises(Malformed):
        decode(b'{"large":true}', (fd,))
    assert open_fds() == before


def test_a_peer_that_does_not_read_gets_a_bounded_queue(pair: tuple[Peer, socket.socket]) -> None:
    peer, _other = pair
    before = open_fds()

    def flood() -> None:
        for _ in range(100_000):
            peer.send({"event": "x" * 1000}, (0,))

    with pytest.raises(PeerGone):
        flood()
    assert peer.has_queued
    assert open_fds() <= before + MAX_QUEUED
    peer.close()
    assert open_fds() < before


def test_what_was_queued_arrives_in_order(pair: tuple[Peer, socket.socket]) -> None:
    peer, other = pair
    count = 0
    while not peer.has_queued:
        peer.send({"number": count, "fill": "x" * 5000})
        count += 1
    numbers: list[object] = []
    while len(numbers) < count:
        message, _ = decode(*receive_with_fds(other, MAX_FRAME))
        numbers.append(message["number"])
        peer.flush()
    assert numbers == list(range(count))
    assert not peer.has_queued


def test_the_end_is_told(pair: tuple[Peer, socket.socket]) -> None:
    peer, other = pair
    with pytest.raises(BlockingIOError):
        peer.receive()
    other.close()
    with pytest.raises(PeerGone):
        peer.receive()
    with pytest.raises(PeerGone):
        peer.send({})


@given(st.binary(max_size=300))
def test_random_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        message, fds = decode(data, ())
    except Malformed:
        return
    assert isinstance(message, dict)
    assert fds == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text().filter(lambda key: key not in {"large", "id"}), JSON))
def test_what_is_encoded_is_decoded(message: dict[str, object]) -> None:
    data, owned = encode({**message})  # type: ignore[dict-item]  # JSON by construction
    assert decode(data, owned) == (message, ())


@given(JSON)
def test_fields_are_checked_before_use(value: object) -> None:
    message = {"key": value}
    for reader, kind in ((text_of, str), (number_of, int)):
        try:
            got = reader(message, "key")  # type: ignore[arg-type]
        except ValueError:
            continue
        assert type(got) is kind
        assert got == value


@pytest.mark.parametrize("number", ["1e400", "[" * 900 + "]" * 900, "1.5", "{}"])
def test_an_id_that_could_not_be_sent_back_is_no_frame(number: str) -> None:
    """One of 1e400 ended the keeper: read as infinity, which is no JSON."""
    with pytest.raises(Malformed):
        decode(f'{{"id":{number},"do":"list"}}'.encode(), ())
