"""Row 12: copying into and out of a container never touches the host (CVE-2018-15664, CVE-2026-42306, CVE-2026-41568).

The helper has the container's root as its own, and its processes stand still. Seen to fail: `resolve_outside` does what
careless tools do, resolves the container's path from the host and uses the result; with the same racers it reads and
overwrites the host's files (`test_without_…`).
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.api import ContainerId, KernelRefused, NotFound, RuntimeFault
from runtime.linux.openat2 import NO_OPENAT2_VARIABLE
from tests.kernel.test_pause import is_frozen
from tests.support.copying import held_copy
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root", "overlay", "busybox")

ROUNDS = 30
SECRET = b"the host's own\n"


@pytest.fixture(params=["openat2", "walk"])
def box(
    request: pytest.FixtureRequest, root_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Live]:
    """A runtime whose keeper and whose helpers have openat2, or do without."""
    if request.param == "walk":
        monkeypatch.setenv(NO_OPENAT2_VARIABLE, "1")
    host = root_dir / "host"
    host.mkdir()
    (host / "file").write_bytes(SECRET)
    with live(root_dir) as found:
        yield found


def swapping(box: Live) -> ContainerId:
    """A container that exchanges a directory with a link to the host's, by the host's very path, as fast as it can."""
    host = box.root / "host"
    script = (
        "mkdir -p /real; echo inside > /real/file; cp -r /real /d; "
        f"while :; do mv /d /d1; ln -s {host} /d; rm /d; mv /d1 /d; done"
    )
    container = box.run("sh", "-c", script)
    eventually(lambda: box.sh(container, "[ -e /real/file ]").code == 0, what="it has begun")
    return container


def one_file(name: str, data: bytes) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return iter([buffer.getvalue()])


def test_out_under_a_swap_loop_gives_nothing_of_the_hosts(box: Live) -> None:
    container = swapping(box)
    seen = rounds = 0
    while rounds < ROUNDS or (not seen and rounds < 10 * ROUNDS):
        rounds += 1
        with suppress(NotFound):
            data = b"".join(box.runtime.copy_out(container, "/d/file"))
            assert SECRET not in data
            seen += b"inside" in data
    assert seen, "the loop never let us see its own file"


def test_in_under_a_swap_loop_writes_nothing_of_the_hosts(box: Live) -> None:
    container = swapping(box)
    done = rounds = 0
    while rounds < ROUNDS or (not done and rounds < 10 * ROUNDS):
        rounds += 1
        try:
            box.runtime.copy_in(container, "/d", one_file("file", b"overwritten\n"))
            done += 1
        except RuntimeFault:
            continue
    assert done, "the loop never let us write"
    assert (box.root / "host/file").read_bytes() == SECRET
    assert os.listdir(box.root / "host") == ["file"]


def resolve_outside(box: Live, container: ContainerId, path: str) -> str:
    """Return where a careless tool finds a path of the container: by name, from the host."""
    joined = f"/proc/{box.pid(container)}/root{path}"
    if not os.path.islink(joined):
        return joined
    return os.readlink(joined)  # "it is absolute, so there it is"


def test_without_the_defence_the_same_loop_reads_the_hosts_file(box: Live) -> None:
    container = swapping(box)

    def reads_it() -> bool:
        with suppress(OSError):
            return Path(resolve_outside(box, container, "/d"), "file").read_bytes() == SECRET
        return False

    eventually(reads_it, timeout_s=20, what="the careless way is led out")


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize(
    "path",
    [
        "/out/file",
        "/up/../../../../../..{host}/file",
        "/proc/1/root{host}/file",
        "/proc/self/root{host}/file",
    ],
)
def test_no_link_and_no_dots_lead_out(box: Live, path: str, running: bool) -> None:
    host = box.root / "host"
    container = box.run("sh", "-c", f"mkdir /up; ln -s {host} /out; exec sleep 1000")
    eventually(lambda: box.sh(container, "[ -L /out ]").code == 0, what="the link is there")
    if not running:
        box.runtime.stop(container, grace_s=0)
    with pytest.raises((NotFound, KernelRefused)):
        b"".join(box.runtime.copy_out(container, path.format(host=host)))
    with pytest.raises((NotFound, KernelRefused)):
        box.runtime.copy_in(container, os.path.dirname(path.format(host=host)), one_file("x", b""))
    assert os.listdir(host) == ["file"]


def test_the_helper_runs_nothing_and_loads_nothing_of_the_containers(root_dir: Path) -> None:
    """Row 11: hostile libraries, modules and programs where a careless helper would look."""
    evil = b"#!/bin/sh\ntouch /owned\n"
    python = b"open('/owned','w')\n"
    names = {
        "lib/x86_64-linux-gnu/libnss_files.so.2": evil,
        "usr/lib/python3.11/encodings/idna.py": python,
        "usr/lib/python3.11/zlib.py": python,
        "usr/bin/tar": evil,
        "usr/bin/unpigz": evil,
        "usr/bin/xz": evil,
        "etc/nsswitch.conf": b"passwd: evil\n",
        "usercustomize.py": python,
    }
    with live(root_dir, extra=names) as box:
        container = box.run("sleep", "1000", working_dir="/usr/lib/python3.11")
        data = b"".join(box.runtime.copy_out(container, "/etc"))
        assert len(data) > 0
        box.runtime.copy_in(container, "/tmp", one_file("é-\udcff", b"name that needs an encoding"))
        assert box.sh(container, "ls /owned").code != 0
        assert "é-\udcff" in os.listdir(f"/proc/{box.pid(container)}/root/tmp")


def test_the_helper_is_nobody_in_the_container_and_has_little(box: Live) -> None:
    """While it works: its root is the container's, its program a sealed memfd, its capabilities are those of files."""
    container = box.run()
    with held_copy(box, container) as (helper, _):
        _expect_little(box, container, helper)
        assert is_frozen(box.pid(container))
    assert not Path(f"/proc/{helper}").exists()


def _expect_little(box: Live, container: ContainerId, helper: int) -> None:
    status = Path(f"/proc/{helper}/status").read_text()
    assert int(status.partition("CapEff:")[2].split()[0], 16) == 0b11111 & ~0b00000
    assert "NoNewPrivs:\t1" in status
    root = Path(f"/proc/{helper}/root").stat()
    first = Path(f"/proc/{box.pid(container)}/root").stat()
    assert (root.st_dev, root.st_ino) == (first.st_dev, first.st_ino)
    assert "memfd:trice-copy" in os.readlink(f"/proc/{helper}/exe")
    asked = os.environ.get(NO_OPENAT2_VARIABLE, "")
    assert Path(f"/proc/{helper}/environ").read_bytes() == (
        f"LC_ALL=C.UTF-8\0{NO_OPENAT2_VARIABLE}={asked}\0".encode()
    )
    inside = box.runtime.top(container)
    assert helper not in {info.pid for info in inside}
