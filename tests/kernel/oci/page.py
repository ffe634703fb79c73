"""docs/oci-conformance.md, made of the cases: `python -m tests.kernel.oci.page > docs/oci-conformance.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.kernel.oci.case import Case, Refused
from tests.kernel.oci.cases import CASES
from tests.kernel.oci.differences import DIFFERENCES

HEAD = """\
# trice-runtime and the OCI runtime-spec

Every line below is a test of `tests/kernel/oci`, named after the part of the specification (1.0 to 1.2) that it is
about: each runs `trice-runtime` on a real bundle and asks the process inside, or /proc and /sys from outside. Lines
that begin with "error:" are configs that must be refused, with one line that says why, and nothing left behind.

This page is made from these tables: `python -m tests.kernel.oci.page > docs/oci-conformance.md`.

## Differences

What the specification says otherwise, or leaves to the runtime and trice-runtime does not have.

| what trice-runtime does | why |
|---|---|
"""


def document() -> str:
    """Return the page."""
    return "".join((HEAD, *_differences(), "\n## Cases\n", *_sections()))


def _differences() -> Iterator[str]:
    for difference in DIFFERENCES.values():
        yield f"| {difference.what} | {difference.why} |\n"


def _sections() -> Iterator[str]:
    by_section: dict[str, list[Case]] = {}
    for case in CASES:
        by_section.setdefault(case.section, []).append(case)
    for section, cases in by_section.items():
        yield f"\n### {section}\n\n"
        yield from map(_line, cases)


def _line(case: Case) -> str:
    words = f"error: {case.demand}" if isinstance(case, Refused) else case.demand
    notes = [f"needs {', '.join(case.needs)}"] if case.needs else []
    notes += ["a difference"] if case.differs else []
    return f"- {words}{f' ({chr(59).join(notes)})' if notes else ''}\n"


if __name__ == "__main__":
    sys.stdout.write(document())
