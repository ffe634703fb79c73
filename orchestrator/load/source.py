"""The only reader of files, environment, stdin and working directory in the loader.

`SystemSource` is the caller's machine. Everything else in `orchestrator.load` is pure and gets one
of these, so that tests and reloads can give it any machine they like.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

MAX_FILE_BYTES = 4 * 1024 * 1024


class SystemSource:
    """The machine as it is. Implements `orchestrator.load.request.Source`."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Use `environment` instead of the process's own, as a reload with stored values does."""
        self._environment = MappingProxyType(
            dict(os.environ if environment is None else environment)
        )

    def working_directory(self) -> str:
        """Return the directory as the shell calls it: PWD when it is that directory, else getcwd.

        The two differ where the way there leads through a symbolic link.
        """
        actual = str(Path.cwd())
        called = self._environment.get("PWD", "")
        try:
            is_same = called.startswith("/") and os.path.samestat(
                os.stat(called),  # noqa: PTH116  samestat takes stat results of both
                os.stat(actual),  # noqa: PTH116  the same
            )
        except OSError:
            is_same = False
        return called if is_same and ".." not in called.split("/") else actual

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def machine(self) -> str:
        return os.uname().machine

    def read(self, path: str) -> bytes:
        """Read at most MAX_FILE_BYTES; EFBIG for more. A directory is EISDIR."""
        # Non-blocking: opening a FIFO that nobody writes to must not hang the command.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            os.set_blocking(descriptor, True)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return _bounded(file.read(MAX_FILE_BYTES + 1), path)
        finally:
            os.close(descriptor)

    def read_stdin(self) -> bytes:
        return _bounded(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "-")

    def is_file(self, path: str) -> bool:
        return Path(path).exists() and not Path(path).is_dir()

    def is_directory(self, path: str) -> bool:
        return Path(path).is_dir()

    def real_path(self, path: str) -> str:
        # Not Path.resolve: it raises for a loop of links, which is no more than a file that is not there.
        return os.path.realpath(path)


def _bounded(data: bytes, path: str) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MAX_FILE_BYTES // 1024 // 1024} MiB", path)
    return data
