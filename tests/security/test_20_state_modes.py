"""security.md row 20: nothing that trice keeps is open to other users, whatever the umask was.

Seen to fail with the modes taken out of `files.make_directory`, of `files.work_directory` and of `files.new_file`, one
after the other: the umask of 0 then leaves 0777 and 0666; and for a whole instance with `os.umask(0o077)` taken out of
the keeper.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.image.snapshot import make_writable_layer
from runtime.image.store import ImageStore
from runtime.paths import Paths
from runtime.volume.store import VolumeStore
from tests.support.archives import a_layer, docker_archive
from tests.support.busybox import busybox_archive
from tests.support.instance import processes_with
from tests.support.keeper import kill_wait
from tests.support.modes import open_to_others
from tests.support.needs import needs
from tests.support.sandbox import paths_of
from tests.support.scenario import Scenario, exits, shows
from tests.support.tars import a_directory, a_file

pytestmark = needs("root")


@pytest.fixture
def no_umask() -> Iterator[None]:
    """The worst umask there is: what is not said is open to all."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_what_images_leave_is_ours_alone(paths: Paths, tmp_path: Path, no_umask: None) -> None:
    store = ImageStore(paths)
    layer = a_layer(a_directory("./", mode=0o777), a_file("bin/su", mode=0o4755))
    (image,) = store.load(docker_archive(tmp_path / "image.tar", layer))
    make_writable_layer(paths.containers / "c1", store.layer_dirs(image.id))
    with store.work() as work:
        (work / "note").touch(mode=0o600)
        assert open_to_others(paths.lib) == []
    store.name(image.id, "other:1")
    store.remove("demo:1", in_use=set())
    assert open_to_others(paths.lib.parent) == []
    # the image's own modes are there, behind the closed doors
    (directory,) = store.layer_dirs(image.id)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o777
    assert stat.S_IMODE(os.stat(f"{directory}/bin/su").st_mode) == 0o4755


def test_volumes_are_behind_closed_doors(paths: Paths, no_umask: None) -> None:
    """Inside, a volume's root is as docker's, 0755: containers of any user may look into it."""
    for path in (paths.lib.parent, paths.lib):
        path.mkdir(mode=0o700, exist_ok=True)
    store = VolumeStore(paths)
    store.create("data", labels={}, created_at_ns=1)
    store.relabel("data", {"a": "b"})
    assert open_to_others(paths.lib.parent) == []
    assert stat.S_IMODE(os.stat(store.get("data").path).st_mode) == 0o755


STACK = """
name: modes
services:
  web: {image: "busybox:test", command: [sleep, "1000"], stop_grace_period: 0s, init: true, volumes: [/var, "v:/v"]}
  term: {image: "busybox:test", command: [sh], tty: true, stdin_open: true, stop_grace_period: 0s, user: nobody}
  ended: {image: "busybox:test", command: [sh, -c, "exit 3"]}
volumes: {v: }
"""


def test_what_a_whole_instance_leaves_is_ours_alone(
    scenario: Callable[[str], Scenario], tmp_path: Path, root_dir: Path, no_umask: None
) -> None:
    """Keeper, manager and containers at work, started under the worst umask; and again after both were killed."""
    busybox_archive(tmp_path / "busybox.tar")
    (tmp_path / "compose.yaml").write_text(STACK)
    story = scenario("nothing of a running instance is open to other users")
    story.step("the image is loaded", "trice image load busybox.tar", exits(0))
    story.step("the stack comes up", "trice up -d", exits(0))
    story.step("processes come and go", "trice exec -T web sh -c 'echo x > /made'", exits(0))
    story.step("files go in", "trice cp compose.yaml web:/in", exits(0))
    story.step("and out", "trice cp web:/made out", exits(0))
    story.step("one stands still", "trice pause term", exits(0))
    assert open_to_others(root_dir) == []
    name = paths_of(root_dir).cgroup_name
    for word in ("orchestrator.daemon", "keeper.main"):
        for pid in processes_with(name, word):
            kill_wait(pid)
    story.until("both come again", "trice ps -a", exits(0), shows("modes-web-1 .* Up "))
    story.step("one is made anew", "trice up -d --force-recreate ended", exits(0))
    assert open_to_others(root_dir) == []


@pytest.mark.parametrize("mode", [0o755, 0o711, 0o701, 0o770])
def test_the_walk_finds_an_open_directory(paths: Paths, mode: int) -> None:
    paths.images.mkdir(parents=True, mode=0o700)
    for path in (paths.lib.parent, paths.lib):
        path.chmod(0o700)
    paths.images.chmod(mode)
    assert open_to_others(paths.lib.parent) == [f"{mode:04o} 0:0 {paths.images}"]


def test_the_walk_finds_an_open_file_and_a_stranger(paths: Paths) -> None:
    paths.lib.mkdir(parents=True, mode=0o700)
    for name, owner in (("open", 0), ("strange", 1234)):
        (paths.lib / name).touch()
        os.chown(paths.lib / name, owner, owner)
        (paths.lib / name).chmod(0o640 if owner == 0 else 0o600)
    assert open_to_others(paths.lib) == [
        f"0640 0:0 {paths.lib}/open",
        f"0600 1234:1234 {paths.lib}/strange",
    ]
