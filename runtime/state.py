"""What a container looks like from outside: its record, its running attempt and its last ending, joined. Pure."""

from __future__ import annotations

from dataclasses import replace

from runtime.api import ContainerState, Status
from runtime.ending import exit_of
from runtime.processes import Live
from runtime.records import Ending, Record


def state_of(
    record: Record, live: Live | None, ending: Ending | None, *, is_paused: bool
) -> ContainerState:
    """Return the container's state; `live` is its running attempt, `ending` how the last one that ended did."""
    request = record.request
    state = ContainerState(
        id=record.id,
        name=request.name,
        image=request.image,
        image_reference=request.image_reference,
        labels=request.labels,
        status=Status.CREATED,
        created_at_ns=record.created_at_ns,
        command=record.argv,
        stop_signal=record.stop_signal,
        limits=request.limits,
        attempt=record.attempt,
        exit=exit_of(ending) if ending else None,
        tty=request.tty,
        open_stdin=request.open_stdin,
        mounts=request.mounts if record.mounts is None else record.mounts,
        request=request,
    )
    if live is not None:
        return replace(
            state,
            status=Status.PAUSED if is_paused else Status.RUNNING,
            is_paused=is_paused,
            pid=live.pid,
            started_at_ns=live.started_at_ns,
        )
    if ending is not None:
        return replace(
            state,
            status=Status.EXITED,
            started_at_ns=ending.started_at_ns or None,
            oom_kills=ending.oom_kills,
        )
    return state
