"""Row 5: what is written to /proc and mounted on it goes to the kernel's procfs (CVE-2019-16884, -19921, 2023-28642,
2025-52881).

The attacks: /proc of the image is a link, or ordinary files where the runtime writes; a mount whose target leads to
/proc by a link; and the image's /proc swapped while containers start. Each is also run with its defence taken out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api import Mount
from tests.support.busybox import busybox_rootfs
from tests.support.launching import AGAIN, launch, launch_one, shell, without
from tests.support.needs import needs
from tests.support.racer import swapping

pytestmark = needs("root", "busybox")

STEPS = "runtime/container/steps_mount.py"
SYSCTL = "proc/sys/net/ipv4/ip_unprivileged_port_start"
SEE = "stat -f -c %t /proc; stat -c %t:%T /proc/keys; echo 1 > /proc/sys/kernel/ostype || echo ro"


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    return busybox_rootfs(root_dir / "rootfs")


@pytest.mark.parametrize("use_openat2", [True, False], ids=["openat2", "walk"])
def test_a_proc_that_is_a_link_is_refused(rootfs: Path, use_openat2: bool) -> None:
    (rootfs / "proc").rmdir()
    (rootfs / "proc").symlink_to("/tmp")
    failure = launch_one(shell(SEE), rootfs, use_openat2=use_openat2).failure
    assert (failure["step"], failure["errno"]) == ("mount /proc", 40)


def test_without_the_defence_a_linked_proc_is_taken(rootfs: Path, root_dir: Path) -> None:
    (rootfs / "proc").rmdir()
    (rootfs / "proc").symlink_to("/tmp")
    tree = without(root_dir / "tree", (STEPS, "follow=not is_strict)", "follow=True)"))
    attempt = launch_one(shell("stat -f -c %t /tmp"), rootfs, tree=tree)
    assert attempt.stdout == "9fa0\n"


IMAGES_PROC = (
    STEPS,
    'child.proc = mount.new_filesystem("proc", (), 0)',
    "child.proc = os.open({!r}, os.O_PATH)",
)
NO_CHECK = (
    STEPS,
    "        if mount.filesystem_magic(handle) != mount.PROC_SUPER_MAGIC:\n",
    "        if False:\n",
)
BY_NAME = (
    STEPS,
    "        fd = os.open(target, os.O_WRONLY, dir_fd=child.proc)\n",
    "        fd = os.open(path, os.O_WRONLY, dir_fd=child.proc)\n",
)  # fmt: skip


@pytest.fixture
def planted(rootfs: Path) -> Path:
    """A file of the image where the runtime writes a sysctl."""
    file = rootfs / SYSCTL
    file.parent.mkdir(parents=True)
    file.write_text("untouched")
    return file


def test_sysctls_go_to_the_kernel_not_to_the_image(rootfs: Path, planted: Path) -> None:
    attempt = launch_one(shell(f"cat /{SYSCTL}"), rootfs)
    assert attempt.stdout == "0\n"
    assert planted.read_text() == "untouched"


def test_a_file_that_is_not_on_procfs_is_not_written(
    rootfs: Path, planted: Path, root_dir: Path
) -> None:
    """The second line: even if the directory were the image's, the check of each file holds."""
    name, text, replacement = IMAGES_PROC
    tree = without(root_dir / "tree", (name, text, replacement.format(f"{rootfs}/proc")), BY_NAME)
    failure = launch_one(shell("true"), rootfs, tree=tree).failure
    assert failure["reason"] == "not a file of procfs"
    assert planted.read_text() == "untouched"


def test_without_both_defences_the_images_file_is_written(
    rootfs: Path, planted: Path, root_dir: Path
) -> None:
    name, text, replacement = IMAGES_PROC
    (rootfs / "proc/sys/net/ipv4/ping_group_range").touch()
    tree = without(
        root_dir / "tree", (name, text, replacement.format(f"{rootfs}/proc")), BY_NAME, NO_CHECK
    )
    launch_one(shell("true"), rootfs, tree=tree)
    assert planted.read_text().startswith("0")


def test_a_link_does_not_lead_a_mount_over_proc(rootfs: Path, root_dir: Path) -> None:
    (rootfs / "data").symlink_to("/proc/sys")
    (root_dir / "volume").mkdir()
    for mount in (
        Mount(kind="bind", source=str(root_dir / "volume"), target="/data"),
        Mount(kind="tmpfs", target="/data"),
    ):
        failure = launch_one(shell(SEE, mounts=[mount]), rootfs).failure
        assert failure == {
            "step": "mount /data",
            "errno": 1,
            "reason": "nothing may be mounted over /proc",
            "path": "/data",
        }


def test_without_the_defence_it_does(rootfs: Path, root_dir: Path) -> None:
    (rootfs / "data").symlink_to("/proc/sys")
    check = "    if not may_be_proc and mount.filesystem_magic(place) == mount.PROC_SUPER_MAGIC:\n"
    tree = without(root_dir / "tree", (STEPS, check, "    if False:\n"))
    config = shell(
        "ls /proc/sys; stat -f -c %t /proc/sys", mounts=[Mount(kind="tmpfs", target="/data")]
    )
    assert launch_one(config, rootfs, tree=tree).stdout == "1021994\n"


IN_PROCFS = "until cd /proc && [ -e self/mountinfo ]; do cd /; done 2>/dev/null"
"""Gets into the container's procfs whenever its name happens to be right; from there nothing can be swapped."""
UNSWAPPABLE = f"{IN_PROCFS}; stat -c %t:%T keys interrupts; echo x > sys/kernel/hostname || echo ro"


@pytest.mark.parametrize("use_openat2", [True, False], ids=["openat2", "walk"])
def test_swapping_proc_meanwhile_gives_a_sound_container_or_none(
    rootfs: Path, use_openat2: bool
) -> None:
    """Seen to fail with `_inside` always answering `child.root, path`: masks were skipped, their names led nowhere.

    A table that meets the link is followed by the plain way, which seldom meets it again.
    """
    (rootfs / "elsewhere").symlink_to("/tmp")
    with swapping(rootfs / "proc", rootfs / "elsewhere"):
        attempts = launch(shell(UNSWAPPABLE), rootfs, count=150, use_openat2=use_openat2)
    outcomes = [attempt.failure.get("step") or attempt.stdout for attempt in attempts]
    assert set(outcomes) | {"mount /proc"} == {"mount /proc", "1:3\n1:3\nro\n"}
    assert "mount /proc" in outcomes or AGAIN in {attempt.way for attempt in attempts}
