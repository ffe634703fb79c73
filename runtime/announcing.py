"""Who listens to the runtime, and the events that they are told. One list; called from any thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from runtime.api import ImageState, RuntimeEvent
from runtime.records import Record

log = logging.getLogger(__name__)

Listener = Callable[[RuntimeEvent], None]


class Announcer:
    """Tells every listener of every event, in the thread in which it happened."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every event from now on; return the way to end it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def container(self, action: str, record: Record, **attributes: str) -> None:
        """Tell what happened to a container."""
        request = record.request
        labels = {**request.labels, "image": request.image_reference, **attributes}
        self._tell(
            RuntimeEvent(
                action=action,
                kind="container",
                id=record.id,
                name=request.name,
                at_ns=time.time_ns(),
                attributes=labels,
            )
        )

    def image(self, action: str, image: ImageState) -> None:
        """Tell what happened to an image."""
        name = image.references[0] if image.references else image.id
        self._tell(
            RuntimeEvent(action=action, kind="image", id=image.id, name=name, at_ns=time.time_ns())
        )

    def volume(self, action: str, name: str) -> None:
        """Tell what happened to a volume."""
        self._tell(
            RuntimeEvent(action=action, kind="volume", id=name, name=name, at_ns=time.time_ns())
        )

    def daemon(self, action: str) -> None:
        """Tell what happened to the processes that look after everything."""
        self._tell(RuntimeEvent(action=action, kind="daemon", id="", name="", at_ns=time.time_ns()))

    def _tell(self, event: RuntimeEvent) -> None:
        log.info("%s %s %s", event.kind, event.action, event.name)
        for listener in tuple(self._listeners):
            listener(event)
