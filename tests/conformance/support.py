"""docs/compose-support.md: what trice does with every key of the stack file, and which tests show it.

    python -m tests.conformance.support > docs/compose-support.md

The keys come from the vocabulary, what is done with them from `orchestrator.load.support`, the tests from the mark
`proves`. A key in none of the three standings, a key in force that no test shows and a mark on a key that is not in
force are faults: they are told on stderr, and nothing is written.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pytest

from orchestrator.load.shapes import Items, OneOf, Record, Shape, Table
from orchestrator.load.support import InForce, Kept, Refused, Standing, support_on
from orchestrator.load.tree import PathTable
from orchestrator.load.vocabulary import STACK

FOLDERS = ("tests/kernel", "tests/e2e", "tests/security")
"""Where tests ask the kernel."""

Proofs = Mapping[str, tuple[str, ...]]
"""Ids of tests by key."""


class Row(NamedTuple):
    """A key, what is done with it, and where it is said: at the key itself or at one above it."""

    key: str
    standing: Standing | None
    said_at: str


def keys_of(shape: Shape, path: str = "") -> Iterator[str]:
    """Give every key that the vocabulary names, in its order: `services.*.ports.*.target`."""
    if isinstance(shape, OneOf):
        for part in shape.shapes:
            yield from keys_of(part, path)
    elif isinstance(shape, Items):
        yield from keys_of(shape.item, f"{path}.*")
    elif isinstance(shape, Table):
        yield from keys_of(shape.value, f"{path}.*")
    elif isinstance(shape, Record):
        for name, key in shape.keys.items():
            below = f"{path}.{name}" if path else name
            yield below
            yield from keys_of(key.shape, below)


def rows(table: PathTable[Standing], shape: Shape = STACK) -> tuple[Row, ...]:
    """Return every key that has a value of its own, with its standing; None for one without."""
    keys = tuple(dict.fromkeys(keys_of(shape)))
    return tuple(
        row
        for row in (_row(key, table) for key in keys)
        if row.standing is not None or not any(key.startswith(f"{row.key}.") for key in keys)
    )


def _row(key: str, table: PathTable[Standing]) -> Row:
    """The nearest standing at or above the key; else that of all its entries."""
    found = Row(key, None, key)
    walked: list[str] = []
    here: PathTable[Standing] | None = table
    for part in key.split("."):
        here = here.step(part) if here is not None else None
        walked.append(part)
        if here is not None and here.value is not None:
            found = Row(key, here.value, ".".join(walked))
    entries = here.step("*") if here is not None else None
    if found.standing is None and entries is not None and entries.value is not None:
        return Row(key, entries.value, key)
    return found


def proofs() -> Proofs:
    """Return the tests that carry the mark, by collecting them: their modules are imported."""
    found: dict[str, list[str]] = defaultdict(list)

    class Collector:
        @staticmethod
        def pytest_collection_finish(session: pytest.Session) -> None:
            for item in session.items:
                for key in (key for mark in item.iter_markers("proves") for key in mark.args):
                    found[key].append(item.nodeid)

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(
            ["--collect-only", "-q", "-p", "no:cacheprovider", *FOLDERS], [Collector()]
        )
    if code is not pytest.ExitCode.OK:
        raise SystemExit(f"the tests cannot be collected:\n{said.getvalue()}")
    return {key: tuple(ids) for key, ids in found.items()}


def shown_by(key: str, shown: Proofs) -> tuple[str, ...]:
    """Return the tests of a key: its own, or those of keys below it, which it is there for."""
    own = shown.get(key, ())
    below = (ids for other, ids in sorted(shown.items()) if other.startswith(f"{key}."))
    return own or tuple(dict.fromkeys(each for ids in below for each in ids))


def faults(table: Iterable[Row], shown: Proofs) -> list[str]:
    """Return what keeps the page from being true."""
    table = tuple(table)
    in_force = {row.key for row in table if isinstance(row.standing, InForce)}
    lacking = [f"{row.key}: in none of the three" for row in table if row.standing is None]
    unproved = [
        f"{key}: in force, and no test shows it" for key in in_force if not shown_by(key, shown)
    ]
    stray = [
        f"{key}: said to be shown by {ids[0]}, and not in force"
        for key, ids in shown.items()
        if key not in in_force and f"{key}.*" not in in_force
    ]
    return lacking + sorted(unproved) + sorted(stray)


# The page

_HEAD = """\
# What trice does with every key of a stack file

