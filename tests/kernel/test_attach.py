"""A container's stdin: open as long as somebody may want it, and its end when nobody does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api import ContainerId, InvalidState, KeeperGone
from tests.support.keeper import kill_wait
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root", "overlay", "busybox")


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


def test_stdin_is_at_its_end_unless_it_is_open(box: Live) -> None:
    container = box.run("cat")
    assert box.wait(container).code == 0
    other = box.run()
    with pytest.raises(InvalidState, match="without an open stdin"):
        box.runtime.attach_stdin(other)


def test_writers_come_and_go_and_the_end_comes_when_it_is_said(box: Live) -> None:
    container = box.run("sh", "-c", "cat; echo end", open_stdin=True)
    for word in (b"one\n", b"two\n"):
        stdin = box.runtime.attach_stdin(container)
        os.write(stdin, word)
        os.close(stdin)
    eventually(lambda: "two" in box.log(container), what="both are read")
    assert box.runtime.wait(container, timeout_s=0) is None
    box.runtime.close_stdin(container)
    assert box.wait(container).code == 0
    assert box.log(container) == "one\ntwo\nend\n"


def test_what_was_written_before_the_end_is_read(box: Live) -> None:
    container = box.run("sh", "-c", "sleep 0.2; cat", open_stdin=True)
    stdin = box.runtime.attach_stdin(container)
    os.write(stdin, b"x" * 50_000)
    os.close(stdin)
    box.runtime.close_stdin(container)
    assert box.wait(container).code == 0
    assert len(box.log(container)) == 50_000


def test_nobody_attaches_after_the_end(box: Live) -> None:
    container = box.run("sh", "-c", "cat; sleep 1000", open_stdin=True)
    box.runtime.close_stdin(container)
    with pytest.raises(InvalidState, match="past the end"):
        box.runtime.attach_stdin(container)
    box.runtime.close_stdin(container)


def test_a_restart_opens_it_again(box: Live) -> None:
    container = box.run("cat", open_stdin=True)
    box.runtime.close_stdin(container)
    box.wait(container)
    box.runtime.start(container)
    assert box.runtime.wait(container, timeout_s=0.1) is None
    box.runtime.close_stdin(container)
    assert box.wait(container).code == 0


def test_a_writer_to_one_that_ends_gets_an_error_and_is_not_held(box: Live) -> None:
    container = box.run("sleep", "1000", open_stdin=True)
    stdin = box.runtime.attach_stdin(container)
    box.runtime.stop(container, grace_s=0)

    def is_broken() -> bool:
        try:
            os.write(stdin, b"x")
        except BrokenPipeError:
            return True
        return False

    eventually(is_broken, what="the pipe has no reader")
    os.close(stdin)


def test_the_keepers_death_is_not_the_end(box: Live) -> None:
    container = box.run("cat", open_stdin=True)
    parent = Path(f"/proc/{box.pid(container)}/status").read_text().partition("PPid:")[2].split()[0]
    kill_wait(int(parent))
    stdin = box.runtime.attach_stdin(container)
    os.write(stdin, b"still here\n")
    os.close(stdin)
    eventually(lambda: "still here" in box.log(container), what="it is read and logged")
    assert box.runtime.wait(container, timeout_s=0) is None
    eventually(lambda: has_closed(box, container), what="another keeper lets go of it")
    assert box.wait(container).code in (0, 255)


def has_closed(box: Live, container: ContainerId) -> bool:
    try:
        box.runtime.close_stdin(container)
    except KeeperGone:
        return False
    return True


def test_stdin_of_a_user_can_be_opened_again_by_name(box: Live) -> None:
    container = box.run("sh", "-c", "cat /dev/stdin", user="nobody", open_stdin=True)
    stdin = box.runtime.attach_stdin(container)
    os.write(stdin, b"named\n")
    os.close(stdin)
    box.runtime.close_stdin(container)
    assert box.wait(container).code == 0
    assert box.log(container) == "named\n"
