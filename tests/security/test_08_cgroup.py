"""Row 8: from inside, no cgroup can be written to, none outside is seen, and no release_agent can be reached.

Seen to fail with the defence off: in a container whose cgroups are the host's (`cgroup: host`) more is seen; and before
named hierarchies had a group of ours, one with CAP_SYS_ADMIN found the release_agent of name=systemd.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api import InvalidSpec, KernelRefused, Limits, Namespaces, Security
from runtime.cgroup.names import checked
from tests.support.attributes import groups_of, shared_runtime
from tests.support.leaks import Ours
from tests.support.live import Live
from tests.support.needs import needs

pytestmark = needs("root", "busybox", "overlay")

WRITES = """
for f in $(find /sys/fs/cgroup -type f 2>/dev/null); do
    (echo 1 >> $f) 2>/dev/null && echo "wrote $f"
done
mkdir /sys/fs/cgroup/new 2>/dev/null && echo "made a group"
echo files $(find /sys/fs/cgroup -type f 2>/dev/null | wc -l)
"""
ESCAPE = """
mkdir /m
for kind in memory rdma devices freezer cpu pids blkio cpuset cpuacct none,name=systemd; do
    mount -t cgroup -o $kind cgroup /m 2>/dev/null || continue
    [ -e /m/release_agent ] && echo "release_agent of $kind"
    [ -w /m/cgroup.procs ] && mkdir /m/x 2>/dev/null && rmdir /m/x && echo "group in $kind"
    umount /m
done
mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted
echo done
"""
ROOT = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module")
def box(ours: Ours) -> Iterator[Live]:
    with shared_runtime(ours) as runtime:
        yield runtime


def said(box: Live, script: str, **more: object) -> list[str]:
    made = box.run("sh", "-c", script, **more)
    box.wait(made)
    lines = box.log(made).splitlines()
    box.runtime.remove(made)
    return lines


@pytest.mark.vm
@pytest.mark.parametrize("security", [Security(), Security(seccomp="unconfined")])
def test_nothing_can_be_written_to_any_cgroup(box: Live, security: Security) -> None:
    (count,) = said(box, WRITES, security=security)
    assert int(count.removeprefix("files ")) > 10


@pytest.mark.vm
def test_the_cgroups_of_others_are_not_seen(box: Live) -> None:
    script = (
        "grep -c -e trice -e /c/ /proc/self/cgroup; find /sys/fs/cgroup -name '*.procs' | wc -l"
    )
    inside, groups = said(box, script)
    assert inside == "0"
    seen = int(groups)
    _, hosts = said(box, script, namespaces=Namespaces(cgroup="host"))
    assert int(hosts) > seen


@pytest.mark.vm
def test_without_mount_rights_no_hierarchy_can_be_mounted(box: Live) -> None:
    assert said(box, ESCAPE) == ["done"]
    assert said(box, ESCAPE, security=Security(seccomp="unconfined")) == ["done"]


@needs("cgroup_v1")
def test_one_that_may_mount_has_no_release_agent_and_a_group_of_its_own_everywhere(
    box: Live,
) -> None:
    """With CAP_SYS_ADMIN hierarchies can be mounted: what they show then is the container's own group."""
    lines = said(box, ESCAPE, cap_add=("SYS_ADMIN",))
    assert not [line for line in lines if "release_agent" in line]
    made = box.run(cap_add=("SYS_ADMIN",))
    groups = groups_of(box.pid(made))
    outside = {name for name, path in groups.items() if made not in str(path)}
    box.runtime.remove(made, force=True)
    assert not outside


@pytest.mark.vm
def test_the_hosts_cgroups_are_not_for_one_that_may_mount(box: Live) -> None:
    with pytest.raises(InvalidSpec, match="cgroup"):
        box.create(cap_add=("SYS_ADMIN",), namespaces=Namespaces(cgroup="host"))


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../x", "a\n", "-a", "a" * 300])
def test_no_name_leads_out_of_our_own_group(name: str) -> None:
    with pytest.raises(InvalidSpec):
        checked(name)


@pytest.mark.parametrize("cpus", ["0\n1", "0;1", "../0", "99999"])
def test_a_list_of_processors_is_one(box: Live, cpus: str) -> None:
    made = box.create(limits=Limits(cpuset=cpus))
    with pytest.raises((InvalidSpec, KernelRefused)):
        box.runtime.start(made)
    box.runtime.remove(made)