Every key of the format is in one of three standings, and never ignored:

* **in force**: trice does it, and the test that is named beside it asks the kernel whether it does;
* **refused**: trice does not do it, and `up` says so with the place (`compose.yaml:7:5: services.web.ports: …`) and
  begins nothing. `config` shows the file all the same, with a warning;
* **kept**: nothing that `up` does on this machine depends on it. It is checked, shown by `config`, and a warning says
  that it has no effect.

`x-…` keys are kept and mean nothing, as the format has it. This page is made of the table that the loader itself goes
by, `orchestrator/load/support.py`: `python -m tests.conformance.support > docs/compose-support.md`.
"""
_TITLES = {
    "services.*.build": "Building an image",
    "services.*.deploy": "Deploying",
    "services.*.develop": "Developing",
    "services.*": "Services",
    "networks": "Networks",
    "volumes": "Volumes",
    "configs": "Configs",
    "secrets": "Secrets",
    "models": "Models",
    "": "The top level",
}
_ORDER = ("The top level", "Services", "Building an image", "Deploying", "Developing")


def page(table: Iterable[Row], shown: Proofs) -> str:
    """Return the whole document."""
    parts: dict[str, list[Row]] = {title: [] for title in (*_ORDER, *_TITLES.values())}
    for row in table:
        parts[next(title for at, title in _TITLES.items() if _is_in(row.key, at))].append(row)
    return _HEAD + "".join(
        f"\n## {title}\n\n| key | standing | why, or which test shows it |\n|---|---|---|\n{''.join(_lines(own, shown))}"
        for title, own in parts.items()
        if own
    )


def _is_in(key: str, section: str) -> bool:
    return not section or key == section or key.startswith(f"{section}.")


def _lines(table: Iterable[Row], shown: Proofs) -> Iterator[str]:
    """A line a key; what is refused or kept as a whole is one line with all that is below it."""
    wholes: dict[str, list[Row]] = defaultdict(list)
    for row in table:
        is_whole = not isinstance(row.standing, InForce) and row.said_at != row.key
        wholes[row.said_at if is_whole else row.key].append(row)
    for key, own in wholes.items():
        first, *below = own if own[0].key == key else [own[0]._replace(key=key), *own]
        named = ", ".join(f"`{row.key.removeprefix(f'{key}.')}`" for row in below)
        also = f"<br>{named}" if named else ""
        word, says = _says(first, shown)
        yield f"| `{_short(key)}`{also} | {word} | {says} |\n"


def _short(key: str) -> str:
    return key.removeprefix("services.*.")


def _says(row: Row, shown: Proofs) -> tuple[str, str]:
    match row.standing:
        case InForce(without=without):
            links = ", ".join(_link(node) for node in shown_by(row.key, shown)[:2])
            return "in force", f"{f'without {without}; ' if without else ''}{links}"
        case Refused(why=why, but=but):
            return "refused", f"{why}{f'. Taken: {but}' if but else ''}"
        case Kept(why=why, but=but):
            return "kept", f"{why}{f'. Not warned of: {but}' if but else ''}"
        case None:
            return "?", ""


def _link(node: str) -> str:
    """A link to the test's file, by what the test says of itself: its case in a table, or its name."""
    file, _, name = node.partition("::")
    test, _, case = name.removesuffix("]").partition("[")
    says = case or test.removeprefix("test_").replace("_", " ")
    return f"[{says}](../{file})".replace("|", "\\|")


def main() -> int:
    table, shown = rows(support_on("")), proofs()
    if wrong := faults(table, shown):
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    sys.stdout.write(page(table, shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
