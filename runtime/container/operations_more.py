"""The operations of a launch program that few containers need; `program` loads this when a program has one of them."""

from __future__ import annotations

from runtime.container import steps_more
from runtime.container.program import (
    OVER_PROC,
    PROPAGATIONS,
    Operation,
    attribute_bits,
    depth_of,
    device_number,
    is_word,
)
from runtime.linux import mount, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def _propagation(word: str) -> tuple[int, bool]:
    """Return the flag of mount(2), and whether it is for what is below, too."""
    if word not in PROPAGATIONS:
        raise ValueError(f"unknown propagation {word!r}")
    name = word.removeprefix("r")
    flags = {
        "private": mount.MS_PRIVATE, "shared": mount.MS_SHARED, "slave": mount.MS_SLAVE,
        "unbindable": mount.MS_UNBINDABLE,
    }  # fmt: skip
    return flags[name], name != word


_NODE_KINDS = {"b": 0o060000, "c": 0o020000, "p": 0o010000}

MORE: Mapping[str, Operation] = {
    "hold": Operation(
        steps_more.hold, "sss", "take hold of {0}",
        lambda source, depth, word: (source, depth_of(depth)[0], *_propagation(word)),
    ),
    "bind_held": Operation(
        steps_more.bind_held, "isssss", "mount {1}",
        lambda number, target, attributes, cleared, depth, place: (
            number, target, attribute_bits(attributes), attribute_bits(cleared), depth_of(depth)[1],
            is_word(place, OVER_PROC, "plain"),
        ),
    ),
    "held_root": Operation(
        steps_more.held_root, "iss", "use root directory {1}",
        lambda number, path, attributes: (number, path, attribute_bits(attributes)),
    ),
    "propagate": Operation(
        steps_more.propagate, "ss", "change propagation of {0}", lambda path, word: (path, *_propagation(word))
    ),
    "seccomp_flagged": Operation(
        steps_more.load_seccomp, "si", "load the seccomp filter",
        lambda code, flags: (seccomp.program(bytes.fromhex(code)), flags),
    ),
    "scheduler": Operation(
        steps_more.scheduler, "s", "set the scheduling policy", lambda code: (bytes.fromhex(code),)
    ),
    "io_priority": Operation(steps_more.io_priority, "i", "set the I/O priority"),
    "forget_files": Operation(steps_more.forget_files, "", "forget the host's files"),
    "personality": Operation(steps_more.personality, "i", "set the personality"),
    "node": Operation(
        steps_more.node, "ssiiiii", "make device {0}",
        lambda path, kind, major, minor, mode, uid, gid: (
            path, _NODE_KINDS[kind] | mode & 0o7777, device_number(major, minor), uid, gid
        ),
    ),
}  # fmt: skip
