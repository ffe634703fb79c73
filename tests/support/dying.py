"""Managers that die in the middle of a verb, at every step of it: SIGKILL at the n-th thing that it asks of the kernel.

A step is whatever Python tells its audit hooks of: opening, making, renaming, removing a file, a message, a process.
No code of ours is changed for it. `Managers` starts one process that has everything imported and forks for each try.

    with Managers(root) as managers:
        steps = managers.run("stop", container)          how many steps the whole verb has
        managers.run("stop", container, die_at=3)        None: it died there
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.api import ContainerId, Limits, Runtime, open_runtime
from tests.support.sandbox import paths_of
from tests.support.waiting import slow_factor

STEPS = frozenset(
    {
        "open", "os.chmod", "os.chown", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
        "os.scandir", "os.truncate", "os.posix_spawn", "shutil.rmtree", "socket.sendmsg", "subprocess.Popen",
    }
)  # fmt: skip
GRACE_S = 0.05


def _tar() -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"data"))
    yield buffer.getvalue()


def _kill(runtime: Runtime, container: ContainerId) -> None:
    runtime.kill(container, signal="KILL")
    runtime.wait(container, timeout_s=5)


def _copy_out(runtime: Runtime, container: ContainerId) -> None:
    for _ in runtime.copy_out(container, "/bin"):
        pass


def _restart(runtime: Runtime, container: ContainerId) -> None:
    runtime.stop(container, grace_s=0)
    runtime.start(container)


VERBS: dict[str, Callable[[Runtime, ContainerId], None]] = {
    "stop": lambda runtime, container: runtime.stop(container, grace_s=0),
    "stop in time": lambda runtime, container: runtime.stop(container, grace_s=GRACE_S),
    "kill": _kill,
    "remove": lambda runtime, container: runtime.remove(container, force=True),
    "restart": _restart,
    "pause": lambda runtime, container: runtime.pause(container),
    "unpause": lambda runtime, container: runtime.unpause(container),
    "copy out": _copy_out,
    "copy in": lambda runtime, container: runtime.copy_in(container, "/tmp", _tar()),
    "update": lambda runtime, container: runtime.update(container, Limits(pids=50)),
}


class Managers:
    """Makes managers of an instance that has a keeper and no manager of its own."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.dying", str(root)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def run(self, verb: str, container: ContainerId, *, die_at: int = 0) -> int | None:
        """Have a manager do the verb; return how many steps it had, None when it died before the end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([verb, container, die_at]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the process that makes managers has ended"
        said = json.loads(answer)
        assert isinstance(said, int | None), said
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10 * slow_factor())
        if self._process.stdout is not None:
            self._process.stdout.close()


def _main(root: Path) -> None:
    for line in sys.stdin:
        verb, container, die_at = json.loads(line)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os.write(writer, _try(root, verb, container, die_at).encode())
            os._exit(0)
        os.close(writer)
        with open(reader, encoding="utf-8") as said:
            text = said.read()
        _, status = os.waitpid(pid, 0)
        died = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        print("null" if died else text or '"it ended without a word"', flush=True)


def _try(root: Path, verb: str, container: str, die_at: int) -> str:
    """Do the verb as a manager; return the number of its steps, or what went wrong."""
    counted = 0
    is_armed = False

    def count(event: str, _arguments: object) -> None:
        nonlocal counted
        if is_armed and event in STEPS:
            counted += 1
            if counted == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    try:
        runtime = open_runtime(paths_of(root))
        is_armed = True
        VERBS[verb](runtime, ContainerId(container))
        is_armed = False
        runtime.close()
    except Exception as error:  # noqa: BLE001 - told to the test, which fails then
        return json.dumps(f"{type(error).__name__}: {error}")
    return json.dumps(counted)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
