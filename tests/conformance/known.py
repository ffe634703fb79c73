"""Where trice and the reference tool of the oracle differ, and why: `docs/compose-differences.md`.

The format reference describes a newer revision than the oracle's v2.40; where they disagree the
reference is right. A difference that nothing shows any more is an error of this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.conformance.oracle import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One difference. `where` is a regular expression for dotted paths; empty: by case alone."""

    what: str
    why: str
    where: str = ""
    explains: Callable[[object, object], bool] = lambda _ours, _theirs: True


def explained(difference: Difference) -> str:
    """Return the key of the difference in the table, empty when it has none."""
    path = ".".join(difference.path)
    for key, known in KNOWN.items():
        is_there = known.where and re.fullmatch(known.where, path)
        if is_there and known.explains(difference.ours, difference.theirs):
            return key
    return ""


def _only_theirs(*values: object) -> Callable[[object, object], bool]:
    return lambda ours, theirs: ours is None and any(theirs == value for value in values)


KNOWN: dict[str, Known] = {
    "create-host-path": Known(
        what="`bind.create_host_path` is shown when it is false, and not when it is true",
        why="True is the default. The older tool does it the other way round.",
        where=r"services\.[^.]+\.volumes\.\d+\.bind\.create_host_path",
        explains=lambda ours, theirs: (ours, theirs) in ((None, True), (False, None)),
    ),
    "empty-blocks": Known(
        what="No empty `ipam`, `placement`, `resources`, `exec`",
        why="They say nothing; zero, false and empty values are left out.",
        where=r"networks\.[^.]+\.ipam|services\.[^.]+\.(deploy\.(placement|resources)|develop\.watch\.\d+\.exec)",
        explains=_only_theirs({}, {"command": None}),
    ),
    "extensions": Known(
        what="`x-*` keys of services and of what is below them are in the JSON form too",
        why="The format keeps extensions; the older tool writes these to YAML alone.",
        where=r"(services|networks|volumes|configs|secrets)\..*\.x-[^.]+",
        explains=lambda _ours, theirs: theirs is None,
    ),
    "short-anonymous": Known(
        what="An anonymous volume in short form always has `volume: {}`",
        why="The older tool leaves it out where the path is of two characters or less.",
        where=r"services\.[^.]+\.volumes\.\d+\.volume",
        explains=lambda ours, theirs: (ours, theirs) == ({}, None),
    ),
    "disk-keys": Known(
        what="Keys of `blkio_config` entries are in lower case",
        why="So they are in the format, and so the output loads again; the older tool writes `Path`, `Rate`, `Weight`.",
        where=r"services\.[^.]+\.blkio_config\.[a-z_]+\.\d+\.([Pp]ath|[Rr]ate|[Ww]eight)",
    ),
    "ipam-options": Known(
        what="`ipam.options` are shown",
        why="They are a part of the format; the older tool loses them.",
        where=r"networks\.[^.]+\.ipam\.options",
        explains=lambda _ours, theirs: theirs is None,
    ),
    "models": Known(
        what="`models` are in the JSON form too",
        why="The older tool writes them to YAML alone.",
        where="models",
        explains=lambda _ours, theirs: theirs is None,
    ),
    "drive-letter": Known(
        what="`c:/x` is the named volume `c`",
        why="It says so everywhere but on Windows; the older tool takes any single letter for a drive.",
    ),
    "include-merged": Known(
        what="What the model holds already is merged over what an include defines",
        why="The newer revision does so; the older one refuses any name that is there twice.",
    ),
    "pre-start": Known(
        what="`pre_start` hooks",
        why="They came after that version.",
    ),
    "no-cache-filter": Known(
        what="`build.no_cache_filter`",
        why="It came after that version.",
    ),
    "rollback-of-rollback": Known(
        what="`rollback_config.failure_action: rollback` is refused",
        why="Only an update has something to go back to.",
    ),
    "timestamps": Known(
        what="Dates without quotes are strings",
        why="The format knows no dates; the older tool refuses them.",
    ),
    "names-with-x": Known(
        what="A network or volume may be named `x-…`",
        why="Below them a key is a name, as below `services`; the older tool takes it for an extension and then misses it.",
    ),
    "lazy-words": Known(
        what="The word of an operator is only evaluated when it is used",
        why="An unset `${A:?…}` inside a default that is not needed is no error.",
    ),
    "dollars-in-keys": Known(
        what="`$` in keys is not doubled in the output",
        why="Keys are not interpolated, so a doubled one would not load to the same document.",
    ),
    "cpu-percent": Known(
        what="`cpu_percent` may be a number by interpolation",
        why="The older tool casts it and then wants a string.",
    ),
    "bare-last-line": Known(
        what="A variable alone in the last line of an env file without a line end",
        why="The older tool makes a variable without a name of it.",
    ),
    "files-of-others": Known(
        what="Env files of services that are not asked for are not read",
        why="`config SERVICE` shows what `up SERVICE` would do.",
    ),
    "spelling-of-paths": Known(
        what="`a.env` and `./a.env` are one env file",
        why="Files are single by path, and these are one path.",
    ),
    "reset-by-alias": Known(
        what="`!reset` and `!override` count where their alias is used",
        why="The newer revision does so.",
    ),
    "null-base": Known(
        what="A base that is null leaves no `extends` in the output",
        why="The older tool stops half-way then.",
    ),
    "extends-of-included": Known(
        what="A service of an included file may be extended",
        why="Includes come first in the newer revision.",
    ),
    "unknown-keys": Known(
        what="Unknown keys of `extends` and `include` are refused",
        why="Every other unknown key is refused, and these two are easily misspelled.",
    ),
    "optional-dependency": Known(
        what="A dependency with `required: false` on a service that is not there or not enabled is dropped",
        why="The dependency has nothing to wait for.",
    ),
    "names-of-profiles": Known(
        what="Names of profiles are checked",
        why="The format has a character set for them.",
    ),
    "real-time-durations": Known(
        what="`cpu_rt_runtime: 400ms`",
        why="The format takes durations there; the older tool casts to an integer first.",
    ),
    "names-of-ulimits": Known(
        what="Names of ulimits are lower case",
        why="The format says so.",
    ),
    "disk-without-path": Known(
        what="A disk limit without `path` is refused",
        why="It would limit nothing.",
    ),
    "colons-of-volumes": Known(
        what="`a::b` and `a:b:c:d` are no volumes",
        why="The older tool takes the whole text for a path in the container.",
    ),
    "two-ssh-keys": Known(
        what="Several `build.ssh` keys",
        why="The older tool fails to print them.",
    ),
    "modes-of-deploy": Known(
        what="`deploy.mode` is one of four",
        why="The older tool takes any word.",
    ),
}


def document() -> str:
    """Return docs/compose-differences.md."""
    rows = "".join(f"| {known.what} | {known.why} |\n" for known in KNOWN.values())
    return _HEAD + rows


_HEAD = """\
# Where trice and docker compose v2.40 give something else

`make conformance` runs `trice config --format json` and that tool over every conformance case and over generated
stacks, and compares the documents. What follows is all that they do not have in common. Both directions are held:
a difference that is not here fails the run, and so does a line here that nothing shows.

This page is made from `tests/conformance/known.py`: `python -m tests.conformance.known > docs/compose-differences.md`.

| what trice does | why |
|---|---|
"""

if __name__ == "__main__":
    import sys

    sys.stdout.write(document())
