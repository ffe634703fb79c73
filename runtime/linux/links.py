"""Network links of our own network namespace. Import-light (raw ioctl; netlink comes with networks)."""

from __future__ import annotations

import _socket
import _struct
from fcntl import ioctl

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

_REQUEST = _struct.Struct("16sh22x")  # struct ifreq: name, flags


def set_link_up(name: str) -> None:
    """Bring a link up (netdevice(7)). Idempotent. lo gets 127.0.0.1 and ::1 by it."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        answer = ioctl(sock.fileno(), SIOCGIFFLAGS, _REQUEST.pack(name.encode(), 0))
        flags = _REQUEST.unpack(answer)[1]
        ioctl(sock.fileno(), SIOCSIFFLAGS, _REQUEST.pack(name.encode(), flags | IFF_UP))
    finally:
        sock.close()
