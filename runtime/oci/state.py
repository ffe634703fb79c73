"""The life of a bundle's container in the words of the OCI runtime-spec (runtime.md §State), and what is kept of it.

    creating ── ready ──► created ── start ──► running ── its process ends ──► stopped ── delete ──► (gone)
                                              │     ▲
                                            pause  resume
                                              ▼     │
                                              paused

What is kept is how to find the process again; whether it lives is asked of the kernel every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from runtime.errors import InvalidState, RuntimeFault
from runtime.spec.config import OCI_VERSION

VERSION = 1


class BundleStatus(StrEnum):
    """Where a bundle's container is in its life, with the verbs that each place allows."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    """Not the specification's, but every runtime's word for a running one that stands still."""
    STOPPED = "stopped"

    def can_start(self) -> bool:
        return self is BundleStatus.CREATED

    def can_kill(self) -> bool:
        return self in (BundleStatus.CREATED, BundleStatus.RUNNING, BundleStatus.PAUSED)

    def can_execute(self, *, ignores_paused: bool = False) -> bool:
        """One more process; in a paused one it stands still with the others, so that needs to be asked for."""
        if self is BundleStatus.PAUSED:
            return ignores_paused
        return self in (BundleStatus.CREATED, BundleStatus.RUNNING)

    def can_pause(self) -> bool:
        return self in (BundleStatus.CREATED, BundleStatus.RUNNING)

    def can_resume(self) -> bool:
        return self is BundleStatus.PAUSED

    def can_delete(self) -> bool:
        """Without force."""
        return self is BundleStatus.STOPPED


class BundleState(msgspec.Struct, frozen=True, kw_only=True):
    """state.json: which process it is, and what it was made of."""

    version: int = VERSION
    id: str
    bundle: str
    group: str
    """The name of its group below the instance's own, or an absolute path in every hierarchy."""
    pid: int
    start_time: int
    """Field 22 of /proc/PID/stat: with the boot id it tells the process from a later one of the same number."""
    boot_id: str
    created_at_ns: int
    annotations: Mapping[str, str] = {}


def require(status: BundleStatus, *, allowed: bool, what: str, verb: str) -> None:
    """Raise InvalidState unless the verb is allowed where the container is."""
    if not allowed:
        raise InvalidState(what, status.value, verb)


def observed_status(
    *, is_alive: bool, is_ready: bool, has_fifo: bool, is_frozen: bool
) -> BundleStatus:
    """Return the status from what is seen: a live process, set-up done, the start FIFO still there, a frozen group."""
    if not is_alive:
        return BundleStatus.STOPPED
    if not is_ready:
        return BundleStatus.CREATING
    if is_frozen:
        return BundleStatus.PAUSED
    return BundleStatus.CREATED if has_fifo else BundleStatus.RUNNING


def oci_document(state: BundleState, status: BundleStatus) -> dict[str, object]:
    """Return what `state` prints (runtime.md §State): the pid only while there is a process."""
    document: dict[str, object] = {
        "ociVersion": OCI_VERSION,
        "id": state.id,
        "status": status.value,
        "bundle": state.bundle,
        "annotations": dict(state.annotations),
    }
    if status is not BundleStatus.STOPPED:
        document["pid"] = state.pid
    return document


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
msgspec.json.Decoder(BundleState)


def decode_state(data: bytes, *, where: str) -> BundleState:
    """Return the state that was written. Raises RuntimeFault for another version or text that is none."""
    try:
        state = msgspec.json.decode(data, type=BundleState)
    except msgspec.DecodeError as error:
        raise RuntimeFault(f"cannot read {where}: {error}") from error
    if state.version != VERSION:
        raise RuntimeFault(f"cannot read {where}: version {state.version} is of a newer trice")
    return state
