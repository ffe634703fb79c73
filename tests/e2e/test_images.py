"""Images by name: what is shown, what goes away with its last name, and what containers keep."""

from __future__ import annotations

import json

import pytest

from tests.support.busybox import busybox_archive
from tests.support.needs import needs
from tests.support.stack import Trice

pytestmark = [needs("root", "overlay", "busybox")]

STACK = """\
name: demo
services:
  web:
    image: %s
    command: [sleep, "1000"]
    stop_grace_period: 0s
"""


def blobs(one: Trice) -> int:
    """Return how many blobs the store has on the disk."""
    return sum(
        1 for each in one.paths.images.rglob("*") if each.is_file() and "blobs" in each.parts
    )


def layers(one: Trice) -> int:
    return sum(1 for each in one.paths.layers.iterdir() if each.is_dir())


def names(one: Trice) -> list[str]:
    lines = one.run("image", "ls", "--format", "json").ok().out.splitlines()
    return sorted(f"{each['Repository']}:{each['Tag']}" for each in map(json.loads, lines))


@pytest.fixture
def up(stack: Trice) -> Trice:
    stack.write(STACK % "busybox:test")
    stack.run("up", "-d").ok()
    return stack


def test_an_image_is_shown_and_goes_with_its_last_container_and_name(up: Trice) -> None:
    (shown,) = json.loads(up.run("image", "inspect", "busybox:test").ok().out)
    assert shown["RepoTags"] == ["busybox:test"]
    assert len(shown["RootFS"]["Layers"]) == layers(up) == 1
    refused = up.run("image", "rm", "busybox:test")
    assert (refused.code, refused.err) == (
        1,
        "trice: unable to remove busybox:test: container demo-web-1 is running with this image\n",
    )
    up.run("down").ok()
    removed = up.run("image", "rm", "busybox:test", "nothing")
    assert removed.out == f"Untagged: busybox:test\nDeleted: {shown['Id']}\n"
    assert (removed.code, removed.err) == (1, "trice: there is no image nothing:latest here\n")
    assert (layers(up), blobs(up), names(up)) == (0, 0, [])


def test_prune_takes_what_no_container_has(up: Trice) -> None:
    archive = busybox_archive(up.folder / "other.tar", reference="other:1", extra={"x": b"y"})
    up.run("image", "load", str(archive)).ok()
    assert names(up) == ["busybox:test", "other:1"]
    assert up.run("image", "prune", "-f").ok().out == "Total reclaimed space: 0B\n"
    told = up.run("image", "prune", "-a", "-f").ok().out
    assert "Untagged: other:1" in told
    assert names(up) == ["busybox:test"]
    assert up.run("exec", "-T", "web", "true").code == 0


def test_down_takes_images_along_when_asked(up: Trice) -> None:
    up.run("down", "--rmi", "local").ok()
    assert names(up) == ["busybox:test"], "the file names it itself"
    archive = busybox_archive(up.folder / "own.tar", reference="demo-web")
    up.run("image", "load", str(archive)).ok()
    up.write(STACK % "demo-web")
    up.run("up", "-d").ok()
    told = up.run("down", "--rmi", "local").ok().err.splitlines()
    assert told[-1] == " Image demo-web Removed"
    assert names(up) == ["busybox:test"]
    up.write(STACK % "busybox:test")
    up.run("up", "-d").ok()
    up.run("-p", "second", "up", "-d").ok()
    assert "Resource is still in use" in up.run("down", "--rmi", "all").ok().err
    up.run("-p", "second", "down", "--rmi", "all").ok()
    assert names(up) == []
