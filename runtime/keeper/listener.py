"""keeper.sock: bound under a temporary name and renamed into place: what is there always answers. Import-light."""

from __future__ import annotations

import _socket
import os

from runtime.keeper.protocol import Peer, peer_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.keeper.peers import Peers

SOCKET_FILE = "keeper.sock"
BACKLOG = 64
MAX_PEERS = 64
_EMFILE, _ENFILE = 24, 23


class Listener:
    """The listening socket. Owns it and, for the day without free descriptors, a spare one."""

    def __init__(self, run_dir: str) -> None:
        """Listen in this directory, which may be deeper than a socket address is long. Raises OSError."""
        self._directory = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY)
        self._spare = os.open("/dev/null", os.O_RDONLY)
        self._sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        temporary = f"{SOCKET_FILE}.{os.getpid()}"
        self._sock.bind(f"/proc/self/fd/{self._directory}/{temporary}")
        os.chmod(temporary, 0o600, dir_fd=self._directory)
        self._sock.listen(BACKLOG)
        self._sock.setblocking(False)
        os.rename(temporary, SOCKET_FILE, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def fileno(self) -> int:
        return self._sock.fileno()

    def accept(self, peers: Peers) -> None:
        """Take one waiting connection: served if it comes from our own user, else closed."""
        try:
            fd = self._accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in (_EMFILE, _ENFILE):
                self._turn_away()
            return
        sock = _socket.socket(fileno=fd)
        pid, uid = peer_of(sock)
        if uid != os.geteuid() or len(peers) >= MAX_PEERS:
            sock.close()
            return
        peers.add(Peer(sock, pid))

    def _accept(self) -> int:
        fd: int = self._sock._accept()[0]  # type: ignore[attr-defined]  # what socket.accept is made of
        return fd

    def _turn_away(self) -> None:
        """Without a free descriptor a waiting connection would wake us for ever: take it with the spare one."""
        os.close(self._spare)
        try:
            os.close(self._accept())
        except OSError:
            return
        finally:
            self._spare = os.open("/dev/null", os.O_RDONLY)

    def close(self) -> None:
        """Stop answering: the name goes first."""
        try:  # noqa: SIM105 - contextlib is not in the keeper's import budget
            os.unlink(SOCKET_FILE, dir_fd=self._directory)
        except FileNotFoundError:
            pass
        self._sock.close()
        os.close(self._directory)
        os.close(self._spare)
