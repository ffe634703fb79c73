"""A project's log stream that outlives the manager: when it breaks off, it goes on where it was, each line once.

Lines have the time at which the keeper read them. After a break the stream is asked for again from the newest time seen
of each container, and as many lines of exactly that time are skipped as were printed already.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from orchestrator.client.api import Client, Document
from orchestrator.errors import ManagerGone

_TRIES = 3
"""Breaks without a single record in between, before we believe that it does not come back."""
SECOND_NS = 1_000_000_000


class LogRequest(NamedTuple):
    """What to show; `tail`, `since` and `until` as the user wrote them."""

    project: str
    services: tuple[str, ...] = ()
    is_follow: bool = False
    tail: str = "all"
    since: str = ""
    until: str = ""


class _Mark:
    """How far one container's log was printed."""

    def __init__(self) -> None:
        self.at_ns = 0
        self.count = 0
        self.to_skip = 0

    def is_news(self, at_ns: int) -> bool:
        """Tell whether a line of this time is still to be printed, and count it."""
        if self.to_skip and at_ns <= self.at_ns:
            self.to_skip -= at_ns == self.at_ns
            return False
        self.count = self.count + 1 if at_ns == self.at_ns else 1
        self.at_ns = at_ns
        return True


def follow(client: Client, request: LogRequest) -> Iterator[Document]:
    """Yield the stream's records. Raises ApiError, and ManagerGone when the manager does not come back."""
    marks: dict[str, _Mark] = {}
    query = _query(request)
    began_ns = time.time_ns()
    breaks = 0
    while True:
        try:
            for record in client.logs(request.project, query):
                breaks = 0
                yield from _news(record, marks)
            return
        except ManagerGone:
            breaks += 1
            if not request.is_follow or breaks > _TRIES:
                raise
            query = _resumed(request, marks, began_ns)


def _news(record: Document, marks: dict[str, _Mark]) -> Iterator[Document]:
    mark = marks.setdefault(str(record["container"]), _Mark())
    if "event" in record or mark.is_news(int(str(record["at_ns"]))):
        yield record


def _query(request: LogRequest) -> list[tuple[str, str]]:
    query = [("service", service) for service in request.services]
    query += [("follow", "1")] if request.is_follow else []
    query += [("tail", request.tail)] if request.tail != "all" else []
    query += [("since", request.since)] if request.since else []
    query += [("until", request.until)] if request.until else []
    return query


def _resumed(request: LogRequest, marks: dict[str, _Mark], began_ns: int) -> list[tuple[str, str]]:
    """Return the query that goes on after a break, and arm the marks to skip what was printed."""
    for mark in marks.values():
        mark.to_skip = mark.count
    since_ns = min((mark.at_ns for mark in marks.values()), default=began_ns)
    since = f"{since_ns // SECOND_NS}.{since_ns % SECOND_NS:09d}"
    return _query(request._replace(tail="all", since=since))
