"""Which devices a group may use: by eBPF program and by the devices controller of v1, held to the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.api import Limits
from runtime.cgroup import Group, Hierarchy
from runtime.cgroup.v2.devices import allows_everything, compile_rules
from runtime.container.profile import DEFAULT_DEVICE_RULES
from runtime.errors import InvalidSpec
from runtime.spec.config import DeviceRule
from tests.support.needs import needs

pytestmark = needs("root")

NULL, ZERO, FULL = "/dev/null", "/dev/zero", "/dev/full"
TRY = """
import os, sys
for path, how in (pair.split("=") for pair in sys.argv[1:]):
    try:
        if how == "m":
            os.mknod(path, 0o020600, os.makedev(1, 5)); os.unlink(path)
        else:
            os.close(os.open(path, {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}[how]))
        print("yes")
    except PermissionError:
        print("no")
"""


def tried(group: Group, *asked: str) -> list[str]:
    """Return yes or no for each "path=how", asked by a process in the group."""
    enter = "; ".join(f"echo $$ > {path}" for path in group.procs_files)
    command = f"{enter}; exec {sys.executable} -I -S -c '{TRY}' {' '.join(asked)}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.split()


def rule(
    allow: bool, kind: str | None = None, *numbers: int | None, access: str = "rwm"
) -> DeviceRule:
    major, minor = (*numbers, None, None)[:2]
    return DeviceRule(allow=allow, type=kind, major=major, minor=minor, access=access)


CASES: dict[str, tuple[Sequence[DeviceRule], dict[str, str]]] = {
    "nothing": ((rule(False),), {f"{NULL}=r": "no", f"{NULL}=w": "no"}),
    "one device, to read": (
        (rule(False), rule(True, "c", 1, 3, access="r")),
        {f"{NULL}=r": "yes", f"{NULL}=w": "no", f"{NULL}=rw": "no", f"{ZERO}=r": "no"},
    ),
    "a whole major number": (
        (rule(False), rule(True, "c", 1, None)),
        {f"{NULL}=rw": "yes", f"{ZERO}=rw": "yes"},
    ),
    "access of two rules": (
        (rule(False), rule(True, "c", 1, 3, access="r"), rule(True, "c", 1, 3, access="w")),
        {f"{NULL}=rw": "yes"},
    ),
    "of the other type": ((rule(False), rule(True, "b", 1, 3)), {f"{NULL}=r": "no"}),
    "the defaults": (
        DEFAULT_DEVICE_RULES,
        {f"{NULL}=rw": "yes", f"{FULL}=rw": "yes", "/dev/loop-control=r": "no"},
    ),
    "everything": ((rule(False), rule(True)), {f"{NULL}=rw": "yes", "/dev/loop-control=r": "yes"}),
}


@pytest.mark.vm
@pytest.mark.parametrize("case", CASES)
def test_rules_are_in_force(hierarchy: Hierarchy, case: str) -> None:
    rules, expected = CASES[case]
    group = hierarchy.create("devices", Limits(), devices=rules)
    asked = {pair: answer for pair, answer in expected.items() if Path(pair.split("=")[0]).exists()}
    assert tried(group, *asked) == list(asked.values())
    group.remove()


@pytest.mark.vm
def test_making_a_node_is_an_access_of_its_own(hierarchy: Hierarchy, root_dir: Path) -> None:
    node = f"{root_dir}/node=m"
    for access, answer in (("rw", "no"), ("m", "yes")):
        rules = (rule(False), rule(True, "c", 1, 5, access=access))
        group = hierarchy.create("nodes", Limits(), devices=rules)
        assert tried(group, node) == [answer]
        group.remove()


@pytest.mark.vm
def test_rules_of_a_group_that_is_there_are_replaced(hierarchy: Hierarchy) -> None:
    hierarchy.create("again", Limits(), devices=(rule(False),))
    group = hierarchy.create("again", Limits(), devices=(rule(False), rule(True, "c", 1, 3)))
    assert tried(group, f"{NULL}=rw") == ["yes"]
    group.remove()


@pytest.mark.vm
def test_without_rules_nothing_is_said(hierarchy: Hierarchy) -> None:
    group = hierarchy.create("free", Limits())
    assert tried(group, f"{NULL}=rw") == ["yes"]
    assert not [path for path in group.procs_files if path.startswith("/sys/fs/cgroup/devices/")]
    group.remove()


def test_a_rule_that_is_none() -> None:
    for bad in (rule(True, "x"), rule(True, "c", 1, 3, access="z")):
        with pytest.raises(InvalidSpec, match="devices"):
            compile_rules((bad,))
    assert allows_everything((rule(False), rule(True)))
    assert not allows_everything((rule(True, "c"),))
    assert not allows_everything((rule(True), rule(False, "c", 1, 3)))
    assert not allows_everything(())


def test_programs_leave_nothing(hierarchy: Hierarchy) -> None:
    """A program goes with its group: no descriptor of it stays with us."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        hierarchy.create("many", Limits(), devices=DEFAULT_DEVICE_RULES).remove()
    assert len(os.listdir("/proc/self/fd")) == before
