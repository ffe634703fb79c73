"""Options of a mount sorted out: the last of two that contradict one another counts, and nothing is lost."""

from __future__ import annotations

import pytest

from runtime.container.mount_options import KNOWN, MountOptions, sort_out
from runtime.errors import InvalidSpec


def told(*options: str, is_bind: bool = False) -> MountOptions:
    return sort_out(options, is_bind=is_bind, where="mounts[0]")


@pytest.mark.parametrize(
    ("options", "attributes", "cleared"),
    [
        ((), "", ""),
        (("ro", "nosuid"), "ro,nosuid", ""),
        (("ro", "rw"), "", "ro"),
        (("rw", "ro"), "ro", ""),
        (("noatime", "strictatime"), "strictatime", "noatime"),
        (("noatime", "relatime"), "", "noatime,strictatime"),
        (("rro", "rnoexec", "rsuid"), "ro,noexec", "nosuid"),
        (("defaults", "async", "loud"), "", ""),
    ],
)
def test_attributes(options: tuple[str, ...], attributes: str, cleared: str) -> None:
    found = told(*options)
    assert (found.attributes, found.cleared) == (attributes, cleared)


def test_a_word_about_propagation_and_what_is_for_the_file_system() -> None:
    assert told("rshared", "size=1m", "rslave", "sync") == MountOptions(
        attributes="", cleared="", propagation="rslave", rest=("size=1m", "sync")
    )


@pytest.mark.parametrize("option", ["remount", "idmap", "ridmap", "mand"])
def test_what_cannot_be_is_refused_with_the_reason(option: str) -> None:
    with pytest.raises(InvalidSpec, match=f"mounts\\[0\\].options: '{option}' is not supported: "):
        told(option)


@pytest.mark.parametrize("option", ["size=1", "sync", "lazytime"])
def test_a_bind_has_no_file_system_to_be_told(option: str) -> None:
    with pytest.raises(InvalidSpec, match=option):
        told(option, is_bind=True)


def test_all_that_are_named_are_understood() -> None:
    assert told(*KNOWN).rest == ("dirsync", "lazytime", "sync")
