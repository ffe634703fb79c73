"""Commands that are broken off or overtaken while an image is made: what was asked for last is what holds."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.stack import Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

RUNNING = """\
name: demo
services:
  web:
    image: busybox:test
    command: ["sleep", "1000"]
    stop_grace_period: 0s
"""
BUILDING = """\
name: demo
services:
  web:
    image: new
    build:
      x-bootstrap: {distribution: debian, suite: bookworm, variant: extract, packages: [busybox-static]}
    command: ["sleep", "1000"]
"""
ENDLESS = """\
#!/bin/sh
touch {began}
while :; do echo "I: downloading packages"; sleep 0.1; done
"""


class Build:
    """A build that goes on until it is given up."""

    def __init__(self, folder: Path) -> None:
        self.began = folder / "began"
        tool = folder / "bin/mmdebstrap"
        tool.parent.mkdir()
        tool.write_text(ENDLESS.format(began=self.began))
        tool.chmod(0o755)
        self.tool = tool

    def is_running(self) -> bool:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.tool).encode() in file.read_bytes():
                    return True
            except (FileNotFoundError, ProcessLookupError):
                continue
        return False


@pytest.fixture
def build(trice: Trice) -> Build:
    build = Build(trice.folder)
    trice.environment["PATH"] = f"{build.tool.parent}:{trice.environment['PATH']}"
    trice.load_image()
    return build


def interrupted_build(stack: Trice, build: Build) -> None:
    """Break off `up -d` by Ctrl-C while it makes the image."""
    stack.write(BUILDING)
    with stack.begin("up", "-d") as up:
        eventually(build.began.exists, timeout_s=10)
        up.send_signal(signal.SIGINT)
        _, told = up.communicate(timeout=10)
        assert up.returncode == 130
    assert told.splitlines()[-1] == (
        "trice: interrupted; the manager goes on with it (`trice down` undoes it)"
    )
    assert build.is_running(), "the manager goes on with it"


def test_down_ends_the_build_of_an_up_that_was_interrupted(trice: Trice, build: Build) -> None:
    interrupted_build(trice, build)
    trice.run("down").ok()
    eventually(lambda: not build.is_running(), timeout_s=10)
    assert trice.ids() == {}
    assert trice.run("ls", "-a", "-q").ok().out == ""


def test_newer_up_holds_although_an_older_one_was_building(trice: Trice, build: Build) -> None:
    trice.write(RUNNING)
    trice.run("up", "-d").ok()
    pids = trice.pids()
    interrupted_build(trice, build)
    trice.write(RUNNING)
    trice.run("up", "-d").ok()
    eventually(lambda: not build.is_running(), timeout_s=10)
    assert trice.pids() == pids
    assert "revision 1 " in trice.run("system", "status").ok().out


def test_up_that_waits_for_its_image_says_what_overtook_it(trice: Trice, build: Build) -> None:
    trice.write(BUILDING)
    with trice.begin("up", "-d") as old:
        eventually(build.began.exists, timeout_s=10)
        trice.write(RUNNING)
        trice.run("up", "-d").ok()
        _, told = old.communicate(timeout=10)
        assert (old.returncode, told.splitlines()[-1]) == (
            1,
            "trice: superseded by revision 1 (up)",
        )
    eventually(lambda: not build.is_running(), timeout_s=10)
    assert list(trice.ids()) == ["demo-web-1"]
