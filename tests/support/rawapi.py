"""Bare connections to the API socket: clients that are slow, greedy, or leave things half done."""

from __future__ import annotations

import json
import socket
from pathlib import Path


class Client:
    """One connection. Nothing is read unless it is asked for."""

    def __init__(self, path: Path, *, timeout_s: float = 20.0) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout_s)
        self._sock.connect(str(path))

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def send_all_it_takes(self, data: bytes, *, at_most: int, patience_s: float) -> int:
        """Send this again and again until so much is sent, or nothing is taken for so long; return the bytes."""
        self._sock.settimeout(patience_s)
        sent = 0
        try:
            while sent < at_most:
                sent += self._sock.send(data)
        except TimeoutError:
            return sent
        return sent

    def ask(self, method: str, target: str, body: object = None, *, upgrade: bool = False) -> bytes:
        """Send a request and read the head of its answer; what follows stays where it is."""
        data = b"" if body is None else json.dumps(body).encode()
        more = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{more}Content-Type: application/json\r\n"
        self.send(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        return self.head()

    def head(self) -> bytes:
        found = b""
        while not found.endswith(b"\r\n\r\n"):
            byte = self._sock.recv(1)
            assert byte, f"the connection ended after {found!r}"
            found += byte
        return found

    def body(self, head: bytes) -> object:
        """Read a whole JSON body."""
        lower = head.lower()
        assert b"content-length:" in lower, head
        size = int(lower.split(b"content-length:")[1].split()[0])
        data = b""
        while len(data) < size:
            data += self._sock.recv(size - len(data))
        return json.loads(data)

    def is_cut_off(self, *, within_s: float) -> bool:
        """Wait until the server has closed; what it says before is dropped."""
        self._sock.settimeout(within_s)
        try:
            while self._sock.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        self._sock.close()


def start_exec(
    path: Path, container: str, *command: str, stdin: bool = False, tty: bool = False
) -> Client:
    """Begin an exec and attach to it; its output is left unread."""
    asking = Client(path)
    wanted = {"Cmd": command, "AttachStdout": True, "AttachStderr": True, "AttachStdin": stdin, "Tty": tty}  # fmt: skip
    made = asking.body(asking.ask("POST", f"/containers/{container}/exec", wanted))
    asking.close()
    assert isinstance(made, dict)
    client = Client(path)
    head = client.ask("POST", f"/exec/{made['Id']}/start", {"Tty": tty}, upgrade=True)
    assert b" 101 " in head, head
    return client
