"""The manager's endpoints as methods. Documents stay plain dicts: most commands only print them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlencode

from orchestrator.client import start
from orchestrator.client.wire import ApiError, Reply, exchange
from orchestrator.errors import ManagerGone

if TYPE_CHECKING:
    from runtime.paths import Paths

Document: TypeAlias = Mapping[str, object]
"""A JSON object."""
Query: TypeAlias = Iterable[tuple[str, str]]


class Client:
    """One instance's manager. Every call is a connection of its own, so threads may share a client."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    @property
    def paths(self) -> Paths:
        return self._paths

    def project(self, name: str) -> Document | None:
        """Return what is known of a project and all its containers; None when that is nothing."""
        try:
            return _object(self.request("GET", f"/trice/v1/projects/{quote(name)}"))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def plan(self, name: str, body: Document) -> Document:
        return _object(self.request("POST", f"/trice/v1/projects/{quote(name)}/plan", body=body))

    def up(self, name: str, body: Document) -> Iterator[Document]:
        return self.stream("POST", f"/trice/v1/projects/{quote(name)}/up", body=body)

    def down(self, name: str, options: Document) -> Iterator[Document]:
        path = f"/trice/v1/projects/{quote(name)}/down"
        return self.stream("POST", path, body={"options": options})

    def stop(self, name: str, options: Document) -> Iterator[Document]:
        path = f"/trice/v1/projects/{quote(name)}/stop"
        return self.stream("POST", path, body={"options": options})

    def logs(self, name: str, query: Query) -> Iterator[Document]:
        return self.stream("GET", f"/trice/v1/projects/{quote(name)}/logs", query=query)

    def status(self) -> Document:
        return _object(self.request("GET", "/trice/v1/status"))

    def stop_everything(self) -> Iterator[Document]:
        return self.stream("POST", "/trice/v1/stop", body={})

    def images(self) -> tuple[Document, ...]:
        return _objects(self.request("GET", "/images/json"))

    def load_image(self, path: str) -> tuple[Document, ...]:
        return _objects(self.request("POST", "/trice/v1/images/load", body={"path": path}))

    def kill(self, container: str) -> None:
        self.request("POST", f"/containers/{quote(container)}/kill").close()

    def stream(
        self, method: str, path: str, *, body: object = None, query: Query = ()
    ) -> Iterator[Document]:
        """Send at once; yield the answer's NDJSON records."""
        reply = self.request(method, path, body=body, query=query)
        return (json.loads(line) for line in reply.lines())

    def request(self, method: str, path: str, *, body: object = None, query: Query = ()) -> Reply:
        """Raises ApiError, ManagerGone."""
        target = f"{path}?{urlencode(tuple(query))}" if query else path
        return exchange(start.reach(self._paths), method, target, body=body)


def _object(reply: Reply) -> Document:
    value = json.loads(reply.body())
    if not isinstance(value, dict):
        raise ManagerGone("the manager's answer is not what was asked for; is it another version?")
    return value


def _objects(reply: Reply) -> tuple[Document, ...]:
    value = json.loads(reply.body())
    if not isinstance(value, list):
        raise ManagerGone("the manager's answer is not what was asked for; is it another version?")
    return tuple(value)
