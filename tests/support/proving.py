"""Which keys of the stack file a test shows in force: what docs/compose-support.md links to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from orchestrator.load.vocabulary.service import SERVICE


def proves(*keys: str) -> pytest.MarkDecorator:
    """Return the mark for keys of a service: `proves("mem_limit", "devices.*.source")`."""
    return pytest.mark.proves(*(f"services.*.{key}" for key in keys))


def cases(names: Iterable[str]) -> list[object]:
    """Return parameters for cases whose names begin with the keys that they show, as in `user by name`."""
    keys = {name: tuple(_leading_keys(name)) for name in names}
    return [pytest.param(name, marks=[proves(*keys[name])] if keys[name] else []) for name in keys]


def _leading_keys(name: str) -> Iterator[str]:
    for word in name.split(" "):
        if word.split(".")[0] not in SERVICE.keys:
            return
        yield word
