"""What the in-memory runtime has of processes and files: an exec that plays a few commands, and tar streams."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Callable, Mapping

from runtime.api import ExecRequest, Exit, ExitKind, InvalidState


class FakeExec:
    """`runtime.api.ExecSession` that plays `cat`, `echo WORDS…`, `sh -c "exit N"` and `sleep` over real pipes.

    With tty there is one socket pair in the terminal's place: what is written comes back.
    """

    def __init__(self, exec_id: str, pid: int, request: ExecRequest) -> None:
        self._id = exec_id
        self._pid = pid
        self._request = request
        self._end = threading.Event()
        self._exit = Exit(kind=ExitKind.CODE, code=0)
        self._signalled = threading.Event()
        self._fds: dict[str, int] = {}
        self.size = request.size
        stdin, stdout, stderr = self._open()
        worker = threading.Thread(target=self._play, args=(stdin, stdout, stderr), daemon=True)
        worker.start()

    def _open(self) -> tuple[int, int, int]:
        if self._request.detached:
            return tuple(os.open(os.devnull, os.O_RDWR) for _ in range(3))  # type: ignore[return-value]
        if self._request.tty:
            master, peer = os.openpty()
            self._fds = {"terminal": master}
            if self._request.open_stdin:
                self._fds["stdin"] = os.dup(master)
            return peer, os.dup(peer), os.dup(peer)
        (stdin, ours), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
        self._fds = {"stdin": ours, "stdout": out, "stderr": err}
        if not self._request.open_stdin:
            os.close(self._fds.pop("stdin"))
        return stdin, stdout, stderr

    def _play(self, stdin: int, stdout: int, stderr: int) -> None:
        code = 0
        match self._request.argv:
            case ("cat", *_):
                code = _copy(stdin, stdout)
            case ("echo", *words):
                os.write(stdout, " ".join(words).encode() + b"\n")
            case ("sh", "-c", script) if script.startswith("exit "):
                code = int(script.removeprefix("exit "))
            case ("sh", "-c", script) if script.startswith("complain "):
                os.write(stderr, script.removeprefix("complain ").encode() + b"\n")
                code = 1
            case ("sleep", *_):
                self._signalled.wait()
                code = 143
        for fd in (stdin, stdout, stderr):
            os.close(fd)
        self._exit = Exit(kind=ExitKind.CODE, code=code)
        self._end.set()

    @property
    def id(self) -> str:
        return self._id

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def stdin_fd(self) -> int | None:
        return self._fds.get("stdin")

    @property
    def stdout_fd(self) -> int | None:
        return self._fds.get("terminal", self._fds.get("stdout"))

    @property
    def stderr_fd(self) -> int | None:
        return self._fds.get("stderr")

    def wait(self, timeout_s: float | None = None) -> Exit | None:
        return self._exit if self._end.wait(timeout_s) else None

    def signal(self, signal: str) -> None:
        self._signalled.set()

    def resize(self, rows: int, columns: int) -> None:
        if not self._request.tty:
            raise InvalidState("process", "without a terminal", "resize")
        self.size = rows, columns

    def close_stdin(self) -> None:
        if not self._request.tty and "stdin" in self._fds:
            os.close(self._fds.pop("stdin"))

    def close(self) -> None:
        fds, self._fds = self._fds, {}
        for fd in fds.values():
            os.close(fd)


def _copy(stdin: int, stdout: int) -> int:
    """Play cat; return 129 when the terminal hangs up."""
    try:
        while data := os.read(stdin, 65536):
            os.write(stdout, data)
    except OSError:
        return 129
    return 0


def tar_of_files(files: Mapping[str, bytes], base: str) -> bytes:
    """Return a tar stream of the file or directory `base` ("" is all), named by its last part."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(files):
            if base and path != base and not path.startswith(f"{base}/"):
                continue
            entry = tarfile.TarInfo(path[len(base.rpartition("/")[0]) :].lstrip("/"))
            entry.size = len(files[path])
            archive.addfile(entry, io.BytesIO(files[path]))
    return buffer.getvalue()


def files_of_tar(data: bytes) -> dict[str, bytes]:
    """Return the files of a tar stream by name."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            if file is not None:
                found[entry.name.removeprefix("./")] = file.read()
    return found


def read_in_thread(take: Callable[[bytes], None]) -> tuple[int, threading.Thread]:
    """Return the writing end of a pipe, and the thread that hands on what is written to it until it is closed."""
    reader, writer = os.pipe()

    def read() -> None:
        with os.fdopen(reader, "rb") as stream:
            while data := stream.read1():
                take(data)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return writer, thread
