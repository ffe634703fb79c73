"""`python -m tests.conformance`: every case and generated stacks, by trice and by the reference tool.

--oracle FILE   the reference tool's program
--stacks N      how many stacks are generated (default 150)
--seed N        of the generator; the same seed makes the same stacks (default 1)
--only TEXT     only cases with this in their id
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.generate import stacks
from tests.conformance.known import KNOWN, explained
from tests.conformance.oracle import Tools, both, differences

TRICE = Path(sys.executable).with_name("trice")


def main() -> int:
    """Compare, and print what nothing explains. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--oracle", type=Path, required=True)
    parser.add_argument("--stacks", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    tools = Tools(TRICE, given.oracle)
    cases = [case for case in (*CASES, *stacks(given.seed, given.stacks)) if given.only in case.id]
    used: set[str] = set()
    complaints = 0
    with ThreadPoolExecutor(2) as pool:
        for case, found in zip(
            cases, pool.map(lambda case: judge(case, tools), cases), strict=True
        ):
            used |= found.used
            for line in found.complaints:
                complaints += 1
                print(f"{case.id}: {line}")
    unused = set() if given.only else KNOWN.keys() - used
    for key in sorted(unused):
        print(f"known.py: nothing shows the difference {key} any more")
    print(f"{len(cases)} stacks, {complaints} unexplained differences, {len(used)} explained kinds")
    return 1 if complaints or unused else 0


class Judgement:
    """What came of one case."""

    def __init__(self, complaints: Iterable[str] = (), used: Iterable[str] = ()) -> None:
        self.complaints = list(complaints)
        self.used = set(used)


def judge(case: Case, tools: Tools) -> Judgement:
    """Return what about the two answers nothing explains."""
    ours, theirs = both(case, tools)
    found = list(differences(ours.document, theirs.document))
    if case.differs:
        if not found:
            return Judgement([f"does not differ, though it is said to ({case.differs})"])
        return Judgement(used=[case.differs])
    if ours.document is None and theirs.document is None:
        return Judgement()
    if ours.document is None:
        return Judgement([f"only trice refuses it: {ours.error}"])
    if theirs.document is None:
        return Judgement([f"only the reference tool refuses it: {theirs.error}"])
    complaints = [str(difference) for difference in found if not explained(difference)]
    return Judgement(complaints, {explained(difference) for difference in found} - {""})


if __name__ == "__main__":
    sys.exit(main())
