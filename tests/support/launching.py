"""Launch programs run by a process of their own: what `runtime.container` does, without keeper and cgroups.

`launch` starts `python -m tests.support.launching`, single-threaded as a launching process must be; it reads
a job on stdin and prints one JSON line an attempt. With `tree` it runs a changed copy of the code: `without` makes
one with a defence taken out, so that a test can show that the attack works then.

There are two ways to launch, the plain one and by a table (`runtime.container.table`), which falls back on the plain
one, as the keeper does it. `WAY` in the environment says which; a changed copy goes the plain way unless told else.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import msgspec

from runtime.api import ContainerRequest, Digest, File, ImageConfig, Mount
from runtime.container.defaults import default_config
from runtime.spec.config import OciConfig, decode_config, encode_config
from tests.support.waiting import slow_factor

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 25 * slow_factor()
_HANG_S = 10 * slow_factor()
WAY, PLAIN, TABLE, AGAIN = "TRICE_TEST_WAY", "plain", "table", "again"
Change: TypeAlias = tuple[str, str, str]
"""A file, a text that is in it once, and what takes its place."""
CONTAINER_ID = "0123456789abcdef" * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one launch went. `status` is the wait status of the container's process."""

    status: int
    stdout: str
    stderr: str
    failure: Mapping[str, str | int] = field(default_factory=dict)
    way: str = ""
    """How it was launched in the end: PLAIN, TABLE, or AGAIN: plainly after a table."""

    @property
    def code(self) -> int:
        return os.waitstatus_to_exitcode(self.status)


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    configs: tuple[str, ...]
    root: str
    lower: tuple[str, ...]
    files: tuple[File, ...]
    volumes: str = ""


def a_config(
    *command: str,
    user: str | None = None,
    working_dir: str | None = None,
    environment: Mapping[str, str | None] | None = None,
    mounts: Sequence[Mount] = (),
    is_read_only: bool = False,
    sysctls: Mapping[str, str] | None = None,
) -> OciConfig:
    """Return the config that a container with this command gets."""
    request = ContainerRequest(
        name="test",
        image=Digest("sha256:" + "0" * 64),
        image_reference="busybox:test",
        command=command,
        user=user,
        working_dir=working_dir,
        environment=environment or {},
        mounts=tuple(mounts),
        is_read_only=is_read_only,
        sysctls=sysctls or {},
        hostname="testhost",
    )
    image = ImageConfig(environment={"PATH": "/bin"})
    return default_config(request, image, container_id=CONTAINER_ID)


def shell(script: str, **more: object) -> OciConfig:
    """Return the config of a container that runs this shell script."""
    return a_config("sh", "-c", script, **more)  # type: ignore[arg-type]


def launch(
    config: OciConfig,
    root: Path,
    *,
    lower: Sequence[Path] = (),
    volumes: Path | None = None,
    count: int = 1,
    use_openat2: bool = True,
    tree: Path = REPOSITORY,
    before: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
    files: Sequence[File] = (),
    way: str = "",
) -> list[Attempt]:
    """Run the container `count` times, one after another, and return how each went."""
    return launch_each(
        [config] * count,
        root,
        lower=lower,
        volumes=volumes,
        use_openat2=use_openat2,
        tree=tree,
        before=before,
        pass_fds=pass_fds,
        files=files,
        way=way,
    )


def launch_each(
    configs: Sequence[OciConfig],
    root: Path,
    *,
    lower: Sequence[Path] = (),
    volumes: Path | None = None,
    use_openat2: bool = True,
    tree: Path = REPOSITORY,
    before: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
    files: Sequence[File] = (),
    way: str = "",
) -> list[Attempt]:
    """Run these containers, one after another, and return how each went.

    Its root is the directory `root`, or with `lower` (lowest first) an overlay whose upper and work lie in `root`.
    `files` are given to all of them; `volumes` is where their volumes are, to be filled; `before` is a command that
    runs the rest of its line (`unshare …`).
    """
    job = _Job(
        configs=tuple(encode_config(config).decode() for config in configs),
        root=str(root),
        lower=tuple(map(str, lower)),
        files=tuple(files),
        volumes=str(volumes or ""),
    )
    environment = {key: value for key, value in os.environ.items() if key != "TRICE_NO_OPENAT2"}
    environment[WAY] = way or (os.environ.get(WAY, TABLE) if tree == REPOSITORY else PLAIN)
    if not use_openat2:
        environment["TRICE_NO_OPENAT2"] = "1"
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.support.launching"],
        input=msgspec.json.encode(job),
        capture_output=True,
        cwd=tree,
        env=environment,
        pass_fds=pass_fds,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [Attempt(**json.loads(line)) for line in done.stdout.splitlines()]


def launch_one(config: OciConfig, root: Path, **more: object) -> Attempt:
    """`launch` once."""
    (attempt,) = launch(config, root, **more)  # type: ignore[arg-type]
    return attempt


