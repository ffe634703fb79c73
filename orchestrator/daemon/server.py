"""The API socket: who may come in, how many at once, and what a handler's exception means to them.

Order of the gates for a connection: who is it (SO_PEERCRED), how many are there, how long may the
head take, how large may the body be; only then is anything routed (security.md rows 21 to 23).
The socket is 0600 in a directory of 0700.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from orchestrator.daemon.connection import CHUNK, Connection, ServerLimits
from orchestrator.daemon.http import Answer, HttpError, Request, error_response
from orchestrator.daemon.routing import Router

log = logging.getLogger(__name__)

_UCRED = struct.Struct("3i")
_BACKLOG = 128


class Server:
    """The API socket and its connections."""

    def __init__(
        self,
        router: Router,
        *,
        allowed_uid: int,
        limits: ServerLimits | None = None,
        translate: Callable[[Exception], HttpError | None] = lambda _: None,
    ) -> None:
        """`translate` says which answer a handler's exception means; None: an internal error."""
        self._router = router
        self._allowed_uid = allowed_uid
        self._limits = limits or ServerLimits()
        self._translate = translate
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever a request has begun or ended."""
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._inode = 0
        self._active = 0

    @property
    def active(self) -> int:
        """How many requests are being answered now."""
        return self._active

    @property
    def limits(self) -> ServerLimits:
        return self._limits

    async def listen(self, path: Path) -> None:
        """Appear at `path`, listening already: bound under another name, then renamed over."""
        listener = _bind(path)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=CHUNK)
        temporary = path.with_name(_temporary_name(path))
        self._path, self._inode = path, temporary.stat().st_ino
        temporary.rename(path)

    async def close(self, *, grace_s: float = 1.0) -> None:
        """Take the socket away, let running requests end within `grace_s`, then cut them off.
        Idempotent.
        """
        self.stop_listening()
        others = self._connections - {asyncio.current_task()}
        if others:
            _done, late = await asyncio.wait(others, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def stop_listening(self) -> None:
        """Take the socket away; who is connected is still served. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._remove_socket()

    def _remove_socket(self) -> None:
        """Unlink the socket if it is ours: a newer manager may have renamed its own over it."""
        if self._path is None:
            return
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        self._path = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if len(self._connections) >= self._limits.connections:
            log.warning("connection refused: %d are open", len(self._connections))
            writer.transport.abort()
            return
        if task is None or not self._is_allowed(writer):
            writer.transport.abort()
            return
        self._connections.add(task)
        writer.transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes)
        try:
            await Connection(reader, writer, self).serve()
        except (ConnectionError, TimeoutError):
            pass  # the client went away or took too long: nobody is left to tell
        except asyncio.CancelledError:
            writer.transport.abort()  # we are closing: what the client does not read is not waited for
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _is_allowed(self, writer: asyncio.StreamWriter) -> bool:
        peer: socket.socket = writer.get_extra_info("socket")
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _pid, uid, _gid = _UCRED.unpack(credentials)
        if uid != self._allowed_uid:
            log.warning("connection of uid %d refused", uid)
            return False
        return True

    def is_streamed(self, method: str, path: str) -> bool:
        """Tell whether a request's body is left to its handler."""
        return self._router.is_streamed(method, path)

    async def handle(self, request: Request) -> Answer:
        """Return the answer to a request; a handler's exception becomes an error document."""
        try:
            handler, request = self._router.find(request)
            return await handler(request)
        except HttpError as error:
            return error_response(error.status, error.message)
        except Exception as error:  # noqa: BLE001 - a request's boundary: a bad one must not end the manager
            return self.explain(error, what=f"{request.method} {request.path}")

    def explain(self, error: Exception, *, what: str) -> Answer:
        """Return the error document for an exception; log it where it is not the client's doing."""
        known = self._translate(error)
        if known is not None:
            return error_response(known.status, known.message)
        log.error("%s failed", what, exc_info=error)
        return error_response(
            500, f"internal error: {type(error).__name__}: {error}; see manager.log"
        )

    def begin(self) -> None:
        """Count a request in."""
        self._active += 1
        self.on_change()

    def end(self) -> None:
        """Count a request out."""
        self._active -= 1
        self.on_change()


def _temporary_name(path: Path) -> str:
    return f".{path.name}.{os.getpid()}"


def _bind(path: Path) -> socket.socket:
    """Return a socket listening beside `path`; bound through the directory's fd, as a path may
    exceed 107 bytes.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    name = _temporary_name(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)  # left by a killed process that had our pid
        old = os.umask(0o177)
        try:
            listener.bind(f"/proc/self/fd/{directory}/{name}")
        finally:
            os.umask(old)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener
