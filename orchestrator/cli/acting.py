"""The same thing done to several containers at once: which they are, who is told what, and all that failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from orchestrator.cli.target import is_running, members
from orchestrator.cli.work import WorkFailed
from orchestrator.client.api import no_container
from orchestrator.client.start import is_there
from orchestrator.errors import OrchestratorError
from orchestrator.ui.progress import QuietView
from orchestrator.ui.tables import container_name

if TYPE_CHECKING:
    from orchestrator.cli.settings import Settings
    from orchestrator.client.api import Client


class Chosen(NamedTuple):
    """One container that a verb is for."""

    id: str
    name: str
    said: str
    """As the user named it; the container's name where a service was named."""


def chosen(
    settings: Settings, client: Client, names: tuple[str, ...], *, is_live: bool = False
) -> tuple[Chosen, ...]:
    """Return the containers of these services (of all without names), or those with these ids or names.

    `is_live`: of services, those that run. Raises NotFoundError.
    """
    if settings.is_by_container:
        return named(client, names)
    found = members(client, settings).of(names)
    return tuple(
        Chosen(str(item["Id"]), container_name(item), container_name(item))
        for item in found
        if not is_live or is_running(item)
    )


def named(client: Client, names: Sequence[str]) -> tuple[Chosen, ...]:
    """Return the containers with these ids (or beginnings of them) or names. Raises NotFoundError, ApiError."""
    if not names:
        raise click.UsageError("give at least one container, by name or id")
    if not is_there(client.paths):
        raise no_container(names[0])
    found = []
    for name in names:
        document = client.inspect(name)
        found.append(Chosen(str(document["Id"]), str(document["Name"]).removeprefix("/"), name))
    return tuple(found)


def act_on_all(
    settings: Settings,
    verb: str,
    targets: Sequence[Chosen],
    act: Callable[[Chosen], object],
    *,
    words: tuple[str, str],
) -> None:
    """Do it to all at once, told as progress (or, by container, by printing each as it was named).

    Raises WorkFailed with a line for each that failed.
    """
    failures: dict[int, str] = {}

    def work(index: int, target: Chosen) -> None:
        try:
            act(target)
        except OrchestratorError as error:
            failures[index] = str(error)

    view = QuietView() if settings.is_by_container else settings.progress_view(verb)
    with view:
        threads = []
        for index, target in enumerate(targets):
            view.show(_record(target, "Working", words[0]))
            threads.append(threading.Thread(target=work, args=(index, target), daemon=True))
            threads[-1].start()
        for index, (thread, target) in enumerate(zip(threads, targets, strict=True)):
            thread.join()
            is_done = index not in failures
            told = ("Done", words[1]) if is_done else ("Error", "Error")
            view.show(_record(target, *told))
            if is_done and settings.is_by_container:
                print(target.said, flush=True)
    if failures:
        raise WorkFailed("\n".join(failures[index] for index in sorted(failures)))


def _record(target: Chosen, status: str, text: str) -> dict[str, object]:
    return {"id": f"Container {target.name}", "status": status, "text": text}
