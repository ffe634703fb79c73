"""Files that a container is given as operations of a launch program. Pure: where they go and whose they are.

What is below /run/secrets becomes one fresh file system there, unless the user has mounted something there, too, which
it would hide; every other file is the only one of a file system of its own, and bound on its target. Nothing is ever
written into a file system that somebody else has a hand in.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from runtime.container.compile_mounts import Op, clean_target
from runtime.errors import InvalidSpec

SECRETS = "/run/secrets"
_READABLE = 0o555
"""Bits of a mode that are in force: nobody writes to these files, and none of them changes its user's identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One file: `size` bytes from `offset` of what the launch is given, at `target` in the container."""

    name: str
    """As the user calls it."""
    target: str
    offset: int
    size: int
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


def check_targets(files: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the normalised targets of these files, each given as (name, target).

    Raises InvalidSpec for one that is none, that another file has, or that would have to be a directory for another.
    """
    targets: dict[str, str] = {}
    for name, target in files:
        clean = clean_target(target, name)
        if clean in targets:
            raise InvalidSpec(name, f"{clean} is {targets[clean]} already")
        if clean == SECRETS or clean == "/proc" or clean.startswith("/proc/"):
            raise InvalidSpec(name, f"no file can be at {clean}")
        targets[clean] = name
    for clean, name in targets.items():
        above = clean.rpartition("/")[0]
        while above:
            if above in targets:
                raise InvalidSpec(name, f"{clean} is below {above}, which is {targets[above]}")
            above = above.rpartition("/")[0]
    return tuple(targets)


def file_ops(files: Sequence[Placed], mounted: Iterable[str]) -> Iterator[Op]:
    """Yield the operations that make the files, after every mount that a target may lie in.

    `mounted` are the targets of those mounts.
    """
    is_ours = not any(_is_secret(target) for target in mounted)
    targets = check_targets([(each.name, each.target) for each in files])
    secrets: list[str] = []
    for each, target in zip(files, targets, strict=True):
        text = f"{each.offset}+{each.size} {each.uid}:{each.gid} {each.mode & _READABLE:03o}"
        if is_ours and _is_secret(target):
            secrets.append(f"{text} {target.removeprefix(f'{SECRETS}/')}")
        else:
            yield ["file", target, text]
    if secrets:
        yield ["files", SECRETS, [*secrets]]


def _is_secret(target: str) -> bool:
    return f"{posixpath.normpath(target)}/".startswith(f"{SECRETS}/")
