"""What the keeper knows of one attempt of one container, and the two files that outlive the keeper. Import-light.

<run>/containers/<id>/process.json   while its process lives: what a new keeper adopts by
<lib>/containers/<id>/exit.json      how the last attempt ended
"""

from __future__ import annotations

import os

from runtime.linux.files import write_json_atomic
from runtime.linux.lightjson import loads
from runtime.linux.pidfd import start_time
from runtime.log.format import ROTATE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.keeper.protocol import Message
    from runtime.keeper.stdio import Stdio

VERSION = 1
PROCESS_FILE = "process.json"
EXIT_FILE = "exit.json"


class Container:
    """One attempt, from its launch until it is forgotten. Owns pidfd and stdio.

    LAUNCHING ─► RUNNING ─► ENDED          adopted ones begin as RUNNING, or as GONE when nobody has seen them die
    """

    __slots__ = (
        "at_ns", "attempt", "has_stdin", "id", "is_adopted", "is_alive", "is_reported", "is_tty", "is_written",
        "lib_dir", "log_bytes", "pid", "pidfd", "run_dir", "started_at_ns", "status", "stdio",
    )  # fmt: skip

    def __init__(
        self, identifier: str, attempt: int, run_dir: str, lib_dir: str, *, is_adopted: bool
    ) -> None:
        self.id = identifier
        self.attempt = attempt
        self.run_dir = run_dir
        self.lib_dir = lib_dir
        self.is_adopted = is_adopted
        self.is_tty = False
        self.has_stdin = False
        self.log_bytes = ROTATE_BYTES
        """How long a generation of its log is."""
        self.pid = 0
        self.pidfd = -1
        self.started_at_ns = 0
        self.stdio: Stdio | None = None
        self.is_alive = True
        self.is_written = False
        """Whether exit.json is on disk."""
        self.is_reported = False
        """Whether a manager was told of the end."""
        self.status: int | None = None
        self.at_ns = 0

    def summary(self) -> Message:
        return {
            "container": self.id,
            "attempt": self.attempt,
            "pid": self.pid,
            "started_at_ns": self.started_at_ns,
            "adopted": self.is_adopted,
            "lacks": [*self.stdio.lacks] if self.stdio is not None else [],
        }

    def exit_event(self) -> Message:
        return {
            "event": "exit",
            "container": self.id,
            "attempt": self.attempt,
            "status": self.status,
            "at_ns": self.at_ns,
        }

    def write_process(self, boot_id: str) -> None:
        """Make it adoptable. Raises OSError."""
        document = {
            "version": VERSION,
            "attempt": self.attempt,
            "pid": self.pid,
            "start_time": start_time(self.pid),
            "boot_id": boot_id,
            "started_at_ns": self.started_at_ns,
            "lib_dir": self.lib_dir,
            "tty": self.is_tty,
            "stdin": self.has_stdin,
            "log_bytes": self.log_bytes,
        }
        write_json_atomic(f"{self.run_dir}/{PROCESS_FILE}", document, fsync=False)

    def write_exit(self) -> bool:
        """Write down how it ended; False where the disk refuses (a later try may do)."""
        document = {
            "version": VERSION,
            "attempt": self.attempt,
            "status": self.status,
            "at_ns": self.at_ns,
            "started_at_ns": self.started_at_ns,
        }
        try:
            write_json_atomic(f"{self.lib_dir}/{EXIT_FILE}", document, fsync=False)
        except FileNotFoundError:
            pass  # its directory was removed meanwhile: nobody wants to know
        except OSError:
            return False
        self.is_written = True
        self.unlink_process()
        return True

    def unlink_process(self) -> None:
        """Say that there is nothing to adopt. Idempotent."""
        try:
            os.unlink(f"{self.run_dir}/{PROCESS_FILE}")
        except OSError:
            return

    def close(self) -> None:
        """Let go of pidfd and stdio; the loop watches neither any more. Idempotent."""
        if self.stdio is not None:
            self.stdio.close()
            self.stdio = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def read_document(path: str) -> Message | None:
    """Return what such a file says; None when it is missing, damaged or of another version."""
    try:
        with open(path, "rb") as file:
            document = loads(file.read())
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        return None
    return document
