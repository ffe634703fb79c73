"""trice where systemd is pid 1: everything below units of its own, which guard it and never end a container.

systemd is real (tests.support.systemd_box); what it did is read from cgroupfs and /proc, from outside.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.busybox import busybox_archive
from tests.support.leaks import Ours
from tests.support.needs import needs
from tests.support.systemd_box import SystemdBox, systemd_box
from tests.support.waiting import eventually

pytestmark = [
    needs("root", "overlay", "busybox", "systemd"),
    pytest.mark.timeout(120),
    pytest.mark.vm,
]

STACK = """
name: units
services:
  one:
    image: busybox:test
    command: ["sleep", "1000"]
    mem_limit: 32m
    pids_limit: 20
    stop_grace_period: 0s
"""


@pytest.fixture
def box(root_dir: Path) -> Iterator[SystemdBox]:
    with systemd_box(root_dir) as found:
        prepare(found, root_dir)
        yield found


def prepare(box: SystemdBox, root: Path) -> None:
    """Bring the stack up, with an instance's first keeper."""
    (root / "compose.yaml").write_text(STACK)
    busybox_archive(root / "busybox.tar", reference="busybox:test")
    box.trice("image", "load", "busybox.tar", root=root).ok()
    box.trice("up", "-d", root=root).ok()


def pids_in(folder: Path) -> frozenset[int]:
    found = [file.read_text().split() for file in folder.rglob("cgroup.procs")]
    return frozenset(int(word) for words in found for word in words)


def words_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")


class Seen:
    """The instance's processes, by the group that the kernel has them in (v2 or hybrid: its unified hierarchy)."""

    def __init__(self, scope: Path) -> None:
        own = pids_in(scope / "system")
        self.keepers = {pid for pid in own if "runtime.keeper.main" in words_of(pid)}
        self.managers = {
            pid for pid in own if "orchestrator.daemon" in words_of(pid)
        } - self.keepers
        self.others = own - self.keepers - self.managers
        self.containers = {
            folder.name: pids_in(folder) for folder in (scope / "c").iterdir() if folder.is_dir()
        }


def unified_of(box: SystemdBox) -> Path:
    """Return the scope's group in the v2 hierarchy."""
    groups = box.groups(f"{box.name}.scope").values()
    (found,) = [group for group in groups if (group / "cgroup.events").exists()]
    return found


def looked_after(box: SystemdBox) -> Seen | None:
    """Return the instance's processes once one keeper and one manager run and answer."""
    seen = Seen(unified_of(box))
    is_whole = len(seen.keepers) == len(seen.managers) == 1 and not seen.others
    return seen if is_whole and (box.root / "run/api.sock").exists() else None


def limits(scope: Path, box: SystemdBox) -> set[str]:
    """Return the text of the one container's limits, from whichever hierarchy has them."""
    names = ("memory.max", "memory.limit_in_bytes", "pids.max")
    found = [
        folder / name
        for group in box.groups(scope.name).values()
        for folder in (group / "c").iterdir()
        for name in names
    ]
    return {file.read_text().strip() for file in found if file.exists()}


def test_all_of_it_sits_below_a_delegated_unit_and_stays_there(box: SystemdBox) -> None:
    """Keeper and manager in a leaf, the container beside it, in every hierarchy that systemd looks after."""
    scope, service = f"{box.name}.scope", f"{box.name}.service"
    assert box.shown(scope, "Delegate", "KillMode", "ActiveState") == ("yes", "process", "active")
    assert box.shown(service, "Delegate", "KillMode", "Restart") == ("yes", "process", "on-failure")
    before = eventually(lambda: looked_after(box))
    ((container, pids),) = before.containers.items()
    assert len(pids) == 1
    for at, group in box.groups(scope).items():
        # a v1 hierarchy without a limit of its own has the container beside the keeper
        is_limited = (group / "c" / container).is_dir()
        beside = frozenset() if is_limited else pids
        assert pids_in(group / "system") == before.keepers | before.managers | beside, at
        assert pids_in(group / "c") == pids - beside, at
        assert pids_in(group) == before.keepers | before.managers | pids, at
    # and where systemd looks after nothing, below groups of its own: nowhere among the starter's
    for pid in before.keepers | before.managers:
        rows = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        assert all(row.endswith("/system") for row in rows), rows
    assert limits(unified_of(box), box) == {str(32 << 20), "20"}

    box.run("systemctl", "daemon-reload").ok()
    box.run("systemctl", "daemon-reexec").ok()
    eventually(lambda: box.run("systemctl", "is-system-running").code == 0, timeout_s=10)
    assert vars(Seen(unified_of(box))) == vars(before)
    assert limits(unified_of(box), box) == {str(32 << 20), "20"}

    box.trice("system", "stop").ok()
    eventually(lambda: not box.groups(scope) and not box.groups(service), what="no group is left")
    assert not box.run("systemctl", "list-units", "--all", "--quiet", "--plain", "trice*").ok().out


