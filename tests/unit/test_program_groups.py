"""Where the first process of a launch program is born: the v2 group among those that it joins first."""

from __future__ import annotations

import pytest

from runtime.container.program import prepare
from runtime.linux import lightjson

V1 = ["join_cgroup", "/sys/fs/cgroup/cpu/t/c/a/tasks"]
V2 = ["join_cgroup", "/sys/fs/cgroup/unified/t/c/a/cgroup.procs"]


@pytest.mark.parametrize(
    ("ops", "born_in"),
    [
        ([V1, V2], "/sys/fs/cgroup/unified/t/c/a"),
        ([V2, V1], "/sys/fs/cgroup/unified/t/c/a"),
        ([V1], ""),
        ([], ""),
        ([["private"], V2], ""),  # not before what comes first
    ],
)
def test_born_in(ops: list[lightjson.Json], born_in: str) -> None:
    document = lightjson.dumps({"version": 1, "flags": 0, "ops": [*ops, ["execute", ["true"]]]})
    assert prepare(document).group == born_in
