"""The manager's endpoints as methods. Documents stay plain dicts: most commands only print them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlencode

from orchestrator.client import start
from orchestrator.client.wire import ApiError, Reply, exchange, upgrade
from orchestrator.errors import ManagerGone, NotFoundError

if TYPE_CHECKING:
    import socket

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

    def work(self, name: str, verb: str, options: Document) -> Iterator[Document]:
        """POST one of the verbs on a project's services: start, restart, rm."""
        path = f"/trice/v1/projects/{quote(name)}/{verb}"
        return self.stream("POST", path, body={"options": options})

    def create(self, name: str, body: Document) -> Iterator[Document]:
        return self.stream("POST", f"/trice/v1/projects/{quote(name)}/create", body=body)

    def run(self, name: str, body: Document) -> Iterator[Document]:
        return self.stream("POST", f"/trice/v1/projects/{quote(name)}/run", body=body)

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

    def image(self, name: str) -> Document:
        return _object(self.request("GET", f"/images/{quote(name)}/json"))

    def remove_image(self, name: str, *, force: bool = False) -> tuple[Document, ...]:
        """Return what became of it: `Untagged` or `Deleted`, each with a name or an id."""
        query = [("force", "1")] if force else []
        return _objects(self.request("DELETE", f"/images/{quote(name)}", query=query))

    def kill(self, container: str, signal: str = "SIGKILL") -> None:
        self.act(container, "kill", [("signal", signal)])

    def act(self, container: str, verb: str, query: Query = ()) -> int:
        """POST one of the verbs on a container; return the answer's status (304: it was so already)."""
        reply = self.request("POST", f"/containers/{quote(container, safe='')}/{verb}", query=query)
        reply.close()
        return reply.status

    def remove(self, container: str, *, force: bool = False, volumes: bool = False) -> None:
        query = [("force", "1")] if force else []
        query += [("v", "1")] if volumes else []
        path = f"/containers/{quote(container, safe='')}"
        self.request("DELETE", path, query=query).close()

    def inspect(self, container: str) -> Document:
        if not container:  # which would make another path of it
            raise no_container(container)
        return _object(self.request("GET", f"/containers/{quote(container, safe='')}/json"))

    def containers(
        self, *, is_all: bool = True, filters: Document | None = None
    ) -> tuple[Document, ...]:
        query = [("all", "1")] if is_all else []
        query += [("filters", json.dumps(filters))] if filters else []
        return _objects(self.request("GET", "/containers/json", query=query))

    def volumes(self, filters: Document | None = None) -> tuple[Document, ...]:
        query = [("filters", json.dumps(filters))] if filters else []
        found = self.get("/volumes", query)["Volumes"]
        return tuple(found) if isinstance(found, list) else ()

    def remove_volume(self, name: str) -> None:
        self.request("DELETE", f"/volumes/{quote(name, safe='')}").close()

    def projects(self) -> tuple[Document, ...]:
        return _objects(self.request("GET", "/trice/v1/projects"))

    def get(self, path: str, query: Query = ()) -> Document:
        """GET one JSON object."""
        return _object(self.request("GET", path, query=query))

    def post(self, path: str, body: Document) -> Document:
        """POST one JSON object for another."""
        return _object(self.request("POST", path, body=body))

    def open_stream(
        self, path: str, *, body: Document, query: Query = ()
    ) -> tuple[socket.socket, bytes, bool]:
        """Return a raw stream, what of it is here already, and whether it is multiplexed."""
        connection = start.reach(self._paths)
        target = f"{path}?{urlencode(tuple(query))}" if query else path
        early, is_multiplexed = upgrade(connection, target, body=body)
        return connection, early, is_multiplexed

    def send(self, method: str, path: str, parts: Iterable[bytes], query: Query = ()) -> Reply:
        """Send a body bit by bit."""
        target = f"{path}?{urlencode(tuple(query))}" if query else path
        return exchange(start.reach(self._paths), method, target, parts=parts)

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


def no_container(name: str) -> NotFoundError:
    """Return the error for a container that is not there; that no name was given is seen, too."""
    shown = name or '""'
    return NotFoundError(f"no such container: {shown}")


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
