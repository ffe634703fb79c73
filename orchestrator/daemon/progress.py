"""Progress of a command as an NDJSON stream: what the supervisor reports, then one record of how it
ended.

A client that reads slowly does not hold up the work and does not grow memory: beyond `LIMIT` unread
records the older ones of the same thing are dropped, and nothing else. A client that goes away does
not undo what it asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from orchestrator.daemon.http import json_line
from orchestrator.model.progress import Progress, Report
from orchestrator.run.supervisor import Outcome

LIMIT = 1024

T = TypeVar("T")
Work = Callable[[Report], Awaitable[Outcome]]

_running: set[asyncio.Task[Outcome]] = set()
"""Work whose client has gone: the loop itself holds tasks only weakly."""


async def begin(work: Work) -> AsyncIterator[bytes]:
    """Start the work; return its records once it has said anything.

    Raises what the work raises before its first record, so that bad input is an ordinary error
    answer.
    """
    journal = _Journal()
    task = asyncio.ensure_future(work(journal.add))
    _running.add(task)
    task.add_done_callback(_running.discard)
    task.add_done_callback(lambda _: journal.wake())
    await journal.wait()
    if task.done() and not journal.records and (failure := task.exception()) is not None:
        raise failure
    return _records(journal, task)


async def _records(journal: _Journal, task: asyncio.Task[Outcome]) -> AsyncIterator[bytes]:
    while True:
        is_done = task.done()
        while journal.records:
            yield json_line(progress_document(journal.records.popleft()))
        if is_done:
            yield json_line(_end_document(task))
            return
        await journal.wait()


def progress_document(record: Progress) -> dict[str, str]:
    """Return a progress record as docs/architecture.md draws it; empty fields are left out."""
    document = {"id": record.id, "status": record.status.value, "text": record.text}
    return document | ({"details": record.details} if record.details else {})


def _end_document(task: asyncio.Task[Outcome]) -> dict[str, object]:
    failure = None if task.cancelled() else task.exception()
    if task.cancelled() or failure is not None:
        why = str(failure) if failure is not None else "the manager is leaving"
        return {"end": True, "ok": False, "error": why, "code": 1}
    outcome = task.result()
    document: dict[str, object] = {
        "end": True,
        "ok": outcome.ok,
        "error": outcome.error,
        "code": 0 if outcome.ok else 1,
        "revision": outcome.revision,
        "changed": outcome.changed,
    }
    return document | ({"container": outcome.container} if outcome.container else {})


class _Journal:
    """What was reported and not yet sent."""

    def __init__(self) -> None:
        self.records: deque[Progress] = deque()
        self._ready = asyncio.Event()

    def add(self, record: Progress) -> None:
        if len(self.records) >= LIMIT:
            self.records = deque(old for old in self.records if old.id != record.id)
        self.records.append(record)
        self._ready.set()

    def wake(self) -> None:
        self._ready.set()

    async def wait(self) -> None:
        await self._ready.wait()
        self._ready.clear()
