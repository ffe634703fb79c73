"""A copy out of a container, caught in the middle: its helper held by a signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.api import ContainerId
from tests.support.live import Live
from tests.support.sandbox import paths_of
from tests.support.waiting import eventually, slow_factor

SIZE = 256 << 20


@contextmanager
def held_copy(box: Live, container: ContainerId) -> Iterator[tuple[int, Future[int]]]:
    """The pid of a helper that has copied a part of a large file, and how many bytes come; it goes on afterwards."""
    assert box.sh(container, f"truncate -s {SIZE} /big").code == 0
    with ThreadPoolExecutor() as pool:
        copied = pool.submit(lambda: sum(map(len, box.runtime.copy_out(container, "/big"))))
        eventually(lambda: _in_between(box), every_s=0.001, what="its first bytes have come")
        helper = _helper()
        os.kill(helper, signal.SIGSTOP)
        try:
            yield helper, copied
        finally:
            with suppress(ProcessLookupError):
                os.kill(helper, signal.SIGCONT)
            copied.exception(timeout=20 * slow_factor())


def _in_between(box: Live) -> int:
    """Return how many bytes are on their way from a helper to whoever reads them: in a file of ours without a name."""
    work = str(paths_of(box.root).work)
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if os.readlink(link).startswith(work):
                found += link.stat().st_size
    return found


def _helper() -> int:
    """Return the one child of ours that copies."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (folder / "status").read_text().partition("PPid:")[2].split()[0]
            is_ours = int(parent) == os.getpid()
            if is_ours and b"runtime.copy.helper" in (folder / "cmdline").read_bytes():
                return int(folder.name)
    raise AssertionError("no helper is there")
