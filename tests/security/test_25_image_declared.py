"""Row 25: what an image declares is the container's own affair: its environment reaches nothing of the host's.

An image's ENV is not in the environment of the child before it executes: with LD_PRELOAD and the like from an image,
what runs of ours until then would be loaded with the image's code. Seen to fail with the defence off: `environment`
put into os.environ as it comes makes the second test find it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api import ContainerRequest, Digest, ImageConfig
from runtime.container.defaults import default_config
from tests.support.busybox import busybox_rootfs
from tests.support.launching import CONTAINER_ID, a_config, launch_one, without
from tests.support.needs import needs

pytestmark = needs("root", "busybox")

HOSTILE = {
    "LD_PRELOAD": "/evil.so",
    "LD_LIBRARY_PATH": "/evil",
    "PYTHONPATH": "/evil",
    "PYTHONHOME": "/evil",
    "PATH": "/evil:/bin",
    "TRICE_NO_OPENAT2": "1",
    "TRICE_ROOT": "/evil",
}


def test_the_images_variables_are_the_programs_alone(root_dir: Path) -> None:
    rootfs = busybox_rootfs(root_dir / "rootfs")
    attempt = launch_one(a_config("env", environment=HOSTILE), rootfs)
    assert attempt.code == 0, attempt
    found = dict(line.split("=", 1) for line in attempt.stdout.splitlines())
    assert HOSTILE.items() <= found.items()


SPY = (
    "runtime/container/steps_process.py",
    "def find(child: Child, name: str) -> None:\n",
    "def find(child: Child, name: str) -> None:\n"
    '    os.write(1, b"OURS " + ",".join(sorted(os.environ)).encode() + b"\\n")\n',
)
LEAKY = (
    "runtime/container/steps_process.py",
    '    child.environment = {"HOME": child.identity.home, **variables}\n',
    '    child.environment = {"HOME": child.identity.home, **variables}\n'
    "    os.environ.update(variables)\n",
)


@pytest.mark.parametrize("is_defended", [True, False])
def test_nothing_of_them_is_in_our_own_environment(root_dir: Path, is_defended: bool) -> None:
    rootfs = busybox_rootfs(root_dir / "rootfs")
    changes = (SPY,) if is_defended else (SPY, LEAKY)
    tree = without(root_dir / "tree", *changes)
    attempt = launch_one(a_config("true", environment=HOSTILE), rootfs, tree=tree)
    ours = attempt.stdout.splitlines()[0].removeprefix("OURS ").split(",")
    assert bool({"LD_PRELOAD", "PYTHONHOME"} & set(ours)) is not is_defended


def test_an_image_cannot_name_a_hosts_directory(root_dir: Path) -> None:
    """WORKDIR and USER are looked up in the root; what leads out of it by links stays inside."""
    rootfs = busybox_rootfs(root_dir / "rootfs")
    (rootfs / "out").symlink_to("/../../../../etc")
    (rootfs / "etc/mark").write_text("of the image")
    attempt = launch_one(a_config("cat", "mark", working_dir="/out"), rootfs)
    assert attempt.stdout == "of the image"
    image = ImageConfig(working_dir="/proc/self/fd/3", command=("pwd",))
    request = ContainerRequest(
        name="t", image=Digest("sha256:" + "0" * 64), image_reference="busybox:test"
    )
    attempt = launch_one(default_config(request, image, container_id=CONTAINER_ID), rootfs)
    assert attempt.failure or attempt.stdout.startswith("/proc/")
