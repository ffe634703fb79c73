"""Frames between the keeper and those who talk to it: one JSON object a SOCK_SEQPACKET message, descriptors beside it.

    peer                                        keeper
      │ ── {"id":1,"do":"hello",…} ────────────►  │   first frame of every connection
      │ ◄─ {"id":1,"ok":true,…} ────────────────  │
      │ ── {"id":2,"do":"start",…} + memfd ─────►  │
      │ ◄─ {"id":2,"ok":true,…} + pidfd … ──────  │   in any order between requests
      │ ◄─ {"event":"exit",…} ──────────────────  │   to the manager alone

A frame has at most MAX_FRAME bytes. What is longer travels in a sealed memfd: the frame is then `{"large":true}` and
its first descriptor holds the JSON. Both sides use this module, the keeper only its import-light names (style.md 16).
"""

from __future__ import annotations

import _socket
import _struct
import os

from runtime.linux.fds import close_all, receive_with_fds, send_with_fds
from runtime.linux.lightjson import dumps, loads
from runtime.linux.memfd import read_sealed, sealed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.linux.lightjson import Json

    Message = dict[str, Json]

VERSION = 1
MAX_FRAME = 64 * 1024
MAX_LARGE = 16 * 1024 * 1024
MAX_QUEUED = 256
"""How many frames wait for a peer that does not read before it is let go."""
MAX_FDS_OFFERED = 250
"""Below the kernel's limit of one message."""

_CREDENTIALS = _struct.Struct("3i")


class Malformed(Exception):
    """What came is not a frame of this protocol; the connection ends."""


class PeerGone(Exception):
    """The other side is not there any more, or does not read."""


def encode(message: Message, fds: Sequence[int] = ()) -> tuple[bytes, list[int]]:
    """Return the frame of a message and duplicates of its descriptors, which the caller now owns."""
    owned: list[int] = []
    try:
        data = dumps(message)
        if len(data) > MAX_FRAME:
            owned.append(sealed("trice-frame", data))
            data = b'{"large":true}'
        owned.extend(os.dup(fd) for fd in fds)
    except BaseException:
        close_all(owned)
        raise
    return data, owned


def decode(data: bytes, fds: Sequence[int]) -> tuple[Message, tuple[int, ...]]:
    """Return the message and its descriptors. Raises Malformed, and every descriptor is closed then."""
    try:
        message = _object(data)
        if message.get("large") is True:
            if not fds:
                raise Malformed("a large frame without its memfd")
            message = _object(read_sealed(fds[0], MAX_LARGE))
            close_all(fds[:1])
            fds = fds[1:]
        if not isinstance(message.get("id"), int | str | None):
            # It is sent back as it came: infinity or a deep list could be read and not be written again.
            raise Malformed("id must be a number or a text")
    except (ValueError, Malformed) as error:
        close_all(fds)
        raise Malformed(str(error)) from None
    return message, tuple(fds)


def _object(data: bytes) -> Message:
    value = loads(data)
    if not isinstance(value, dict):
        raise Malformed("a frame is a JSON object")
    return value


def peer_of(sock: _socket.socket) -> tuple[int, int]:
    """Return (pid, uid) of the process that connected (SO_PEERCRED, unix(7))."""
    raw = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


def text_of(message: Message, key: str) -> str:
    """Return a text that must be there. Raises ValueError."""
    value = message.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{key} must be a text")
    return value


def number_of(message: Message, key: str) -> int:
    """Return a number that must be there and not below 0. Raises ValueError."""
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} must be a number")
    return value


class Peer:
    """One connection on the keeper's side: never blocks, and holds a bounded number of frames. Owns its socket."""

    __slots__ = ("_queue", "_sock", "fd", "is_greeted", "is_manager", "pid")

    def __init__(self, sock: _socket.socket, pid: int) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._queue: list[tuple[bytes, list[int]]] = []
        self.fd = sock.fileno()
        self.pid = pid
        self.is_greeted = False
        self.is_manager = False

    @property
    def has_queued(self) -> bool:
        return bool(self._queue)

    def receive(self) -> tuple[Message, tuple[int, ...]]:
        """Return the next message and its descriptors, which the caller now owns.

        Raises BlockingIOError when there is none, PeerGone at the end, Malformed for what is no frame.
        """
        try:
            data, fds = receive_with_fds(self._sock, MAX_FRAME)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno == 90:
                raise Malformed("the frame is too long") from None
            raise PeerGone(str(error)) from None
        if not data:
            close_all(fds)
            raise PeerGone("the end")
        return decode(data, fds)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message, now or as soon as the peer reads. The caller keeps its descriptors.

        Raises PeerGone for one that has too many unread frames, or is not there.
        """
        try:
            data, owned = encode(message, fds)
        except OSError as error:  # no descriptors left: it cannot be told, so it is let go
            raise PeerGone(str(error)) from None
        if len(self._queue) >= MAX_QUEUED:
            close_all(owned)
            raise PeerGone("it does not read")
        self._queue.append((data, owned))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it. Raises PeerGone."""
        while self._queue:
            data, owned = self._queue[0]
            try:
                send_with_fds(self._sock, data, owned)
            except BlockingIOError:
                return
            except OSError as error:
                raise PeerGone(str(error)) from None
            del self._queue[0]
            close_all(owned)

    def close(self) -> None:
        """Let go of the connection and of what waits for it. Idempotent."""
        for _, owned in self._queue:
            close_all(owned)
        self._queue.clear()
        self._sock.close()
