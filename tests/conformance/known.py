"""Where trice and the reference tool of the oracle differ, and why: `docs/compose-differences.md`.

The format reference describes a newer revision than the oracle's v2.40; where they disagree the
reference is right. A difference that nothing shows any more is an error of this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.conformance.oracle import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One difference. `where` is a regular expression for dotted paths; empty: by case alone."""

    what: str
    why: str
    where: str = ""
    explains: Callable[[object, object], bool] = lambda _ours, _theirs: True


def explained(difference: Difference) -> str:
    """Return the key of the difference in the table, empty when it has none."""
    path = ".".join(difference.path)
    for key, known in KNOWN.items():
        is_there = known.where and re.fullmatch(known.where, path)
        if is_there and known.explains(difference.ours, difference.theirs):
            return key
    return ""


def _only_theirs(*values: object) -> Callable[[object, object], bool]:
    return lambda ours, theirs: ours is None and any(theirs == value for value in values)


KNOWN: dict[str, Known] = {
    "create-host-path": Known(
        what="`bind.create_host_path: true` is not shown",
        why="It is the default; the newer revision shows it only when it is false.",
        where=r"services\.[^.]+\.volumes\.\d+\.bind\.create_host_path",
        explains=_only_theirs(True),
    ),
    "empty-blocks": Known(
        what="no empty `ipam`, `placement`, `resources`, `exec`",
        why="They say nothing; zero, false and empty values are left out.",
        where=r"(networks\.[^.]+\.ipam|services\.[^.]+\.(deploy\.(placement|resources)|develop\.watch\.\d+\.exec))",
        explains=_only_theirs({}, {"command": None}),
    ),
    "service-extensions": Known(
        what="`x-*` keys of services and below are in the JSON form too",
        why="The format keeps extensions; the older tool writes them to YAML alone.",
        where=r"(services|networks|volumes|configs|secrets)\..*\.x-[^.]+",
        explains=lambda _ours, theirs: theirs is None,
    ),
}


def document() -> str:
    """Return docs/compose-differences.md."""
    rows = "".join(f"| {known.what} | {known.why} |\n" for known in KNOWN.values())
    return _HEAD + rows


_HEAD = """\
# Where trice and docker compose v2.40 give something else

`make conformance` runs `trice config --format json` and that tool over every conformance case and over generated
stacks, and compares the documents. What follows is all that they do not have in common. Both directions are held:
a difference that is not here fails the run, and so does a line here that nothing shows.

This page is made from `tests/conformance/known.py`: `python -m tests.conformance.known > docs/compose-differences.md`.

| what trice does | why |
|---|---|
"""

if __name__ == "__main__":
    import sys

    sys.stdout.write(document())
