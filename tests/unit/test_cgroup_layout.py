"""Which cgroup hierarchies a mount table offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api import HostFacts
from runtime.cgroup import open_hierarchy
from runtime.cgroup.layout import parse
from runtime.errors import InvalidSpec, KernelRefused

ROOT = "/sys/fs/cgroup"
V2 = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
30 25 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
34 30 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
35 30 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
36 25 0:32 / /elsewhere/memory rw,relatime - cgroup cgroup rw,memory
37 25 0:33 / /proc rw - proc proc rw
"""


def test_v2() -> None:
    layout = parse(V2, ROOT)
    assert layout.kind == "v2"
    assert layout.unified == ROOT
    assert layout.v1_mounts == ()


def test_hybrid() -> None:
    layout = parse(HYBRID, ROOT)
    assert layout.kind == "hybrid"
    assert layout.unified == f"{ROOT}/unified"
    assert dict(layout.by_controller) == {
        "cpu": f"{ROOT}/cpu,cpuacct",
        "cpuacct": f"{ROOT}/cpu,cpuacct",
        "memory": f"{ROOT}/memory",
        "pids": f"{ROOT}/pids",
    }
    assert layout.v1_mounts == (f"{ROOT}/cpu,cpuacct", f"{ROOT}/memory", f"{ROOT}/pids")


def test_hierarchies_without_controllers_are_known_with_our_own_place_in_them() -> None:
    groups = "9:name=systemd:/\n4:memory:/x\n0::/\n"
    layout = parse(HYBRID, ROOT, groups)
    assert layout.named == (f"{ROOT}/systemd",)
    assert dict(layout.groups) == {
        f"{ROOT}/systemd": "/",
        f"{ROOT}/memory": "/x",
        f"{ROOT}/unified": "/",
    }
    assert parse(HYBRID, ROOT, "9:name=other:/\nnonsense\n").named == ()


def homes(mountinfo: str, groups: str) -> dict[str, str]:
    """Return where the instance "trice" has its groups, its root left out."""
    found = parse(mountinfo, ROOT, groups).homes("trice")
    return {mount.removeprefix(ROOT): home.removeprefix(ROOT) for mount, home in found.items()}


@pytest.mark.parametrize(
    ("groups", "home"),
    [
        ("0::/\n", "/trice"),
        ("0::/trice/system\n", "/trice"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", "/trice"),
        ("0::/system.slice/trice.scope\n", "/system.slice/trice.scope"),
        ("0::/system.slice/trice.scope/system\n", "/system.slice/trice.scope"),
        ("0::/system.slice/trice.scope/c/0123/nested/trice.scope\n", "/system.slice/trice.scope"),
        ("0::/system.slice/trice-0123.scope/system\n", "/trice"),
        ("0::/system.slice/trice.service\n", "/trice"),
        ("0::/../system.slice/x\n", "/trice"),
        ("", "/trice"),
    ],
)
def test_an_instance_lives_in_its_scope_and_else_at_the_top(groups: str, home: str) -> None:
    assert homes(V2, groups) == {"": home}


def test_a_hierarchy_that_systemd_leaves_alone_has_a_group_at_the_top() -> None:
    scope = "/system.slice/trice.scope"
    groups = (
        f"9:name=systemd:{scope}\n8:pids:{scope}\n4:memory:/\n1:cpu,cpuacct:{scope}\n0::{scope}\n"
    )
    assert homes(HYBRID, groups) == {
        "/unified": f"/unified{scope}",
        "/cpu,cpuacct": f"/cpu,cpuacct{scope}",
        "/memory": "/memory/trice",
        "/pids": f"/pids{scope}",
        "/systemd": f"/systemd{scope}",
    }
    layout = parse(HYBRID, ROOT, groups)
    assert set(layout.delegated("trice")) == {
        f"{ROOT}/{name}{scope}" for name in ("unified", "cpu,cpuacct", "pids", "systemd")
    }
    assert layout.delegated("trice-0123") == ()


def test_where_a_service_manager_has_put_us_is_left_to_it() -> None:
    """In a hierarchy without controllers an instance has a group only at the root, or in its scope."""
    session = "9:name=systemd:/user.slice/session-1.scope\n"
    assert "/systemd" not in homes(HYBRID, session)
    assert homes(HYBRID, "9:name=systemd:/\n")["/systemd"] == "/systemd/trice"
    assert homes(HYBRID, "9:name=systemd:/trice/system\n")["/systemd"] == "/systemd/trice"


def test_v1_only() -> None:
    text = "".join(line for line in HYBRID.splitlines(keepends=True) if "cgroup2" not in line)
    assert parse(text, ROOT).kind == "v1"


def test_what_cannot_be_written_is_not_there() -> None:
    layout = parse(HYBRID.replace("memory rw,relatime shared", "memory ro,relatime shared"), ROOT)
    assert "memory" not in layout.by_controller
    assert "pids" in layout.by_controller
    assert layout.is_read_only
    assert not parse(HYBRID, ROOT).is_read_only


def test_a_neighbour_with_our_prefix_is_not_below() -> None:
    assert parse(V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup2 "), ROOT).unified is None


def test_broken_lines() -> None:
    assert parse("nonsense\n - cgroup2\n\n", ROOT).unified is None


def facts(layout: str) -> HostFacts:
    return HostFacts(
        kernel=(6, 1),
        architecture="amd64",
        cgroup_layout=layout,
        cgroup_controllers=(),
        cpu_count=1,
        memory_bytes=1 << 30,
        is_root=True,
        has_pidfd_info=False,
        has_openat2=True,
        boot_id="",
    )


@pytest.mark.parametrize("layout", ["v2", "v1", "hybrid"])
def test_no_hierarchy_mounted(tmp_path: Path, layout: str) -> None:
    with pytest.raises(KernelRefused, match=f"cannot use the {layout} cgroups") as caught:
        open_hierarchy(facts(layout), "trice-test", root=str(tmp_path))
    assert caught.value.hint == "mount them there; writable: no v2, v1 none"


def test_a_name_that_would_leave_the_hierarchy() -> None:
    layout = "v2" if parse(Path("/proc/self/mountinfo").read_text(), ROOT).kind == "v2" else "v1"
    with pytest.raises(InvalidSpec, match="cgroup name"):
        open_hierarchy(facts(layout), "../trice")
