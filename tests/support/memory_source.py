"""A machine made of a dictionary, for the loader: files by absolute path, an environment, a stdin."""

from __future__ import annotations

import errno
from collections.abc import Mapping


class MemorySource:
    """Implements `orchestrator.load.request.Source` without touching the machine."""

    def __init__(
        self,
        files: Mapping[str, str | bytes] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        directory: str = "/w/demo",
        stdin: str = "",
        links: Mapping[str, str] | None = None,
    ) -> None:
        """Paths that do not begin with `/` are below `directory`."""
        self._directory = directory
        self._environment = dict(environment or {})
        self._stdin = stdin.encode()
        self._links = dict(links or {})
        self._files = {
            path if path.startswith("/") else f"{directory}/{path}": _bytes(content)
            for path, content in (files or {}).items()
        }
        self.read_paths: list[str] = []

    def working_directory(self) -> str:
        return self._directory

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def machine(self) -> str:
        return "x86_64"

    def read(self, path: str) -> bytes:
        self.read_paths.append(path)
        if self.is_directory(path):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._files[path]

    def read_stdin(self) -> bytes:
        return self._stdin

    def is_file(self, path: str) -> bool:
        return path in self._files

    def is_directory(self, path: str) -> bool:
        prefix = path.rstrip("/") + "/"
        return path not in self._files and any(file.startswith(prefix) for file in self._files)

    def real_path(self, path: str) -> str:
        return self._links.get(path, path)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
