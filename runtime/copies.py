"""Files into and out of containers, the manager's side: who may copy when, and the helper that does it.

    running   its processes stand still; the helper joins the mount namespace of its first process, by pidfd
    stopped   the container cannot be started meanwhile; the helper mounts its layers and binds for itself alone

Part of `runtime.local`. What is frozen is let run on however a copy ends; after a crash the next manager does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from runtime.api import ContainerId, HostFacts, PathState
from runtime.cgroup import Hierarchy
from runtime.container.compile import Rootfs, VolumePlaces
from runtime.container.copying import compile_entry
from runtime.copy.helper import LENGTH, VERSION
from runtime.errors import InvalidSpec, InvalidState, KernelRefused, NotFound
from runtime.keeper.client import KeeperClient
from runtime.linux import memfd
from runtime.linux.openat2 import NO_OPENAT2_VARIABLE
from runtime.processes import Live
from runtime.records import Records
from runtime.spec.config import OciConfig

_START = "import sys; sys.path.append(sys.argv[2]); from runtime.copy.helper import main; main(sys.argv[1])"
_PACKAGE = str(Path(__file__).resolve().parent.parent)
_CHUNK = 256 * 1024
STALL_S = 30.0
"""How long the other side of a copy may do nothing; after that the container runs on and the copy has failed."""
_ERROR_BYTES = 64 * 1024


class Host(Protocol):
    """What the runtime knows and does for us."""

    def live(self, container: ContainerId) -> Live | None: ...
    def config(self, container: ContainerId) -> OciConfig: ...
    def verb(self, container: ContainerId) -> threading.Lock: ...
    def rootfs(self, container: ContainerId) -> Rootfs: ...
    def volume_places(self, container: ContainerId) -> VolumePlaces: ...


class LocalCopies:
    """The copying verbs of `runtime.api.Processes`. Safe to call from several threads."""

    def __init__(
        self,
        host: Host,
        *,
        facts: HostFacts,
        hierarchy: Hierarchy,
        records: Records,
        keeper: KeeperClient,
        is_paused: Callable[[ContainerId], bool],
        stand_still: Callable[[ContainerId], AbstractContextManager[None]],
    ) -> None:
        self._host = host
        self._facts = facts
        self._hierarchy = hierarchy
        self._records = records
        self._keeper = keeper
        self._is_paused = is_paused
        self._stand_still = stand_still

    def path_state(self, container: ContainerId, path: str) -> PathState:
        with self._helper(container, "stat", path) as helper:
            told = b"".join(_read(helper))
        return PathState(**json.loads(told))

    def copy_out(self, container: ContainerId, path: str) -> Iterator[bytes]:
        # What can be said before the first byte is said now, not at the first `next`.
        self.path_state(container, path)
        return self._stream(container, path)

    def _stream(self, container: ContainerId, path: str) -> Iterator[bytes]:
        with (
            self._helper(container, "out", path) as helper,
            self._watched(container, helper) as watch,
        ):
            for chunk in _read(helper):
                yield chunk
                watch.touch()

    def copy_in(self, container: ContainerId, path: str, tar: Iterator[bytes]) -> None:
        with (
            self._helper(container, "in", path) as helper,
            self._watched(container, helper) as watch,
        ):
            stdin = _pipe(helper.stdin)
            with suppress(BrokenPipeError):  # what it complains of is on its stderr
                for chunk in tar:
                    _write(stdin, chunk)
                    watch.touch()
            with suppress(BrokenPipeError):
                stdin.close()

    @contextmanager
    def _helper(
        self, container: ContainerId, verb: str, path: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A helper at work in the container's tree, its order given; checked for its end at the end."""
        self._records.get(container)
        if not path or "\0" in path:
            raise InvalidSpec("path", f"{path!r} is no path in a container")
        with self._host.verb(container):
            live = self._host.live(container)
            if live is None:
                rootfs = self._host.rootfs(container)
                entry = compile_entry(
                    self._host.config(container),
                    facts=self._facts,
                    rootfs=rootfs,
                    volumes=self._host.volume_places(container),
                )
                with _working(entry, verb, path, None) as helper:
                    yield helper
                return
            pidfd = self._keeper.held(container, "pidfd")
            if pidfd is None:
                raise InvalidState(f"container {container[:12]}", "ending", "copy files of")
            try:
                entry = compile_entry(self._host.config(container), facts=self._facts, rootfs=None)
                with self._stand_still(container), _working(entry, verb, path, pidfd) as helper:
                    yield helper
            finally:
                os.close(pidfd)

    @contextmanager
    def _watched(self, container: ContainerId, helper: subprocess.Popen[bytes]) -> Iterator[_Watch]:
        """See to it that nobody keeps a container frozen by not reading on."""

        def give_up() -> None:
            helper.kill()
            if not self._is_paused(container):
                self._hierarchy.open(container).thaw()

        watch = _Watch(give_up)
        try:
            yield watch
        finally:
            watch.end()


