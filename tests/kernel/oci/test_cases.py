"""Every case of the OCI runtime-spec, on the real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.oci.case import CONFIG, Case, Refused, Says, Story
from tests.kernel.oci.cases import CASES
from tests.support.needs import needs
from tests.support.oci import Oci, oci_in

pytestmark = needs("root", "busybox")


def _parameter(case: Case) -> object:
    marks = [needs(*case.needs)] if case.needs else []
    return pytest.param(
        case, id=case.id, marks=[*marks, *([pytest.mark.vm] if case.is_for_vm else [])]
    )


@pytest.fixture
def oci(root_dir: Path) -> Iterator[Oci]:
    with oci_in(root_dir, CONFIG) as runtime:
        yield runtime


@pytest.mark.parametrize("case", [_parameter(case) for case in CASES])
def test_the_specification(oci: Oci, case: Case) -> None:
    match case:
        case Says():
            if case.script:
                oci.run_args("sh", "-c", case.script)
            oci.put(case.config)
            assert oci.run(code=case.code) == case.expected
        case Refused():
            oci.put(case.config)
            said = oci.create(code=1)
            assert said.startswith("trice-runtime: ")
            assert said.count("\n") == 1
            assert case.says in said
        case Story():
            oci.put(case.config)
            case.tell(oci)
    if not isinstance(case, Story):
        assert oci.groups() == []
        assert oci.bundles() == []
