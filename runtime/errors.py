"""The runtime's exceptions: one small tree, raised and never printed here.

    RuntimeFault(Exception)                     .temporary: bool = False
    ├─ NotFound                                 what was named is not there
    ├─ AlreadyExists                            the name or id is taken
    ├─ InvalidState(what, state, verb)          the verb is not allowed in this state
    ├─ InvalidSpec(path, why)                   a value of the request; path as the user wrote it
    ├─ KernelRefused(step, syscall, errno, path, hint)
    ├─ LaunchFailed(step, cause)                a container's start failed before its first instruction
    ├─ KeeperGone                               temporary: no keeper answers
    └─ ImageError
       ├─ ReferenceInvalid
       ├─ DigestMismatch
       └─ RegistryError(status, url, body)

Messages are "cannot X: why", lower case, and say what to do where we know it (style.md 11, 12).
The keeper and a container's init must not import this module's users; the module itself is import-free.
"""

from __future__ import annotations


class RuntimeFault(Exception):
    """Root of everything the runtime raises on purpose."""

    temporary: bool = False


class NotFound(RuntimeFault):
    """What was named is not there."""


class AlreadyExists(RuntimeFault):
    """The name or id is taken."""


class InvalidState(RuntimeFault):
    """The verb is not allowed in this state."""

    def __init__(self, what: str, state: str, verb: str) -> None:
        super().__init__(f"cannot {verb} {what}: it is {state}")
        self.what = what
        self.state = state
        self.verb = verb


class InvalidSpec(RuntimeFault):
    """A value of the request cannot be used; `path` names it as the user wrote it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class KernelRefused(RuntimeFault):
    """A system call failed where trice cannot go on.

    `step` is what was being done ("mount /proc"), `path` what it was done to, `hint` what to do about it.
    """

    def __init__(
        self, *, step: str, syscall: str, errno: int, reason: str, path: str = "", hint: str = ""
    ) -> None:
        at = f" {path}" if path and path not in step else ""
        tail = f"; {hint}" if hint else ""
        super().__init__(f"cannot {step}{at}: {syscall}: {reason}{tail}")
        self.step = step
        self.syscall = syscall
        self.errno = errno
        self.path = path
        self.hint = hint


class LaunchFailed(RuntimeFault):
    """A container did not reach its first instruction.

    `exit_code` is what the container counts as ended with: 127 not found, 126 cannot execute, else 128
    (docker run's numbers).
    """

    def __init__(
        self, *, step: str, errno: int, reason: str, path: str = "", hint: str = ""
    ) -> None:
        at = f" {path}" if path and path not in step else ""
        tail = f"; {hint}" if hint else ""
        super().__init__(f"cannot {step}{at}: {reason}{tail}")
        self.step = step
        self.errno = errno
        self.path = path
        self.hint = hint

    @property
    def exit_code(self) -> int:
        """Return 127, 126 or 128, by step and errno."""
        if self.step != "execute":
            return 128
        return {2: 127, 13: 126, 8: 126, 20: 127}.get(self.errno, 126)


class KeeperGone(RuntimeFault):
    """No keeper answers; it is being started again, so trying once more is right."""

    temporary = True


class KeeperSilent(KeeperGone):
    """The keeper is there, and has not answered one request in its time."""


class ImageError(RuntimeFault):
    """Something about an image, a layer or an archive."""


class ReferenceInvalid(ImageError):
    """The text is not an image reference."""


class DigestMismatch(ImageError):
    """Content is not what its digest promises."""


class RegistryError(ImageError):
    """A registry answered with an error."""

    def __init__(self, *, status: int, url: str, body: str) -> None:
        super().__init__(f"registry answered {status} for {url}: {body[:200]}")
        self.status = status
        self.url = url
        self.temporary = status >= 500 or status == 429
