"""Hooks of an OCI config (config.md §POSIX-platform Hooks): the operator's programs at points of a container's life.

    create   namespaces and mounts are made ── prestart, createRuntime (ours) ── createContainer (its own) ──► pivot
    start    startContainer (its own, after the pivot) ──► the program is executed ── poststart (ours)
    delete   all is removed ── poststop (ours)

"Ours" are the namespaces of whoever calls. A hook gets the container's state on stdin, the environment that the config
gives it and no other, the host's files, no descriptor but stdio, and a session of its own (security.md row 25).
startContainer hooks are programs of the container's own: they run as its process does (`runtime.oci.processes`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
from msgspec import Struct

from runtime.errors import InvalidSpec, LaunchFailed
from runtime.linux import memfd, ns
from runtime.spec.config import OciConfig

DEFAULT_TIMEOUT_S = 60
"""For a hook that gives none: one that hangs must not hold a container for ever."""
_SAID_LIMIT = 500

_KINDS = (
    ("mnt", ns.CLONE_NEWNS), ("net", ns.CLONE_NEWNET), ("uts", ns.CLONE_NEWUTS), ("ipc", ns.CLONE_NEWIPC),
    ("cgroup", ns.CLONE_NEWCGROUP), ("pid_for_children", ns.CLONE_NEWPID),
)  # fmt: skip


class Hook(Struct, frozen=True, kw_only=True):
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None
    """Seconds."""

    @property
    def argv(self) -> tuple[str, ...]:
        return self.args or (self.path,)

    @property
    def timeout_s(self) -> int:
        return self.timeout or DEFAULT_TIMEOUT_S


class Hooks(Struct, frozen=True, kw_only=True, rename="camel"):
    """All hooks of a config, in the order of their points."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def hooks_of(config: OciConfig) -> Hooks:
    """Return the config's hooks; an unknown point is none. Raises InvalidSpec with the place of what is wrong."""
    try:
        hooks = msgspec.convert(config.hooks, Hooks)
    except msgspec.ValidationError as error:
        raise InvalidSpec("hooks", str(error)) from error
    for name, found in zip(NAMES, msgspec.structs.astuple(hooks), strict=True):
        for index, hook in enumerate(found):
            _check(hook, f"hooks.{name}[{index}]")
    return hooks


def _check(hook: Hook, where: str) -> None:
    if not hook.path.startswith("/"):
        raise InvalidSpec(f"{where}.path", f"{hook.path!r} must be absolute")
    if hook.timeout is not None and hook.timeout <= 0:
        raise InvalidSpec(f"{where}.timeout", f"{hook.timeout} must be greater than 0")
    texts = (hook.path, *hook.args, *hook.env)
    if any("\0" in text for text in texts) or not all("=" in entry[1:] for entry in hook.env):
        raise InvalidSpec(f"{where}.env", "entries must be name=value, and no text may contain NUL")


def run_hooks(
    name: str, hooks: Sequence[Hook], state: Mapping[str, object], *, directory: str
) -> None:
    """Run the hooks of one point one after another, in `directory`. Raises LaunchFailed at the first that fails."""
    for hook in hooks:
        _run(name, hook, state, directory)


def failures(
    name: str, hooks: Sequence[Hook], state: Mapping[str, object], *, directory: str
) -> Iterator[str]:
    """Run all hooks of a point where a failure changes nothing any more; yield what each failure says."""
    for hook in hooks:
        try:
            _run(name, hook, state, directory)
        except LaunchFailed as error:
            yield str(error)


@contextmanager
def inside(target: int) -> Iterator[None]:
    """Be in the namespaces of the process `target` (a pidfd) for a while; its mounts still have the host's root.

    The caller is single-threaded and has imported what it needs.
    """
    own = [(os.open(f"/proc/self/ns/{name}", os.O_RDONLY), flag) for name, flag in _KINDS]
    directory = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        flags = 0
        for _, flag in _KINDS:
            flags |= flag
        ns.setns(target, flags)
        try:
            yield
        finally:
            for fd, flag in own:
                ns.setns(fd, flag)
            os.fchdir(directory)
    finally:
        os.close(directory)
        for fd, _ in own:
            os.close(fd)


def _run(name: str, hook: Hook, state: Mapping[str, object], directory: str) -> None:
    step = f"run the {name} hook {hook.path}"
    document = memfd.sealed("hook-state", json.dumps(state).encode())
    said = os.memfd_create("hook-output")
    try:
        try:
            process = subprocess.Popen(
                hook.argv,
                executable=hook.path,
                env=dict(entry.split("=", 1) for entry in hook.env),
                cwd=directory,
                stdin=document,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise LaunchFailed(step=step, errno=error.errno or 0, reason=reason) from error
        reason = _wait(process, hook.timeout_s)
        if reason:
            words = os.pread(said, _SAID_LIMIT, 0).decode(errors="replace").split()
            raise LaunchFailed(step=step, errno=0, reason=": ".join([reason, *_some(words)]))
    finally:
        os.close(said)
        os.close(document)


def _some(words: Sequence[str]) -> Sequence[str]:
    return (" ".join(words),) if words else ()


def _wait(process: subprocess.Popen[bytes], timeout_s: int) -> str:
    """Return why a hook failed, empty when it did not. One that takes too long is killed with all of its session."""
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # not reaped yet: the number is still its own
        process.wait()
        return f"it took longer than {timeout_s} s"
    if code < 0:
        return f"it was ended by signal {-code}"
    return f"it ended with code {code}" if code else ""
