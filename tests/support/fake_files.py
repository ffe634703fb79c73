"""The files of the containers of `FakeRuntime`: what is copied in, and what they are given at each start."""

from __future__ import annotations

from runtime.api import ContainerId, ContainerRequest, ContainerState, NotFound, PathState
from runtime.contents import MemoryContents, gather, told, without_contents
from tests.support.fake_processes import files_of_tar, tar_of_files


class FakeFiles:
    """Files by container and path (without the first slash). The caller has its lock."""

    def __init__(self) -> None:
        self._own: dict[ContainerId, dict[str, bytes]] = {}
        self._given: dict[ContainerId, dict[str, bytes]] = {}
        self._contents = MemoryContents()

    def created(self, container: ContainerId, request: ContainerRequest) -> ContainerRequest:
        """Return the request as it may be shown."""
        self._own[container] = {}
        self._given[container] = {}
        self._contents.put(container, told(request))
        return without_contents(request)

    def started(self, state: ContainerState) -> None:
        files = state.request.files if state.request is not None else ()
        placed, blob = gather(files, lambda: self._contents.get(state.id))
        self._given[state.id] = {
            each.target.strip("/"): blob[each.offset : each.offset + each.size] for each in placed
        }

    def removed(self, container: ContainerId) -> None:
        self._contents.drop(container)

    def path_state(self, state: ContainerState, path: str) -> PathState:
        files = self._seen(state)
        name = path.strip("/")
        short = name.rpartition("/")[2]
        if name and name in files:
            return PathState(name=short, size=len(files[name]), mode=0o100644, modified_at_ns=0)
        if not name or any(known.startswith(f"{name}/") for known in files):
            return PathState(name=short or "/", size=0, mode=0o040755, modified_at_ns=0)
        raise NotFound(f"no such file or directory: {path}")

    def copy_out(self, state: ContainerState, path: str) -> bytes:
        self.path_state(state, path)
        return tar_of_files(self._seen(state), path.strip("/"))

    def copy_in(self, state: ContainerState, path: str, tar: bytes) -> None:
        self.path_state(state, path)
        base = path.strip("/")
        for name, content in files_of_tar(tar).items():
            self.put(state, f"{base}/{name}", content)

    def put(self, state: ContainerState, path: str, content: bytes) -> None:
        self._own[state.id][path.strip("/")] = content

    def _seen(self, state: ContainerState) -> dict[str, bytes]:
        return self._own[state.id] | (self._given[state.id] if state.is_running else {})
