"""The real runtime with one small image, and containers of it in a line each."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.api import (
    ContainerId,
    ContainerRequest,
    ExecRequest,
    ExecSession,
    Exit,
    ImageState,
    LogOptions,
    Runtime,
    open_runtime,
    start_keeper,
)
from tests.support.busybox import busybox_archive
from tests.support.sandbox import paths_of
from tests.support.waiting import eventually, slow_factor

READ_S = 10.0
ON_AND_ON = ("sleep", "1000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An exec that has ended, and all that it said."""

    out: str
    err: str
    exit: Exit

    @property
    def code(self) -> int:
        return self.exit.code


class Live:
    """A runtime of a test's own."""

    def __init__(self, runtime: Runtime, image: ImageState, root: Path) -> None:
        self.runtime = runtime
        self.image = image
        self.root = root
        self._count = 0

    def create(self, *command: str, **more: object) -> ContainerId:
        self._count += 1
        fields: dict[str, object] = {"name": f"c{self._count}", **more}
        return self.runtime.create(
            ContainerRequest(
                image=self.image.id,
                image_reference="busybox:test",
                command=command or ON_AND_ON,
                **fields,  # type: ignore[arg-type]
            )
        )

    def run(self, *command: str, **more: object) -> ContainerId:
        container = self.create(*command, **more)
        self.runtime.start(container)
        return container

    def pid(self, container: ContainerId) -> int:
        pid = self.runtime.inspect(container).pid
        assert pid is not None
        return pid

    def log(self, container: ContainerId) -> str:
        chunks = self.runtime.read_log(container, LogOptions(raw=True))
        return b"".join(chunk.data for chunk in chunks).decode()

    def exec(
        self, container: ContainerId, *argv: str, stdin: bytes | None = None, **more: object
    ) -> Done:
        """Run one more process to its end, with this on its stdin."""
        request = ExecRequest(argv=argv, open_stdin=stdin is not None, **more)  # type: ignore[arg-type]
        session = self.runtime.exec(container, request)
        try:
            if stdin is not None and session.stdin_fd is not None:
                os.write(session.stdin_fd, stdin)
                session.close_stdin()
            out, err = read_to_the_end(session)
            end = session.wait(READ_S * slow_factor())
        finally:
            session.close()
        assert end is not None
        return Done(out=out, err=err, exit=end)

    def sh(self, container: ContainerId, script: str, **more: object) -> Done:
        return self.exec(container, "sh", "-c", script, **more)  # type: ignore[arg-type]

    def wait(self, container: ContainerId) -> Exit:
        end = self.runtime.wait(container, timeout_s=READ_S * slow_factor())
        assert end is not None
        return end


def read_to_the_end(session: ExecSession) -> tuple[str, str]:
    """Return all of stdout and stderr; a terminal's end is EIO."""
    read: dict[int, bytes] = {}
    poller = select.poll()
    for fd in (session.stdout_fd, session.stderr_fd):
        if fd is not None:
            read[fd] = b""
            poller.register(fd, select.POLLIN)
    still_open = set(read)
    deadline = time.monotonic() + READ_S * slow_factor()
    while still_open:
        assert time.monotonic() < deadline, f"no end came after {read}"
        for fd, _ in poller.poll(100):
            chunk = read_some(fd)
            read[fd] += chunk
            if not chunk:
                poller.unregister(fd)
                still_open.discard(fd)
    out, err, *_ = [*(data.decode() for data in read.values()), "", ""]
    return out, err


def read_some(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""


def read_until(fd: int, text: bytes) -> bytes:
    """Read from a terminal until this text has come."""
    seen = b""

    def has_come() -> bool:
        nonlocal seen
        if select.select([fd], [], [], 0.05)[0]:
            seen += read_some(fd)
        return text in seen

    eventually(has_come, timeout_s=READ_S, what=f"{text!r} has come")
    return seen


@contextmanager
def live(root: Path, *, extra: dict[str, bytes] | None = None) -> Iterator[Live]:
    """A runtime in this directory; at the end nothing of it is left."""
    paths = paths_of(root)
    start_keeper(paths, ())
    runtime = open_runtime(paths)
    (image,) = runtime.load(busybox_archive(root / "image.tar", extra=extra or {}))
    found = Live(runtime, image, root)
    try:
        yield found
    finally:
        runtime = found.runtime
        for state in runtime.snapshot().containers:
            runtime.remove(state.id, force=True)
        assert runtime.leave()
        runtime.close()
