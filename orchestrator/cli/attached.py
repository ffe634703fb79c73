"""Stay with a project's logs after `up`, until all containers have ended: first Ctrl-C stops, second kills."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from orchestrator.client.api import Client, Document
from orchestrator.client.follow import LogRequest, follow
from orchestrator.client.wire import ApiError
from orchestrator.errors import NotFoundError, OrchestratorError
from orchestrator.model.human import SECOND_NS
from orchestrator.model.project import Project, ServiceName
from orchestrator.ui.lines import LogPrinter
from orchestrator.ui.progress import ProgressView, QuietView
from orchestrator.ui.tables import container_name, label

_ENDING = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what service managers send."""
_NOT_RUNNING = 409
"""The status of a kill that came too late: what was to be, is."""


def shown_services(
    project: Project,
    services: tuple[str, ...],
    *,
    attach: tuple[str, ...],
    no_attach: tuple[str, ...],
    has_dependencies: bool,
) -> tuple[str, ...]:
    """Return the services whose logs an attached `up` of `services` (all for none) prints (§3, `up` 7).

    Those asked for by `attach` count although the stack file says `attach: false`. NotFoundError for a name that is no
    service.
    """
    for name in (*attach, *no_attach):
        if name not in project.services:
            raise NotFoundError(f"no such service: {name}")
    asked = attach or services or tuple(project.services)
    if has_dependencies:
        from orchestrator.plan.graph import closure, dependencies  # [lazy] with this flag alone

        asked = tuple(closure(map(ServiceName, asked), dependencies(project)))
    return tuple(
        sorted(
            name
            for name in set(asked) - set(no_attach)
            if name in attach or project.services[ServiceName(name)].is_attached
        )
    )


class Attached:
    """One attached `up`; its lines begin with the moment this was made."""

    def __init__(
        self,
        client: Client,
        project: str,
        services: tuple[str, ...],
        shown: tuple[str, ...],
        grace_s: float | None,
    ) -> None:
        """Of `services` (all for none) everything is stopped in the end; logs of `shown` are printed."""
        self._client = client
        self._project = project
        self._services = services
        self._shown = shown
        self._grace_s = grace_s
        self._began_ns = time.time_ns()
        self._interrupts = 0
        self._workers: list[threading.Thread] = []
        self._failures: list[OrchestratorError] = []
        self._view: ProgressView = QuietView()

    def stop(self) -> Iterator[Document]:
        """Stop the project's containers; they are kept."""
        options = {"services": list(self._services), "grace_s": self._grace_s, "cause": "Ctrl-C"}
        return self._client.stop(self._project, options)

    def follow(self, printer: LogPrinter, view: ProgressView) -> int:
        """Print lines until every container has ended; return the exit code. `view` shows how they are stopped."""
        self._view = view
        since = f"{self._began_ns // SECOND_NS}.{self._began_ns % SECOND_NS:09d}"
        request = LogRequest(
            project=self._project, services=self._shown, is_follow=True, since=since
        )
        before = {each: signal.signal(each, self._interrupt) for each in _ENDING}
        try:
            for record in follow(self._client, request):
                printer.show(record)
            for worker in self._workers:
                worker.join()
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
        if self._failures:
            raise self._failures[0]
        return 0

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Work in a thread: the lines that containers write while they end are still to be printed."""
        self._interrupts += 1
        if self._interrupts == 1:
            print("Gracefully Stopping... press Ctrl+C again to force", file=sys.stderr)
            self._begin(self._stop_all)
        elif self._interrupts == 2:
            self._begin(self._kill_all)

    def _begin(self, work: Callable[[], None]) -> None:
        worker = threading.Thread(target=self._guarded, args=(work,), daemon=True)
        self._workers.append(worker)
        worker.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OrchestratorError as error:
            self._failures.append(error)

    def _stop_all(self) -> None:
        for record in self.stop():
            if not record.get("end"):
                self._view.show(record)
            elif not record.get("ok"):
                raise OrchestratorError(str(record.get("error")))

    def _kill_all(self) -> None:
        view = self._client.project(self._project) or {}
        containers = view.get("containers")
        for item in containers if isinstance(containers, list) else []:
            is_ours = not self._services or label(item, "service") in self._services
            if is_ours and item["State"] in {"running", "paused"}:
                self._kill(container_name(item))

    def _kill(self, container: str) -> None:
        try:
            self._client.kill(container)
        except ApiError as error:
            if error.status != _NOT_RUNNING:
                raise