def test_its_units_stop_and_start_without_a_container_noticing(box: SystemdBox) -> None:
    """`systemctl stop` ends keeper and manager alone; whoever comes next adopts; systemd is the third guard."""
    service = f"{box.name}.service"
    first = eventually(lambda: looked_after(box))

    box.run("systemctl", "restart", service).ok()
    second = eventually(lambda: looked_after(box), timeout_s=10)
    assert second.containers == first.containers
    assert not second.keepers & first.keepers
    assert not second.managers & first.managers

    box.run("systemctl", "stop", service).ok()
    seen = Seen(unified_of(box))
    assert (seen.keepers, seen.managers, seen.containers) == (set(), set(), first.containers)
    assert "Up" in box.trice("ps").ok().out
    third = eventually(lambda: looked_after(box), timeout_s=10)
    assert third.containers == first.containers

    for pid in third.keepers | third.managers:  # nobody of ours is left to start the other
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: box.shown(service, "NRestarts") == ("1",), timeout_s=10)
    fourth = eventually(lambda: looked_after(box), timeout_s=10)
    assert fourth.containers == first.containers
    assert box.shown(service, "ActiveState") == ("active",)
    assert limits(unified_of(box), box) == {str(32 << 20), "20"}
    box.trice("down").ok()
    assert not Seen(unified_of(box)).containers
    box.trice("system", "stop").ok()


ALONE = """
cd /sys/fs/cgroup/system.slice/alone.service
mkdir system c
echo 0 >system/cgroup.procs
echo +memory >cgroup.subtree_control
sh -c 'echo 0 >c/cgroup.procs; exec sleep 1000' &
until grep -q . c/cgroup.procs; do :; done
exec sleep 1000
"""


@needs("cgroup_v2")
def test_why_there_are_two_units(root_dir: Path) -> None:
    """A service with its containers below it cannot be started again while one lives.

    When this fails systemd has learnt it, and one unit would do.
    """
    with systemd_box(root_dir) as box:
        options = ["--unit=alone", "--property=Delegate=yes", "--property=KillMode=process"]
        box.run("systemd-run", *options, "sh", "-c", ALONE.replace("$", "$$")).ok()
        group = box.groups("alone.service")["/sys/fs/cgroup"] / "c"
        lives = eventually(lambda: group.is_dir() and pids_in(group))
        box.run("systemctl", "restart", "alone.service")
        shown = ("ActiveState", "ExecMainStatus")
        eventually(
            lambda: box.shown("alone.service", *shown) == ("failed", "219"),
            what="its group refuses it",
        )
        assert pids_in(group) == lives


def test_an_installed_unit_is_used_and_another_instance_has_units_of_its_own(
    box: SystemdBox, ours: Ours
) -> None:
    with sandbox.instance(ours) as root:
        name = sandbox.paths_of(root).cgroup_name
        text = box.trice("system", "unit", root=root).ok().out
        folder = Path(f"/proc/{box.pid}/root/run/systemd/system")
        (folder / f"{name}.service").write_text(text)
        box.run("systemctl", "daemon-reload").ok()
        prepare(box, root)
        assert box.shown(f"{name}.service", "FragmentPath", "UnitFileState", "ActiveState") == (
            f"/run/systemd/system/{name}.service", "disabled", "active",
        )  # fmt: skip
        other = SystemdBox(root, box.name, box.pid)
        theirs = pids_in(Path(unified_of(box).parent, f"{name}.scope", "c"))
        ours_ = pids_in(unified_of(box) / "c")
        assert len(theirs) == len(ours_) == 1
        assert theirs != ours_
        other.trice("system", "stop").ok()
        assert pids_in(unified_of(box) / "c") == ours_
        eventually(lambda: box.shown(f"{name}.service", "ActiveState") == ("inactive",))
    box.trice("system", "stop").ok()