class _Watch:
    """Calls `give_up` once when STALL_S have passed without a `touch`."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._has_news = threading.Condition()
        self._count = 0
        self._is_over = False
        threading.Thread(target=self._run, name="copy-watch", daemon=True).start()

    def touch(self) -> None:
        with self._has_news:
            self._count += 1
            self._has_news.notify()

    def end(self) -> None:
        with self._has_news:
            self._is_over = True
            self._has_news.notify()

    def _run(self) -> None:
        with self._has_news:
            while not self._is_over:
                before = self._count
                if not self._has_news.wait(STALL_S) and self._count == before:
                    self._give_up()
                    return


@contextmanager
def _working(
    entry: bytes, verb: str, path: str, pidfd: int | None
) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "version": VERSION,
        "verb": verb,
        "path": path,
        "pidfd": -1 if pidfd is None else pidfd,
    }
    interpreter = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    image = memfd.sealed_copy("trice-copy", interpreter)
    try:
        helper = subprocess.Popen(
            [interpreter, "-I", "-S", "-c", _START, json.dumps(settings), _PACKAGE],
            executable=f"/proc/{os.getpid()}/fd/{image}",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=() if pidfd is None else (pidfd,),
            cwd="/",
            env=_environment(),
            bufsize=0,
        )
    finally:
        os.close(image)
    complete = False
    try:
        stdin = _pipe(helper.stdin)
        with suppress(BrokenPipeError):
            stdin.write(LENGTH.pack(len(entry)) + entry)
        yield helper
        complete = True
    finally:
        complaint = _end(helper, complete=complete)
    if helper.returncode != 0:
        raise _error(complaint, helper.returncode, path)


def _environment() -> dict[str, str]:
    """Return all that the helper has of an environment; what we were told to do without, it does without, too."""
    return {"LC_ALL": "C.UTF-8", NO_OPENAT2_VARIABLE: os.environ.get(NO_OPENAT2_VARIABLE, "")}


def _end(helper: subprocess.Popen[bytes], *, complete: bool) -> bytes:
    """Let it finish, or kill one whose work nobody wants any more; return its complaint."""
    if not complete:
        helper.kill()
    for pipe in (helper.stdin, helper.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    complaint = _pipe(helper.stderr).read(_ERROR_BYTES) or b""
    _pipe(helper.stderr).close()
    helper.wait()
    return complaint


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise OSError("the helper was started without this pipe")
    return pipe


def _write(pipe: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


def _read(helper: subprocess.Popen[bytes]) -> Iterator[bytes]:
    stdout = _pipe(helper.stdout)
    while chunk := stdout.read(_CHUNK):
        yield chunk


def _error(complaint: bytes, code: int, path: str) -> Exception:
    """Return the error that the helper tells of, or that it died without a word."""
    try:
        told = json.loads(complaint)
    except ValueError:
        last = complaint.decode("utf-8", "replace").strip().splitlines()[-1:]
        why = last[0] if last else f"it ended with {code}"
        return KernelRefused(step="copy", syscall="helper", errno=0, reason=why, path=path)
    if told["kind"] == "not found":
        return NotFound(told["why"])
    if told["kind"] == "invalid":
        return InvalidSpec("copy", told["why"])
    return KernelRefused(
        step="copy",
        syscall="copy",
        errno=told["errno"],
        reason=told["why"],
        path=told["path"] or path,
    )
