"""Connecting to a unix socket by a path that may be longer than a socket address (107 bytes)."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def connect(path: Path) -> socket.socket:
    """Return a SOCK_SEQPACKET connection to the socket at this path. Raises OSError."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(f"/proc/self/fd/{directory}/{path.name}")
        except OSError:
            sock.close()
            raise
    finally:
        os.close(directory)
    return sock
