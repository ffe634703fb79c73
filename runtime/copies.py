"""Files into and out of containers, the manager's side: who may copy when, and the helper that does it.

    running   its processes stand still; the helper joins the mount namespace of its first process, by pidfd
    stopped   the container cannot be started meanwhile; the helper mounts its layers and binds for itself alone

    copy out   container ─ helper ─► a file without a name below <lib>/work ─► who asked
    copy in    who asked ─► such a file ─ helper ─► container

So how long a container stands still is a matter of this machine's disk alone, not of who reads or writes at the other
end; and who stops it need not wait for that either (`kept_off`). Part of `runtime.local`. What is frozen is let run on
however a copy ends; after a crash the next manager does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from runtime.api import ContainerId, HostFacts, PathState
from runtime.container.compile import Rootfs, VolumePlaces
from runtime.container.copying import compile_entry
from runtime.copy.helper import LENGTH, VERSION
from runtime.errors import InvalidSpec, InvalidState, KernelRefused, NotFound
from runtime.keeper.client import KeeperClient
from runtime.linux import memfd
from runtime.linux.openat2 import NO_OPENAT2_VARIABLE
from runtime.processes import Live
from runtime.records import Record, Records
from runtime.spec.config import OciConfig

_START = "import sys; sys.path.append(sys.argv[2]); from runtime.copy.helper import main; main(sys.argv[1])"
_PACKAGE = str(Path(__file__).resolve().parent.parent)
_CHUNK = 256 * 1024
STALL_S = 30.0
"""How long a helper may do nothing; after that the container runs on and the copy has failed."""
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
        work: Path,
        records: Records,
        keeper: KeeperClient,
        stand_still: Callable[[ContainerId], AbstractContextManager[None]],
    ) -> None:
        self._host = host
        self._facts = facts
        self._work = work
        self._records = records
        self._keeper = keeper
        self._stand_still = stand_still
        self._watches: dict[ContainerId, set[_Watch]] = {}
        self._kept_off: Counter[ContainerId] = Counter()
        """How many want none of its copies to go on."""
        self._watching = threading.Lock()

    def path_state(self, container: ContainerId, path: str) -> PathState:
        with self._helper(container, "stat", path) as helper:
            told = b"".join(_read(helper))
        return PathState(**json.loads(told))

    def copy_out(self, container: ContainerId, path: str) -> Iterator[bytes]:
        with ExitStack() as stack:
            file = stack.enter_context(self._file(path))
            with self._at_work(container, "out", path) as (helper, watch):
                for chunk in _read(helper):
                    self._put(file, chunk, path)
                    watch.touch()
            stack.pop_all()
        return _pieces(file)

    def copy_in(self, container: ContainerId, path: str, tar: Iterator[bytes]) -> None:
        self._checked(container, path)
        with self._file(path) as file:
            for chunk in tar:
                self._put(file, chunk, path)
            with self._at_work(container, "in", path) as (helper, watch):
                _feed(helper, watch, _pieces(file))

    @contextmanager
    def kept_off(self, container: ContainerId) -> Iterator[None]:
        """Have the copies of a container fail that are under way, or that begin meanwhile: it is to end."""
        with self._watching:
            self._kept_off[container] += 1
            watches = tuple(self._watches.get(container, ()))
        for watch in watches:
            watch.break_off()
        try:
            yield
        finally:
            with self._watching:
                self._kept_off -= Counter((container,))

    def _file(self, path: str) -> IO[bytes]:
        """Return a file that has no name, so that nothing is left of it whatever happens to us."""
        try:
            self._work.mkdir(mode=0o700, parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self._work, buffering=0)
        except OSError as error:
            raise self._no_room(error, path) from None

    def _put(self, file: IO[bytes], chunk: bytes, path: str) -> None:
        try:
            _write(file, chunk)
        except OSError as error:
            raise self._no_room(error, path) from None

    def _no_room(self, error: OSError, path: str) -> KernelRefused:
        why = f"no room for it in between, below {self._work}: {error.strerror}"
        return KernelRefused(
            step="copy", syscall="write", errno=error.errno or 0, reason=why, path=path
        )

    @contextmanager
    def _at_work(
        self, container: ContainerId, verb: str, path: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], _Watch]]:
        """A helper that is not waited for when it does nothing, or when its container is to end."""
        name = self._checked(container, path).request.name
        watch: _Watch | None = None
        try:
            with self._helper(container, verb, path) as helper:
                watch = _Watch(helper.kill)
                with self._watching:
                    self._watches.setdefault(container, set()).add(watch)
                    is_late = container in self._kept_off
                if is_late:
                    watch.break_off()
                try:
                    yield helper, watch
                finally:
                    watch.end()
                    self._forget(container, watch)
        except KernelRefused:
            if watch is not None and watch.is_broken_off:
                raise _ending(name) from None
            raise

    def _forget(self, container: ContainerId, watch: _Watch) -> None:
        with self._watching:
            self._watches[container].discard(watch)
            if not self._watches[container]:
                del self._watches[container]

    def _checked(self, container: ContainerId, path: str) -> Record:
        record = self._records.get(container)
        if not path or "\0" in path:
            raise InvalidSpec("path", f"{path!r} is no path in a container")
        return record

    @contextmanager
    def _helper(
        self, container: ContainerId, verb: str, path: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A helper at work in the container's tree, its order given; checked for its end at the end."""
        name = self._checked(container, path).request.name
        with self._host.verb(container):
            live = self._host.live(container)
            begun = (
                self._in_stopped(container, verb, path)
                if live is None
                else self._in_running(container, name, live, verb, path)
            )
            with begun as helper:
                yield helper

    @contextmanager
    def _in_stopped(
        self, container: ContainerId, verb: str, path: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        rootfs = self._host.rootfs(container)
        entry = compile_entry(
            self._host.config(container),
            facts=self._facts,
            rootfs=rootfs,
            volumes=self._host.volume_places(container),
        )
        with _working(entry, verb, path, None) as helper:
            yield helper

    @contextmanager
    def _in_running(
        self, container: ContainerId, name: str, live: Live, verb: str, path: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        with ExitStack() as stack:
            pidfd = self._keeper.held(container, "pidfd")
            if pidfd is None:
                raise _ending(name)
            stack.callback(os.close, pidfd)
            entry = compile_entry(self._host.config(container), facts=self._facts, rootfs=None)
            stack.enter_context(self._stand_still(container))
            if self._host.live(container) != live:
                raise _ending(name)
            yield stack.enter_context(_working(entry, verb, path, pidfd))


def _ending(name: str) -> InvalidState:
    return InvalidState(f"container {name}", "ending", "copy files of")


class _Watch:
    """Calls `give_up` when STALL_S have passed without a `touch`, or when it is broken off."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._has_news = threading.Condition()
        self._count = 0
        self._is_over = False
        self.is_broken_off = False
        threading.Thread(target=self._run, name="copy-watch", daemon=True).start()

    def touch(self) -> None:
        with self._has_news:
            self._count += 1
            self._has_news.notify()

    def break_off(self) -> None:
        self.is_broken_off = True
        self._give_up()

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


def _write(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _feed(helper: subprocess.Popen[bytes], watch: _Watch, pieces: Iterator[bytes]) -> None:
    """Give it all of its stdin. One that wants no more says why on its stderr."""
    with suppress(BrokenPipeError), _pipe(helper.stdin) as stdin:
        for chunk in pieces:
            _write(stdin, chunk)
            watch.touch()


def _read(helper: subprocess.Popen[bytes]) -> Iterator[bytes]:
    stdout = _pipe(helper.stdout)
    while chunk := stdout.read(_CHUNK):
        yield chunk


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what is in a file, from its beginning, and close it."""
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
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
