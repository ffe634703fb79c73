"""Row 4: a terminal's both ends come by descriptor from a devpts of the container's own (CVE-2025-52565).

Seen to fail: with the peer opened by its name instead of TIOCGPTPEER the container sits at the host's terminal of the
same name (`test_without_…`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from runtime.api import ExecRequest, LaunchFailed
from runtime.linux import tty
from tests.support.busybox import busybox_rootfs
from tests.support.launching import REPOSITORY, launch_one, shell, without
from tests.support.live import Live, live, read_to_the_end
from tests.support.needs import needs
from tests.support.waiting import slow_factor

pytestmark = needs("root", "overlay", "busybox")

ROUNDS = 40


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


def terminal_of(box: Live, container: str) -> tuple[int, int]:
    """Return (device number, inode of the devpts' root) of the first process's stdout."""
    state = next(each for each in box.runtime.snapshot().containers if each.id == container)
    place = Path(f"/proc/{state.pid}/fd/1").stat()
    return place.st_rdev, place.st_dev


def test_stdio_and_console_are_one_terminal_of_the_containers_own_devpts(box: Live) -> None:
    container = box.run("sleep", "1000", tty=True)
    device, file_system = terminal_of(box, container)
    assert os.major(device) in tty.PTS_MAJORS
    assert file_system != os.stat("/dev/pts").st_dev
    root = Path(f"/proc/{box.pid(container)}/root")
    assert (root / "dev/pts").stat().st_dev == file_system
    assert (root / "dev/console").stat().st_rdev == device
    assert (root / "dev/console").stat().st_dev == file_system


def test_nothing_in_an_image_decides_what_the_terminal_is(root_dir: Path) -> None:
    """Files where devpts and console will be; the fresh /dev covers them."""
    with live(root_dir, extra={"dev/pts/ptmx": b"no", "dev/console": b"no"}) as box:
        container = box.run("sh", "-c", "tty; stat -c %t /dev/console", tty=True)
        assert box.wait(container).code == 0
        assert box.log(container).split() == ["/dev/pts/0", "88"]


SPOIL = (
    "mount -t tmpfs none /dev/pts && mknod /dev/pts/ptmx c 1 3",
    "mount -t tmpfs none /dev/pts && mknod /dev/pts/ptmx c 5 2",
    "mount --bind /dev/null /dev/pts/ptmx",
    "mv /dev/pts /dev/x || umount /dev/pts && rmdir /dev/pts && ln -s /proc/1/root /dev/pts",
)


@pytest.mark.parametrize("script", SPOIL)
def test_a_devpts_that_was_spoilt_from_inside_gives_an_exec_no_terminal(
    box: Live, script: str
) -> None:
    """Only a privileged container can; it must not win anything over the keeper by it."""
    container = box.run(privileged=True)
    assert box.sh(container, script).code == 0
    with pytest.raises(LaunchFailed) as caught:
        box.runtime.exec(container, ExecRequest(argv=("true",), tty=True))
    assert caught.value.step == "open a terminal"


def test_what_is_no_devpts_is_refused_before_anything_of_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ptmx")  # to open it would hang
    directory = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="no devpts"):
            tty.open_pair(directory)
    finally:
        os.close(directory)


RACE = """
import os, sys
root = sys.argv[1]
while True:
    for name in ("0", "1"):
        try:
            os.rename(f"{root}/dev/pts/{name}", f"{root}/dev/pts/x")
        except OSError:
            pass
        try:
            os.unlink(f"{root}/dev/console")
            os.symlink("/proc/sys/kernel/core_pattern", f"{root}/dev/console")
        except OSError:
            pass
"""


def test_a_racer_in_the_container_changes_no_terminal(box: Live) -> None:
    """Somebody renames and replaces what he can in /dev while execs open terminals."""
    container = box.run()
    root = f"/proc/{box.pid(container)}/root"
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    racer = subprocess.Popen([sys.executable, "-c", RACE, root], stdin=subprocess.DEVNULL)
    try:
        for _ in range(ROUNDS):
            session = box.runtime.exec(
                container,
                ExecRequest(
                    argv=("sh", "-c", "test -t 0 && stat -L -c %t /proc/self/fd/0"), tty=True
                ),
            )
            out, _ = read_to_the_end(session)
            session.wait(10 * slow_factor())
            session.close()
            assert out.split() == ["88"]
    finally:
        racer.kill()
        racer.wait()
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


IS_OWN = "[ $(stat -L -c %d /proc/self/fd/0) = $(stat -c %d /dev/pts) ]"
HOST_HAS_PTS_0 = (
    "unshare", "-m", sys.executable, "-c",
    "import os, sys\n"
    "os.system('mount -t devpts -o newinstance,ptmxmode=0666 none /dev/pts') and sys.exit(9)\n"
    "[os.set_inheritable(fd, True) for fd in os.openpty()]\n"
    "os.execvp(sys.argv[1], sys.argv[1:])",
)  # fmt: skip
"""Runs the rest of its line where the host's own /dev/pts/0 is somebody's terminal."""
BY_NAME = (
    "runtime/linux/tty.py",
    "peer = ioctl(master, TIOCGPTPEER, flags | os.O_CLOEXEC)",
    "peer = os.open('/dev/pts/0', flags)",
)


def on_a_terminal(rootfs: Path, tree: Path) -> int:
    """Return 0 when a container's terminal is of its own devpts."""
    config = shell(IS_OWN)
    assert config.process is not None
    process = msgspec.structs.replace(config.process, terminal=True)
    attempt = launch_one(
        msgspec.structs.replace(config, process=process), rootfs, tree=tree, before=HOST_HAS_PTS_0
    )
    assert not attempt.failure, attempt
    return attempt.code


def test_the_hosts_terminal_of_the_same_name_stays_the_hosts(root_dir: Path) -> None:
    assert on_a_terminal(busybox_rootfs(root_dir / "rootfs"), REPOSITORY) == 0


def test_without_the_defence_the_container_gets_the_hosts_terminal(root_dir: Path) -> None:
    tree = without(root_dir / "tree", BY_NAME)
    assert on_a_terminal(busybox_rootfs(root_dir / "rootfs"), tree) == 1
