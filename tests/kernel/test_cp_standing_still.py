"""How long a container stands still for a copy: as long as this machine's disk takes, whoever is at the other end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.api import InvalidState, KernelRefused
from tests.kernel.test_cp import tar
from tests.kernel.test_pause import is_frozen
from tests.support.copying import held_copy
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.sandbox import paths_of
from tests.support.waiting import eventually

pytestmark = needs("root", "overlay", "busybox")

POLITE = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


def test_it_goes_on_before_anybody_reads(box: Live) -> None:
    """Seen to fail with pieces given away as they come: it stands still until the last one is read."""
    container = box.run()
    stream = box.runtime.copy_out(container, "/bin")
    assert not is_frozen(box.pid(container))
    assert box.sh(container, "exit 3").code == 3
    assert next(stream)
    assert not is_frozen(box.pid(container))
    box.runtime.pause(container)
    box.runtime.unpause(container)
    assert sum(map(len, stream)) > 0


def test_it_goes_on_until_all_has_been_written(box: Live) -> None:
    container = box.run()
    pid = box.pid(container)

    def slow() -> Iterator[bytes]:
        for piece in tar(("file", b"x" * 5000)):
            assert not is_frozen(pid)
            yield piece

    box.runtime.copy_in(container, "/tmp", slow())
    assert box.sh(container, "wc -c < /tmp/file").out == "5000\n"
    assert not is_frozen(pid)


@pytest.mark.parametrize("verb", ["stop", "kill", "remove"])
def test_whoever_ends_it_does_not_wait_for_a_copy(box: Live, verb: str) -> None:
    """Seen to fail without `kept_off`: TERM waits in a frozen container, or the lock is held."""
    container = box.run("sh", "-c", POLITE)
    eventually(lambda: box.log(container) == "ready\n", what="it has its handler")
    with held_copy(box, container) as (helper, copied):
        assert is_frozen(box.pid(container))
        if verb == "stop":
            box.runtime.stop(container, grace_s=10)
        elif verb == "kill":
            box.runtime.kill(container, signal="KILL")
        else:
            box.runtime.remove(container, force=True)
        problem = copied.exception(timeout=5)
        assert isinstance(problem, InvalidState), problem
        assert "copy files of" in str(problem)
        assert not Path(f"/proc/{helper}").exists()
    if verb == "stop":
        assert box.wait(container).code == 7
        assert box.log(container) == "ready\nbye\n"
    if verb == "kill":
        assert box.wait(container).code == 137


def test_a_full_disk_is_said_and_it_goes_on(box: Live) -> None:
    container = box.run()
    assert box.sh(container, "truncate -s 8M /big").code == 0
    work = paths_of(box.root).work
    with small(work):
        with pytest.raises(
            KernelRefused, match=r"/big: write: no room for it in between, below .*/work: No space"
        ):
            box.runtime.copy_out(container, "/big")
        assert not is_frozen(box.pid(container))
        with pytest.raises(KernelRefused, match="No space left"):
            box.runtime.copy_in(container, "/tmp", tar(("file", bytes(8 << 20))))
        assert box.sh(container, "ls /tmp").out == ""


@contextmanager
def small(directory: Path) -> Iterator[None]:
    """Have a directory hold no more than 1 MiB."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)
