"""The keeper's connections: frames in, frames out, and who is let go for what. Import-light."""

from __future__ import annotations

from runtime.keeper.loop import READ, WRITE
from runtime.keeper.protocol import Malformed, Peer, PeerGone
from runtime.linux.fds import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from runtime.keeper.loop import Loop
    from runtime.keeper.protocol import Message

    Fds = tuple[int, ...]

    class Host(Protocol):
        """Who answers."""

        def answer(self, peer: Peer, message: Message, fds: Fds) -> None: ...
        def gone(self, peer: Peer) -> None: ...


class Peers:
    """All connections, by descriptor. Owns them."""

    def __init__(self, loop: Loop, host: Host) -> None:
        self._loop = loop
        self._host = host
        self._by_fd: dict[int, Peer] = {}

    def __len__(self) -> int:
        return len(self._by_fd)

    def add(self, peer: Peer) -> None:
        """Serve this connection until it ends."""
        self._by_fd[peer.fd] = peer
        self._loop.watch_control(peer.fd, lambda events: self._serve(peer, events))

    def send(self, peer: Peer, message: Message, fds: Fds = ()) -> None:
        """Send, or queue and wait for the peer to read. Raises PeerGone."""
        had_queued = peer.has_queued
        peer.send(message, fds)
        if peer.has_queued and not had_queued:
            self._loop.expect(peer.fd, READ | WRITE)

    def reply(self, peer: Peer, message: Message, fds: Fds = ()) -> bool:
        """Send to a peer that may be gone by now, and let go of one that is; say whether it could be sent."""
        if self._by_fd.get(peer.fd) is not peer:
            return False
        try:
            self.send(peer, message, fds)
        except PeerGone:
            self.let_go(peer)
            return False
        return True

    def let_go(self, peer: Peer) -> None:
        """End a connection. Idempotent."""
        if self._by_fd.get(peer.fd) is not peer:
            return
        del self._by_fd[peer.fd]
        self._host.gone(peer)
        self._loop.forget(peer.fd)
        peer.close()

    def _serve(self, peer: Peer, events: int) -> None:
        try:
            if events & WRITE:
                self._flush(peer)
            if events & ~WRITE:
                self._serve_frame(peer)
        except PeerGone:
            self.let_go(peer)

    def _serve_frame(self, peer: Peer) -> None:
        try:
            message, fds = peer.receive()
        except BlockingIOError:
            return
        except Malformed as error:
            self.send(peer, {"ok": False, "error": f"malformed frame: {error}"})
            raise PeerGone("malformed") from None
        try:
            self._host.answer(peer, message, fds)
        finally:
            close_all(fds)

    def _flush(self, peer: Peer) -> None:
        peer.flush()
        if not peer.has_queued:
            self._loop.expect(peer.fd, READ)
