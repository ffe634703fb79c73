"""Show a command's progress stream and turn its last record into success or an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.errors import ManagerEnded, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.client.api import Document
    from orchestrator.ui.progress import ProgressView


class WorkFailed(OrchestratorError):
    """The manager could not do what was asked; the message is its own."""


def show_work(records: Iterable[Document], view: ProgressView) -> Document:
    """Show all records; return the last one. Raises WorkFailed, ManagerEnded."""
    last: Document = {}
    with view, contextlib.suppress(ManagerEnded):  # its last record is then missing, too
        for last in records:
            if not last.get("end"):
                view.show(last)
    if not last.get("end"):
        raise ManagerEnded(
            "the manager ended before the work was done; it goes on with it when it is back: see `trice ps`"
            " (not where images were still being made: say it again then)"
        )
    if not last.get("ok"):
        raise WorkFailed(str(last.get("error") or "failed"))
    return last
