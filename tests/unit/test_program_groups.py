"""Where the first process of a launch program is born: the v2 group among those that it joins first."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.container.init import _has_room
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
        ([["enter_cgroup", V1[1]], ["enter_cgroup", V2[1]]], "/sys/fs/cgroup/unified/t/c/a"),
    ],
)
def test_born_in(ops: list[lightjson.Json], born_in: str) -> None:
    document = lightjson.dumps({"version": 1, "flags": 0, "ops": [*ops, ["execute", ["true"]]]})
    assert prepare(document).group == born_in


def test_where_another_goes_on_there_must_be_room_for_two(tmp_path: Path) -> None:
    ops: list[lightjson.Json] = [["enter_cgroup", f"{tmp_path}/cgroup.procs"], ["enter_pids"]]
    document = lightjson.dumps({"version": 1, "flags": 0, "ops": [*ops, ["execute", ["true"]]]})
    prepared = prepare(document)
    assert (prepared.group, prepared.processes) == (str(tmp_path), 2)
    assert _has_room(prepared.group, 2)  # a group that counts none
    (tmp_path / "pids.current").write_text("3\n")
    for limit, has_room in (("max", True), ("5", True), ("4", False), ("3", False)):
        (tmp_path / "pids.max").write_text(f"{limit}\n")
        assert _has_room(prepared.group, 2) is has_room
