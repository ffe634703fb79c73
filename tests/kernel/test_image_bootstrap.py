"""Images from signed packages: made for real by mmdebstrap, found again by their inputs, and every way it can fail."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api import BootstrapRequest
from runtime.errors import ImageError
from runtime.image.bootstrap import bootstrap
from runtime.image.store import ImageStore
from runtime.paths import Paths, paths_from
from tests.support.modes import open_to_others
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = [needs("root"), pytest.mark.timeout(120)]

BUSYBOX = BootstrapRequest(
    distribution="debian",
    suite="bookworm",
    variant="extract",
    packages=("busybox-static",),
    reference="localhost/busybox",
    where="services.web.build.x-bootstrap",
)
WHERE = BUSYBOX.where


@pytest.fixture
def store(paths: Paths) -> ImageStore:
    return ImageStore(paths)


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """A host's /etc/apt of our own."""
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    return tmp_path / "apt"


def test_a_busybox_of_two_megabytes_with_a_shell(
    store: ImageStore, paths: Paths, tmp_path: Path
) -> None:
    said: list[str] = []
    image = bootstrap(store, BUSYBOX, said.append)
    assert "creating tarball" in said
    assert image.references == ("localhost/busybox:latest",)
    assert image.config.command == ("/bin/sh",)
    assert image.size_bytes < 3_000_000
    (root,) = store.layer_dirs(image.id)
    run = subprocess.run(
        ["chroot", root, "/bin/sh", "-c", "echo one two | awk '{print $2}'"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert run.stdout == "two\n"
    assert not any(Path(root, "etc", name).exists() for name in ("hostname", "resolv.conf"))
    assert open_to_others(paths.lib.parent) == []
    assert os.listdir(paths.work) == os.listdir(paths.trash) == []
    # again: the same image at once, whatever it is to be called
    said.clear()
    other = bootstrap(ImageStore(paths), replace(BUSYBOX, reference="web"), said.append)
    assert (other.id, said) == (image.id, [])
    assert other.references == ("docker.io/library/web:latest", "localhost/busybox:latest")
    # elsewhere: the same inputs are the same image, down to the digest
    elsewhere = ImageStore(paths_from({"TRICE_ROOT": str(tmp_path / "other")}))
    assert bootstrap(elsewhere, BUSYBOX).id == image.id


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"suite": "nosuch"}, r"\.suite: no apt source of this host is for debian nosuch; add one"),
        ({"suite": "--help"}, r"\.suite: '--help' is no name of a suite"),
        ({"distribution": "ubuntu"}, r"\.suite: no apt source of this host is for ubuntu bookworm"),
        ({"distribution": "../x"}, r"\.distribution: '../x' is no name"),
        ({"variant": "tiny"}, r"\.variant: 'tiny' is unknown; choose one of apt, buildd"),
        ({"packages": ()}, r"\.packages: variant 'extract' alone makes an empty image"),
        ({"packages": ("ok", "--setup-hook=id")}, r"\.packages\[1\]: '--setup-hook=id' is no name"),
        ({"packages": ("a,b",)}, r"\.packages\[0\]"),
        ({"packages": ("bash-",)}, r"\.packages\[0\]"),
        ({"packages": ("bash=1",)}, r"\.packages\[0\]"),
        ({"packages": ("?essential",)}, r"\.packages\[0\]"),
        ({"packages": ("/tmp/x.deb",)}, r"\.packages\[0\]"),
        ({"packages": ("bash\n",)}, r"\.packages\[0\]"),
        ({"reference": "No/Good"}, ": cannot use image reference"),
        (
            {"packages": ("nosuch-package",)},
            ": .* package 'nosuch-package' is not there; check its name",
        ),
        (
            {"packages": ("busybox.static",)},
            ": .* package 'busybox.static' is not there; check its name",
        ),
    ],
)
def test_what_cannot_be_made_is_said_and_leaves_nothing(
    store: ImageStore, paths: Paths, change: dict[str, str], why: str
) -> None:
    with pytest.raises(ImageError, match=f"^{WHERE}{why}"):
        bootstrap(store, replace(BUSYBOX, **change))  # type: ignore[arg-type]
    nothing_is_kept(store, paths)


def test_an_archive_that_cannot_be_reached(store: ImageStore, paths: Paths, apt: Path) -> None:
    """Port 1 of this machine: nobody listens there."""
    (apt / "sources.list").write_text("deb http://127.0.0.1:1/debian bookworm main\n")
    with pytest.raises(ImageError, match=f"^{WHERE}: .*cannot be reached: .*check the network"):
        bootstrap(store, BUSYBOX, apt=apt)
    nothing_is_kept(store, paths)


