"""After another keeper's death: which containers are there, and which of them live. Import-light.

A process is the one that process.json means when boot id and start time are the same, looked at while a pidfd of it
is held: a later process of the same number is never taken for it (security.md row 28).
"""

from __future__ import annotations

import os

from runtime.keeper.container import EXIT_FILE, PROCESS_FILE, Container, read_document
from runtime.linux.pidfd import open_process, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.keeper.protocol import Message


def boot_id() -> str:
    """Return the id of this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def find(run_containers: str, lib_containers: str, this_boot: str) -> list[Container]:
    """Return what the keeper before us left: with a pidfd where the process is still there, without where it is gone.

    Those whose exit is on disk already are not among them. Unreadable entries are skipped: nothing can be known.
    """
    found: list[Container] = []
    try:
        names = sorted(os.listdir(run_containers))
    except FileNotFoundError:
        return found
    for name in names:
        document = read_document(f"{run_containers}/{name}/{PROCESS_FILE}")
        if document is None:
            continue
        container = _container(name, f"{run_containers}/{name}", lib_containers, document)
        if container is None:
            continue
        if _has_exit(container):
            container.unlink_process()
            continue
        if document.get("boot_id") == this_boot:
            container.pidfd = _open_same(container.pid, document.get("start_time"))
        found.append(container)
    return found


def _container(name: str, run_dir: str, lib_containers: str, document: Message) -> Container | None:
    attempt, pid, at_ns = (document.get(key) for key in ("attempt", "pid", "started_at_ns"))
    lib_dir = document.get("lib_dir", f"{lib_containers}/{name}")
    if not isinstance(attempt, int) or not isinstance(pid, int) or not isinstance(at_ns, int):
        return None
    if not isinstance(lib_dir, str):
        return None
    container = Container(name, attempt, run_dir, lib_dir, is_adopted=True)
    container.pid = pid
    container.started_at_ns = at_ns
    container.is_tty = document.get("tty") is True
    container.has_stdin = document.get("stdin") is True
    log_bytes = document.get("log_bytes")
    if isinstance(log_bytes, int) and log_bytes > 0:
        container.log_bytes = log_bytes
    return container


def _has_exit(container: Container) -> bool:
    report = read_document(f"{container.lib_dir}/{EXIT_FILE}")
    return report is not None and report.get("attempt") == container.attempt


def _open_same(pid: int, began: object) -> int:
    """Return a pidfd of the process with this pid and start time; -1 when it is gone."""
    try:
        pidfd = open_process(pid)
    except OSError:
        return -1
    if start_time(pid) == began:
        return pidfd
    os.close(pidfd)
    return -1
