"""The options of a mount sorted out: attributes of the mount, where its events go, and what its file system is told.

OCI runtime-spec, config.md §Linux mount options; mount(8) says what each means. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from runtime.container.program import PROPAGATIONS
from runtime.errors import InvalidSpec

ATTRIBUTE_OPTIONS = (
    "ro", "nosuid", "nodev", "noexec", "noatime", "strictatime", "nodiratime", "nosymfollow",
)  # fmt: skip
"""Options that are attributes of a mount, in the order in which a program lists them."""
_OPPOSITES = {
    "rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "diratime": "nodiratime",
    "symfollow": "nosymfollow",
}  # fmt: skip
_TIMES = ("noatime", "strictatime")
"""Values of one field, of which the kernel's default is relatime."""
_USUAL_TIMES = frozenset({"atime", "relatime", "norelatime", "nostrictatime"})
_WITHOUT_EFFECT = frozenset({
    "defaults", "async", "nolazytime", "nomand", "silent", "loud", "iversion", "noiversion",
})  # fmt: skip
"""What is so anyway, or what the kernel has decided by itself for long."""
_OF_SUPERBLOCK = ("sync", "dirsync", "lazytime")
"""What the file system is told as a flag; a bind's has been mounted before."""
_REFUSED = {
    "remount": "a mount is made once, as it will be",
    "mand": "the kernel has no mandatory locks any more",
    "idmap": "mounts with ids of their own are not supported",
    "ridmap": "mounts with ids of their own are not supported",
}
COPY_UP = "tmpcopyup"
"""A tmpfs begins with what the image has there: every OCI runtime's option, and what podman gives by itself."""
WRITABLE_BELOW = "top"
"""A recursive bind whose attributes are of its uppermost mount alone; ours."""
BINDS = ("bind", "rbind")
_OURS = frozenset({*BINDS, COPY_UP, WRITABLE_BELOW})
"""What is looked for by who makes the mount."""
_RECURSIVE = {
    f"r{name}": name
    for name in (
        *ATTRIBUTE_OPTIONS,
        *_OPPOSITES,
        "atime",
        "relatime",
        "norelatime",
        "nostrictatime",
    )
}
"""Attributes of an rbind are for all that is below in any case, so that ro has no gap."""

KNOWN = tuple(sorted({
    *ATTRIBUTE_OPTIONS, *_OPPOSITES, *_USUAL_TIMES, *_WITHOUT_EFFECT, *_OF_SUPERBLOCK, *_RECURSIVE, *PROPAGATIONS,
    *BINDS, COPY_UP,
}))  # fmt: skip
"""All that are understood here; a file system knows more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """What the options of one mount say; of two that contradict one another, the last."""

    attributes: str
    """Set on the mount: of ATTRIBUTE_OPTIONS, joined by commas."""
    cleared: str
    """Asked to be off, in the same form: a bind has those of its source's mount otherwise."""
    propagation: str
    """Of PROPAGATIONS; empty when nothing is said."""
    rest: tuple[str, ...]
    """For the file system."""


@lru_cache(maxsize=256)
def sort_out(options: tuple[str, ...], *, is_bind: bool, where: str) -> MountOptions:
    """Return what they say, worked out once: most mounts are alike. Raises InvalidSpec for one that cannot be."""
    is_set: dict[str, bool] = {}
    propagation = ""
    rest: list[str] = []
    for given in options:
        option = _RECURSIVE.get(given, given)
        if option in _REFUSED or (is_bind and option in _OF_SUPERBLOCK):
            why = _REFUSED.get(option, "a bind's file system has been mounted before")
            raise InvalidSpec(f"{where}.options", f"{given!r} is not supported: {why}")
        if option in PROPAGATIONS:
            propagation = option
        elif option in _TIMES or option in _USUAL_TIMES:
            is_set |= {name: name == option for name in _TIMES}
        elif option in ATTRIBUTE_OPTIONS:
            is_set[option] = True
        elif option in _OPPOSITES:
            is_set[_OPPOSITES[option]] = False
        elif option not in _WITHOUT_EFFECT and option not in _OURS:
            rest.append(option)
    if is_bind and rest:
        raise InvalidSpec(f"{where}.options", f"{rest[0]!r} is no option of a bind mount")
    return MountOptions(
        attributes=",".join(name for name in ATTRIBUTE_OPTIONS if is_set.get(name)),
        cleared=",".join(name for name in ATTRIBUTE_OPTIONS if is_set.get(name) is False),
        propagation=propagation,
        rest=tuple(rest),
    )