@pytest.mark.parametrize("option", ["", "Trusted: yes\n", "Allow-Insecure: yes\n"])
def test_unsigned_packages_are_refused(
    store: ImageStore, paths: Paths, apt: Path, tmp_path: Path, option: str
) -> None:
    """Even if the host's own source says so. Seen to fail with `trusted` among the kept options."""
    mirror = Path("/var/lib") / f"{tmp_path.name}-debian"
    release = mirror / "dists/bookworm"
    (release / "main/binary-amd64").mkdir(parents=True)
    try:
        (release / "main/binary-amd64/Packages").touch()
        (release / "Release").write_text("Suite: bookworm\nCodename: bookworm\nComponents: main\n")
        (apt / "sources.list.d/x.sources").write_text(
            f"Types: deb\nURIs: file:{mirror}/debian/..\nSuites: bookworm\nComponents: main\n{option}"
        )
        (mirror / "debian").mkdir()
        with pytest.raises(ImageError, match=f"^{WHERE}: .*signature cannot be verified"):
            bootstrap(store, BUSYBOX, apt=apt)
    finally:
        shutil.rmtree(mirror)
    nothing_is_kept(store, paths)


def test_without_mmdebstrap(store: ImageStore, paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=f"^{WHERE}: .*mmdebstrap is not installed; apt install mm"
    ):
        bootstrap(store, BUSYBOX, environment={"PATH": str(tmp_path)})
    nothing_is_kept(store, paths)


def test_a_progress_that_raises_ends_it(store: ImageStore, paths: Paths) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        bootstrap(store, BUSYBOX, stop)
    nothing_is_kept(store, paths)


SCRIPT = """
import os, sys
from pathlib import Path
from runtime.api import BootstrapRequest
from runtime.image.bootstrap import bootstrap
from runtime.image.store import ImageStore
from runtime.paths import paths_from
def tell(line):
    if len(sys.argv) > 2 and line.startswith(sys.argv[2]):
        os.kill(os.getpid(), 9)
bootstrap(ImageStore(paths_from({"TRICE_ROOT": sys.argv[1]})), BootstrapRequest(
    distribution="debian", suite="bookworm", variant="extract", packages=("busybox-static",),
    reference="x", where="here"), tell, apt=Path(sys.argv[3] if len(sys.argv) > 3 else "/etc/apt"))
"""


def test_a_full_disk(paths: Paths) -> None:
    """All of it lies on a file system of 8 MiB, mounted where only the child sees it."""
    paths.lib.mkdir(parents=True)
    mount = 'mount -t tmpfs -o size=8m none "$1"; shift; exec "$@"'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", mount, "sh", paths.lib,
         sys.executable, "-c", SCRIPT, paths.lib.parent],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    last = run.stderr.splitlines()[-1]
    assert last.startswith(
        "runtime.errors.ImageError: here: cannot make an image of debian bookworm"
    )
    assert "no space left on the disk; free some, or remove images" in last.lower()


@pytest.mark.parametrize("line", ["downloading packages", "creating tarball", "unpacking"])
def test_killed_on_the_way_it_leaves_no_process_and_no_mount(paths: Paths, line: str) -> None:
    """The leak check at the end looks for both; the directory goes with the next one who works there."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, paths.lib.parent, line],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == -signal.SIGKILL
    assert len(os.listdir(paths.work)) == 1
    store = ImageStore(paths)
    with store.work():
        assert len(os.listdir(paths.work)) == 1
    nothing_is_kept(store, paths)


def test_killed_while_the_archive_keeps_silent(paths: Paths, apt: Path) -> None:
    """Nothing would wake it for two minutes. Seen to fail without setpriv, and without unshare's --kill-child."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (apt / "sources.list").write_text(f"deb http://127.0.0.1:{port}/debian bookworm main\n")
        run = subprocess.Popen([sys.executable, "-c", SCRIPT, paths.lib.parent, "nothing", apt])
        try:
            silent.settimeout(20)
            connection, _ = silent.accept()  # apt is downloading now
            with connection:
                assert inside(paths) != []
                run.kill()
                run.wait(20)
                eventually(lambda: inside(paths) == [], what="nothing of it runs", timeout_s=10)
        finally:
            run.kill()
            run.wait(20)
    with ImageStore(paths).work():
        pass
    nothing_is_kept(ImageStore(paths), paths)


def inside(paths: Paths) -> list[int]:
    """Return the processes that see this instance's work directory mounted somewhere."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            is_inside = f"{paths.work}/" in Path(f"/proc/{pid}/mountinfo").read_text()
        except OSError:
            continue  # it is gone
        if is_inside:
            found.append(int(pid))
    return found


def nothing_is_kept(store: ImageStore, paths: Paths) -> None:
    assert store.images() == ()
    assert store.blobs.all() == store.layers.all() == ()
    for folder in (paths.work, paths.trash):
        assert not folder.exists() or os.listdir(folder) == []
