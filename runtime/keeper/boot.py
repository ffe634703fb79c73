"""Starting the keeper, from whoever needs one: the first command of an instance, or a manager whose keeper died; or
becoming it, in the process that a service manager started.

The interpreter is executed from a sealed memfd, so that /proc/self/exe of a half-made container is never a file of the
host (security.md row 1). It needs no write access anywhere.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import runtime
from runtime.errors import RuntimeFault
from runtime.keeper.connect import connect
from runtime.linux.lightjson import dumps
from runtime.linux.memfd import sealed_copy
from runtime.linux.pidfd import wait_ended
from runtime.paths import Paths

BOOT_S = 10.0
"""How long a keeper may take to answer; some 40 ms is usual."""
PAUSE_S = 0.02
LOG_BYTES = 1024 * 1024
LOG_TAIL = 2000
_READY, _BUSY = 0, 3
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
_START = "import sys; sys.path.append(sys.argv[2]); from runtime.keeper.main import main; main(sys.argv[1])"


def ensure_keeper(
    paths: Paths,
    *,
    manager_argv: Sequence[str] | None,
    environment: Mapping[str, str],
    leaf_procs: Sequence[str] = (),
    build: str = "",
) -> None:
    """Start the instance's keeper unless one answers already. Idempotent; safe from several processes at once.

    The keeper starts the manager from `manager_argv` (its first word an absolute path; None: it looks after none) and
    both get `environment` and nothing else of the caller's. `leaf_procs` are the cgroup.procs files that it joins.
    Returns when a keeper answers. Raises RuntimeFault with the end of its log when none comes up.
    """
    settings = _settings(paths, manager_argv or (), leaf_procs=leaf_procs, build=build)
    deadline = time.monotonic() + BOOT_S
    while not answers(paths):
        code = _spawn(settings, environment, paths.keeper_log, deadline)
        if code not in (_READY, _BUSY):
            raise RuntimeFault(f"cannot start the keeper: {_why(paths.keeper_log, code)}")
        if time.monotonic() > deadline:
            raise RuntimeFault(
                "cannot start the keeper: another one holds "
                f"{paths.keeper_lock} and does not answer; end it by its pid (fuser {paths.keeper_lock})"
            )
        if code == _BUSY:
            time.sleep(PAUSE_S)


def become_keeper(
    paths: Paths, *, manager_argv: Sequence[str], environment: Mapping[str, str], notify: str
) -> NoReturn:
    """Execute the keeper in this very process, which is in its groups already. Raises RuntimeFault.

    `notify` is the socket on which a service manager waits for word that it answers (sd_notify(3)); or empty.
    """
    settings = _settings(paths, manager_argv, is_unit=True, notify=notify)
    interpreter, argv = _command(settings)
    _compile_code()
    _put_aside(paths.keeper_log)
    try:
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(paths.keeper_log, _APPEND, 0o600)
        for source, target in ((null, 0), (null, 1), (log, 2)):
            os.dup2(source, target)
        image = sealed_copy("trice-keeper", interpreter)
        os.execve(f"/proc/self/fd/{image}", argv, dict(environment))
    except OSError as error:
        raise RuntimeFault(f"cannot start the keeper: {error}") from error


def note(log: Path, text: str) -> None:
    """Add a line of somebody else's to the keeper's log, where people look for it; a log that fails costs the line."""
    with suppress(OSError):
        fd = os.open(log, _APPEND, 0o600)
        try:
            os.write(fd, text.encode(errors="backslashreplace"))
        finally:
            os.close(fd)


def answers(paths: Paths) -> bool:
    """Say whether a keeper of this instance answers."""
    try:
        connect(paths.keeper_socket).close()
    except OSError:
        return False
    return True


def _settings(
    paths: Paths,
    manager_argv: Sequence[str],
    *,
    leaf_procs: Sequence[str] = (),
    build: str = "",
    is_unit: bool = False,
    notify: str = "",
) -> str:
    return dumps(
        {
            "version": 1,
            "run": str(paths.run),
            "lib": str(paths.lib),
            "manager": list(manager_argv),
            "leaf_procs": list(leaf_procs),
            "build": build,
            "is_unit": is_unit,
            "notify": notify,
        }
    ).decode()


def _command(settings: str) -> tuple[str, list[str]]:
    """Return the interpreter, and the keeper's whole argument vector."""
    interpreter = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    package = str(Path(runtime.__file__).resolve().parent.parent)
    return interpreter, [interpreter, "-I", "-S", "-c", _START, settings, package]


def _spawn(settings: str, environment: Mapping[str, str], log: Path, deadline: float) -> int:
    """Execute a keeper and return its first process's exit code (runtime.keeper.main)."""
    interpreter, argv = _command(settings)
    _compile_code()
    _put_aside(log)
    try:
        image = sealed_copy("trice-keeper", interpreter)
        try:
            pid = os.posix_spawn(
                f"/proc/self/fd/{image}",
                argv,
                dict(environment),
                file_actions=(
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_OPEN, 2, str(log), _APPEND, 0o600),
                ),
                setsid=True,
                setsigmask=(),
            )
        finally:
            os.close(image)
    except OSError as error:
        raise RuntimeFault(f"cannot start the keeper: {error}") from error
    return _exit_code(pid, deadline)


def _compile_code() -> None:
    """Have the keeper's code compiled: an interpreter that compiles keeps 1.6 MB for its whole life.

    Only where that was not done before, and can be: a read-only installation was compiled by who installed it.
    """
    from importlib.util import cache_from_source  # [lazy] only who starts a keeper needs it
    from py_compile import PyCompileError, compile  # [lazy]

    here = Path(runtime.__file__).parent
    folders = ("keeper", "container", "linux", "log")
    for source in (path for folder in folders for path in here.joinpath(folder).glob("*.py")):
        compiled = Path(cache_from_source(str(source)))
        try:
            if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
                compile(str(source), doraise=True)
        except (OSError, PyCompileError):
            return


def _exit_code(pid: int, deadline: float) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        if not wait_ended(pidfd, max(0, int((deadline - time.monotonic()) * 1000))):
            raise RuntimeFault(f"cannot start the keeper: process {pid} does not get ready")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)


def _put_aside(log: Path) -> None:
    """Keep the log bounded: one old generation."""
    try:
        if log.stat().st_size > LOG_BYTES:
            log.rename(log.with_name(log.name + ".1"))
    except FileNotFoundError:
        return


def _why(log: Path, code: int) -> str:
    """Return the last line of the keeper's log, and where more is."""
    try:
        tail = log.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace").strip()
    except OSError as error:
        return f"exit code {code}, and its log {log} cannot be read: {error.strerror}"
    last = tail.splitlines()[-1] if tail else f"exit code {code}"
    return f"{last} (see {log})"