def without(folder: Path, *changes: Change) -> Path:
    """Make a copy of the code in `folder` with (file, text, replacement) applied; return it as a `tree`.

    A text that is not there exactly once is an error: the defence has moved, and the test must follow.
    """
    folder.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("runtime", "orchestrator", "tests/support"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=ignore)
    (folder / "tests/__init__.py").touch()
    for name, text, replacement in changes:
        path = folder / name
        source = path.read_text()
        assert source.count(text) == 1, f"{name} has {source.count(text)} times: {text}"
        path.write_text(source.replace(text, replacement))
    return folder


def _main() -> None:
    from runtime.container.compile import BundleRoot, Rootfs, VolumePlaces, compile_program
    from runtime.contents import gather
    from runtime.linux.facts import host_facts
    from runtime.linux.memfd import sealed

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=_Job)
    root: Rootfs | BundleRoot = BundleRoot(path=job.root)
    if job.lower:
        for name in ("upper", "work"):
            Path(job.root, name).mkdir(exist_ok=True)
        root = Rootfs(lower=job.lower, upper=f"{job.root}/upper", work=f"{job.root}/work")
    told = {each.target: each.content for each in job.files if each.content is not None}
    placed, blob = gather(job.files, lambda: told)
    contents = sealed("contents", blob)
    for config in job.configs:
        document = compile_program(
            decode_config(config.encode()),
            facts=host_facts(),
            rootfs=root,
            cgroup_procs=(),
            wait_fifo=None,
            files=placed,
            volumes=VolumePlaces(directory=job.volumes, is_filling=True) if job.volumes else None,
        )
        print(json.dumps(_attempt(document, contents)), flush=True)


def _attempt(document: bytes, contents: int) -> dict[str, object]:
    if os.environ[WAY] == PLAIN:
        return _go(document, contents, PLAIN)
    done = _go(document, contents, TABLE)
    return _go(document, contents, AGAIN) if "bailed" in done else done


def _go(document: bytes, contents: int, way: str) -> dict[str, object]:
    from runtime.container import init, machine, program, wire
    from runtime.container.child import Given
    from runtime.container.table_header import table_in
    from runtime.linux import pidfd
    from runtime.linux.memfd import sealed

    prepared = program.prepare(document)
    null = os.open("/dev/null", os.O_RDONLY)
    out, err = os.pipe(), os.pipe()
    memfd = sealed("program", document)
    table = table_in(memfd) if way == TABLE else None
    if table is None:
        launched = init.launch(prepared, (null, out[1], err[1]), Given(contents=contents))
        way = PLAIN if way == TABLE else way
    else:
        image = machine.sealed_image(-1)
        given = Given(contents=contents)
        launched = init.launch_table(table, memfd, image, (null, out[1], err[1]), given)
        os.close(image)
    os.close(memfd)
    for fd in (null, out[1], err[1]):
        os.close(fd)
    frames: list[bytes] = [frame for frame, _ in launched.early]
    masters: list[int] = []
    with socket.socket(fileno=os.dup(launched.sync_fd)) as sync:
        while frame := _frame(sync, masters):
            frames.append(frame)
    stdout, stderr = _drain(out[0], err[0])
    if not pidfd.wait_ended(launched.pidfd, int(_HANG_S * 1000)):
        pidfd.send_signal(launched.pidfd, 9)
        pidfd.wait_ended(launched.pidfd, -1)
    status = pidfd.reap(launched.pidfd)
    failed = [frame for frame in frames if wire.decode(frame)[0] == wire.FAILED]
    bailed = [wire.decode(frame)[1] for frame in frames if wire.decode(frame)[0] == wire.BAIL]
    for fd in (launched.sync_fd, launched.pidfd, out[0], err[0], *masters):
        os.close(fd)
    return {
        "status": status,
        "stdout": stdout.decode(errors="backslashreplace"),
        "stderr": stderr.decode(errors="backslashreplace"),
        "failure": program.failure(prepared, failed[0]) if failed else {},
        "way": way,
        **({"bailed": bailed[0]} if bailed else {}),
    }


def _frame(sync: socket.socket, masters: list[int]) -> bytes:
    """Return the next frame, b"" at the end; a terminal's master is kept: without one it hangs up."""
    from runtime.container import wire
    from runtime.linux.fds import receive_with_fds

    try:
        frame, fds = receive_with_fds(sync, wire.MAX_FRAME)
    except ConnectionResetError:
        return b""
    masters.extend(fds)
    return frame


def _drain(*pipes: int) -> list[bytes]:
    """Read pipes to their end, for at most _HANG_S."""
    read: dict[int, bytes] = dict.fromkeys(pipes, b"")
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, select.POLLIN)
    open_pipes = set(pipes)
    deadline = time.monotonic() + _HANG_S
    while open_pipes and time.monotonic() < deadline:
        for pipe, _ in poll.poll(100):
            chunk = os.read(pipe, 1 << 16)
            read[pipe] += chunk
            if not chunk:
                poll.unregister(pipe)
                open_pipes.discard(pipe)
    return [read[pipe] for pipe in pipes]


if __name__ == "__main__":
    _main()
