"""The commands under way on every project, in the order in which they were accepted.

What was asked for last counts. A command is *void* as soon as a newer one that contradicts it is
decided, be it still building images or waiting for its revision to hold; whoever waits for it is
told by which. All but reading `Command.is_void` belongs to the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from orchestrator.model.progress import Progress, Report
from orchestrator.plan.claims import Claim, contradicts

log = logging.getLogger(__name__)

T = TypeVar("T")


class Superseded(Exception):
    """A newer command contradicts this one; says which."""


class Command:
    """One command, from its acceptance to its answer."""

    def __init__(self, project: str, cause: str) -> None:
        loop = asyncio.get_running_loop()
        self.project = project
        self.cause = cause
        self.is_void = False
        """It must change nothing any more. Any thread may read it."""
        self._claim: Claim | None = None
        self._heard: list[tuple[Claim, Command]] = []
        """What newer commands decided before this one's own claim was known."""
        self._decided: asyncio.Future[str] = loop.create_future()
        """What came of it: `revision 3`."""
        self._end: asyncio.Future[str] = loop.create_future()
        """Why it is void, once that can be told; "" when it has its answer."""

    @property
    def claim(self) -> Claim:
        """What it wants; known once it has looked at the project."""
        if self._claim is None:
            raise LookupError(f"what {self.cause} wants is not known yet")
        return self._claim

    @claim.setter
    def claim(self, claim: Claim) -> None:
        self._claim = claim
        for newer, by in self._heard:
            self.hear(newer, by)
        self._heard.clear()

    def hear(self, newer: Claim, by: Command) -> None:
        """Be void when a newer command contradicts this one."""
        if self._claim is None:
            self._heard.append((newer, by))
        elif contradicts(newer, self._claim):
            self.is_void = True
            by._decided.add_done_callback(
                lambda decided: self._tell(f"superseded by {decided.result()} ({by.cause})")
            )

    def decided(self, what: str) -> None:
        """What it wants is wanted now: those that are void by it are told."""
        if not self._decided.done():
            self._decided.set_result(what)

    def abandon(self, why: str) -> None:
        """Be void for another reason than a newer command."""
        self.is_void = True
        self._tell(why)

    def finish(self) -> None:
        """Its answer is known."""
        self.decided("a newer command")
        self._tell("")

    async def check(self) -> None:
        """Raise Superseded when it is void, once it is known what by."""
        if self.is_void:
            raise Superseded(await asyncio.shield(self._end))

    async def wait_for(self, work: Awaitable[T]) -> T:
        """Return what the work gives. Raises Superseded when it is; the work may go on then."""
        doing = asyncio.ensure_future(work)
        either: set[asyncio.Future[T] | asyncio.Future[str]] = {doing, self._end}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        doing.add_done_callback(_note_failure)
        raise Superseded(self._end.result())

    def reporting(self, report: Report) -> Report:
        """Return `report` for work that may last longer than the command: nothing comes after it."""

        def tell(progress: Progress) -> None:
            if not self._end.done():
                report(progress)

        return tell

    def _tell(self, why: str) -> None:
        if not self._end.done():
            self._end.set_result(why)


class Commands:
    """All of them."""

    def __init__(self) -> None:
        self._live: list[Command] = []

    @contextmanager
    def accept(self, project: str, cause: str) -> Iterator[Command]:
        """Take the next place in the order, until the answer is known."""
        command = Command(project, cause)
        self._live.append(command)
        try:
            yield command
        finally:
            self._live.remove(command)
            command.finish()

    def overrule(self, command: Command) -> None:
        """Make void what is older and contradicts; call it before what the command wants is wanted."""
        for older in self._live[: self._live.index(command)]:
            if older.project == command.project:
                older.hear(command.claim, command)

    def abandon_all(self, why: str) -> None:
        for each in self._live:
            each.abandon(why)

    def projects(self) -> frozenset[str]:
        """Return the projects that commands are under way on."""
        return frozenset(each.project for each in self._live)


def _note_failure(done: asyncio.Future[T]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("what a superseded command had begun failed", exc_info=error)
