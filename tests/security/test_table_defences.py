"""The defences of rows 3, 5, 6 and 10 in a launch by a table, each taken out of it: the attack works then.

The same attacks against both ways, with everything in place, are in the files of those rows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api import Mount
from tests.security import test_03_masked_path_source as row_3
from tests.security import test_05_procfs_redirect as row_5
from tests.security import test_06_mount_target_symlink as row_6
from tests.security import test_10_identity as row_10
from tests.support.busybox import busybox_rootfs
from tests.support.launching import TABLE, Attempt, launch_one, shell, without
from tests.support.needs import needs

pytestmark = needs("root", "busybox")

STEPS = "runtime/container/table_steps.py"


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    root = busybox_rootfs(root_dir / "rootfs")
    (root / "planted").write_text("planted\n")
    (root / "etc/passwd").write_bytes(row_10.PASSWD)
    (root / "etc/group").write_bytes(row_10.GROUP)
    return root


def by_table(attempt: Attempt) -> Attempt:
    assert attempt.way == TABLE, attempt
    return attempt


def test_the_containers_own_null_masks(rootfs: Path, root_dir: Path) -> None:
    volume = root_dir / "dev"
    volume.mkdir()
    (volume / "null").symlink_to("/planted")
    tree = without(
        root_dir / "tree",
        (
            STEPS,
            'self._w.call("openat", AT_FDCWD, "/dev/null", _O_PATH | os.O_NOFOLLOW)',
            'self._open(self._root, "/dev/null")',
        ),
        (
            STEPS,
            "        self._w.check(_MODE, _FORMAT, S_IFCHR)\n        self._w.check(_RDEV, _U64, 1 | 3 << 32)\n",
            "",
        ),
    )
    config = row_3.with_own_dev(volume, row_3.SEE)
    attempt = by_table(launch_one(config, rootfs, tree=tree, way=TABLE))
    assert attempt.stdout == "0:0\n0:0\nplanted\n"


def test_a_proc_that_is_a_link_is_taken(rootfs: Path, root_dir: Path) -> None:
    (rootfs / "proc").rmdir()
    (rootfs / "proc").symlink_to("/tmp")
    tree = without(root_dir / "tree", (STEPS, "follow=not is_strict)", "follow=True)"))
    attempt = by_table(launch_one(shell("stat -f -c %t /tmp"), rootfs, tree=tree, way=TABLE))
    assert attempt.stdout == "9fa0\n"


def test_a_link_leads_a_mount_over_proc(rootfs: Path, root_dir: Path) -> None:
    (rootfs / "data").symlink_to("/proc/sys")
    check = "        self._w.check_not(table.STATUS, _U64, mount.PROC_SUPER_MAGIC)\n"
    tree = without(root_dir / "tree", (STEPS, check, ""))
    config = shell("stat -f -c %t /proc/sys", mounts=[Mount(kind="tmpfs", target="/data")])
    assert by_table(launch_one(config, rootfs, tree=tree, way=TABLE)).stdout == "1021994\n"


def test_the_lookup_leaves_the_root(rootfs: Path, root_dir: Path) -> None:
    """Inside the container nothing is there, since it was mounted where the host's path led."""
    victim, source = root_dir / "victim", root_dir / "source"
    victim.mkdir()
    for file in (victim / "hosts", source):
        file.write_text("mounted\n")
    row_6.as_link(rootfs, "etc", victim)
    tree = without(
        root_dir / "tree",
        (STEPS, "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)", "resolve)"),
        (STEPS, 'call("openat2", root, path,', 'call("openat2", root, path.lstrip("/") or ".",'),
    )
    mounts = [Mount(kind="bind", source=str(source), target="/etc/hosts")]
    config = shell("cat /etc/hosts", mounts=mounts, user="4242:0")
    attempt = by_table(launch_one(config, rootfs, tree=tree, way=TABLE))
    assert "No such file" in attempt.stderr


def test_groups_and_inheritable_capabilities_come_through(rootfs: Path, root_dir: Path) -> None:
    tree = without(
        root_dir / "tree",
        (STEPS, '        self._w.call("setgroups", Cell(table.WHO_COUNT), table.WHO_GROUPS)\n', ""),
        (STEPS, '        self._w.call("capset", header, struct.pack("<6I", *halves))\n', ""),
    )
    before = ("setpriv", "--groups", "0,4,27", "--inh-caps", "+chown,+kill")
    config = row_10.in_mode("1000:100")
    seen = row_10.identity_of(config, rootfs, before=before, tree=tree, way=TABLE)
    assert seen[2] == "0 4 27"
    assert seen[3] != row_10.NONE


def test_a_sysctl_goes_where_the_file_system_is_not_procfs(rootfs: Path, root_dir: Path) -> None:
    """Without both: the procfs of our own, and the check of each file."""
    planted = rootfs / row_5.SYSCTL
    planted.parent.mkdir(parents=True)
    for name in ("ip_unprivileged_port_start", "ping_group_range"):
        (planted.parent / name).write_text("untouched")
    changes = (
        (
            STEPS,
            'self._proc = self._filesystem("proc", (), 0)',
            f'self._proc = self._w.call("openat", AT_FDCWD, "{rootfs}/proc", _O_PATH)',
        ),
        (STEPS, "        self._w.check(table.STATUS, _U64, mount.PROC_SUPER_MAGIC)\n", ""),
    )
    by_table(
        launch_one(shell("true"), rootfs, tree=without(root_dir / "tree", *changes), way=TABLE)
    )
    assert planted.read_text().startswith("0")
    planted.write_text("untouched")
    launch_one(shell("true"), rootfs, tree=without(root_dir / "half", changes[0]), way=TABLE)
    assert planted.read_text() == "untouched"
