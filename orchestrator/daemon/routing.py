"""Which handler answers which method and path, and which of the API's versions a client may ask
for. Pure.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from orchestrator.daemon.http import Handler, HttpError, Request

API_VERSION = "1.51"
"""The newest version of the Docker Engine API whose shapes we speak."""
MINIMUM_API_VERSION = "1.24"
"""The oldest: what has changed between the two does not touch the endpoints that are here."""

_VERSION_PREFIX = re.compile(r"/v(\d+)\.(\d+)(?=/|$)")
_PLACEHOLDER = re.compile(r"\{(\w+)(\*?)\}")


class _Route(NamedTuple):
    pattern: re.Pattern[str]
    handlers: dict[str, Handler]


class Router:
    """A table of patterns such as `/containers/{id}/json`; a placeholder is one path segment, `{name*}` one or more."""

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}
        self._streamed: set[tuple[str, str]] = set()

    def add(
        self, method: str, pattern: str, handler: Handler, *, is_streamed: bool = False
    ) -> None:
        """Register a handler; `GET` answers `HEAD` as well, unless it has its own.

        `is_streamed`: it reads the request's body itself, as `parts`, however long that is.
        """
        if is_streamed:
            self._streamed.add((method, pattern))
        route = self._routes.get(pattern)
        if route is None:
            expression = _PLACEHOLDER.sub(_segments, pattern)
            route = self._routes[pattern] = _Route(re.compile(expression), {})
        route.handlers[method] = handler
        if method == "GET":
            route.handlers.setdefault("HEAD", handler)

    def is_streamed(self, method: str, path: str) -> bool:
        """Tell whether the route of a request reads the body itself."""
        try:
            bare = _strip_version(path)
        except HttpError:
            return False
        return any(
            method == streamed and self._routes[pattern].pattern.fullmatch(bare)
            for streamed, pattern in self._streamed
        )

    def find(self, request: Request) -> tuple[Handler, Request]:
        """Return the handler and the request with its version prefix taken off and its parameters
        filled in.

        Raises HttpError: 400 for a version that we do not speak, 404, 405.
        """
        path = _strip_version(request.path)
        for route in self._routes.values():
            if match := route.pattern.fullmatch(path):
                handler = route.handlers.get(request.method)
                if handler is None:
                    raise HttpError(405, f"{request.method} is not allowed on {path}")
                parameters = {name: unquote(value) for name, value in match.groupdict().items()}
                return handler, replace(
                    request, path=unquote(path), parameters=MappingProxyType(parameters)
                )
        raise HttpError(
            404, f"page not found: {request.method} {path} is not part of this version's API"
        )


def _segments(placeholder: re.Match[str]) -> str:
    return f"(?P<{placeholder[1]}>{'.+' if placeholder[2] else '[^/]+'})"


def _strip_version(path: str) -> str:
    match = _VERSION_PREFIX.match(path)
    if match is None:
        return path
    asked = (int(match[1]), int(match[2]))
    text = f"{asked[0]}.{asked[1]}"
    if asked > _parse(API_VERSION):
        raise HttpError(
            400, f"client version {text} is too new. Maximum supported API version is {API_VERSION}"
        )
    if asked < _parse(MINIMUM_API_VERSION):
        raise HttpError(
            400,
            f"client version {text} is too old. "
            f"Minimum supported API version is {MINIMUM_API_VERSION}",
        )
    return path[match.end() :] or "/"


def _parse(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
