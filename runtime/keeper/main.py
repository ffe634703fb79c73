"""The keeper's process from its first line to its last. Import-light: see tests/unit/test_import_budget.py.

    caller (boot)              first process                  keeper
      │ ── spawn, wait ──────────► │ ── fork ────────────────► │  lock, socket, adoption
      │                            │ ◄── one byte ──────────── │  READY, or BUSY: another keeper has the lock
      │ ◄── exit code ──────────── │                           │  manager, loop
                                                              ─► until "leave", or for ever
So the caller learns by an exit code that a keeper answers, nothing is inherited, and the keeper is nobody's child.
A service manager wants to see its own child live: there the first process is the keeper (see unit.py).
"""

from __future__ import annotations

import fcntl
import gc
import os
from time import gmtime, strftime

from runtime.keeper.keeper import Keeper
from runtime.keeper.listener import Listener
from runtime.keeper.loop import Loop
from runtime.keeper.supervise import Supervisor
from runtime.keeper.unit import leave_on_term, tell_ready
from runtime.linux.fds import close_range
from runtime.linux.lightjson import loads
from runtime.linux.limits import RESOURCES, raise_to_hard

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import NoReturn

    from runtime.keeper.protocol import Message
else:
    import _signal  # without the enums of `signal`

NAME = "trice-keeper"
READY = 0
FAILED = 1
BUSY = 3
"""Exit codes of the first process."""


def main(settings: str) -> NoReturn:
    """Be the keeper that these settings (JSON, see boot.py) describe. What goes wrong is in keeper.log, exit code 1."""
    os._exit(_first_process(loads(settings.encode())))


def _first_process(settings: object) -> int:
    if not isinstance(settings, dict):
        raise ValueError("settings are a JSON object")
    close_range(3)
    os.chdir("/")
    os.umask(0o077)
    _join(settings["leaf_procs"])
    if settings["is_unit"]:
        notify = str(settings["notify"])
        return READY if _keep(settings, lambda: tell_ready(notify)) else BUSY
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        if not _keep(settings, lambda: _say_and_close(writer, READY)):
            _say_and_close(writer, BUSY)
        return READY
    os.close(writer)
    word = os.read(reader, 1)
    return word[0] if word else FAILED


def _say_and_close(writer: int, word: int) -> None:
    os.write(writer, bytes((word,)))
    os.close(writer)


def _keep(settings: Message, tell: Callable[[], None]) -> bool:
    """Be the keeper until the end; False, at once, when there is another one. `tell` is called when it answers."""
    run_dir, lib_dir = str(settings["run"]), str(settings["lib"])
    lock = os.open(f"{run_dir}/keeper.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    _settle()
    loop = Loop()
    argv = settings["manager"]
    supervisor = Supervisor(
        loop,
        [str(argument) for argument in argv] if isinstance(argv, list) else [],
        f"{lib_dir}/manager.log",
        f"{run_dir}/manager.lock",
        say,
    )
    keeper = Keeper(
        loop,
        run_containers=f"{run_dir}/containers",
        lib_containers=f"{lib_dir}/containers",
        build=str(settings["build"]),
        supervisor=supervisor,
        say=say,
    )
    listener = Listener(run_dir)
    loop.watch_control(listener.fileno(), lambda _events: listener.accept(keeper.peers))
    if settings["is_unit"]:
        leave_on_term(loop, supervisor, say)
    # From here on children share these pages with us: nothing old is ever looked at again.
    gc.collect()
    gc.freeze()
    say(f"keeping {run_dir}")
    tell()
    supervisor.begin()
    loop.run()
    listener.close()
    say("leaving")
    return True


def _settle() -> None:
    """Be known by name, die of nothing but a plain SIGTERM or SIGKILL: containers survive both."""
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(NAME)
    raise_to_hard(RESOURCES["NOFILE"])  # a container takes five descriptors
    for number in (_signal.SIGHUP, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_IGN)
    for number in (_signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, _signal.SIG_DFL)


def _join(leaf_procs: object) -> None:
    """Enter the groups that the instance has for itself, in every hierarchy."""
    for path in leaf_procs if isinstance(leaf_procs, list) else []:
        with open(str(path), "w", encoding="ascii") as file:
            file.write("0")


def say(text: str) -> None:
    """Write a line to keeper.log. A full disk costs the line."""
    line = f"{strftime('%Y-%m-%dT%H:%M:%SZ', gmtime())} keeper[{os.getpid()}] {text}\n"
    try:
        os.write(2, line.encode("utf-8", "backslashreplace"))
    except OSError:
        return
