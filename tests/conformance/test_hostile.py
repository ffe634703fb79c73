"""Files that mean harm, through `trice config` itself: an error in bounded time, memory and stack, and never a traceback.

Each case runs with 256 MiB of address space, 1 MiB of stack and ten seconds. Seen to fail with a limit taken away: without
MAX_VALUES the bombs are a MemoryError, without MAX_FILE_BYTES endless files are; without MAX_DEPTH only libyaml's own limit
of 1000 levels is left, which older ones do not have.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.waiting import slow_factor

MIB = 1 << 20
ADDRESS_SPACE = 256 * MIB
STACK = MIB
SECONDS = 10
COMMAND = Path(sys.executable).parent / "trice"
WEB = "services: {web: {image: i}}\n"


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One attack, and what is said of it; no word means that it is a large file and nothing worse."""

    id: str
    files: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    flags: tuple[str, ...] = ()
    stdin: str = "/dev/null"
    arrange: Callable[[Path], object] = lambda _folder: None


def one(text: str) -> Mapping[str, str]:
    return {"compose.yaml": text}


def web(body: str) -> Mapping[str, str]:
    return one(f"services: {{web: {{image: i, {body}}}}}\n")


def bomb() -> str:
    lines = (f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    return "x-0: &a0 [1, 2]\n" + "".join(lines) + WEB


def merge_bomb() -> str:
    lines = (
        f"x-{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: *a{n - 1}}}\n" for n in range(1, 40)
    )
    return "x-0: &a0 {a: 1}\n" + "".join(lines) + WEB


def including(count: int, each: str) -> Mapping[str, str]:
    """Files of which each includes the next as `each` says, with {} for its name."""
    names = ["compose.yaml", *(f"f{n}.yaml" for n in range(1, count))]
    links = pairwise(names)
    return {name: f"include: [{each.format(after)}]\n" for name, after in links} | {names[-1]: WEB}


def doubling() -> str:
    """Variables of which each is the one before it twice."""
    return "A0=xxxxxxxxxx\n" + "".join(f"A{n}=$A{n - 1}$A{n - 1}\n" for n in range(1, 60))


def loop(*names: str) -> Callable[[Path], None]:
    """Links that lead to one another."""

    def arrange(folder: Path) -> None:
        for name, target in zip(names, (*names[1:], names[0]), strict=True):
            (folder / name).symlink_to(target)

    return arrange


def link(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(target)


def fifo(name: str) -> Callable[[Path], None]:
    return lambda folder: os.mkfifo(folder / name)


def large(name: str) -> Callable[[Path], int]:
    return lambda folder: (folder / name).write_bytes(b"A=1\n" * 16 * MIB)


TOO_LARGE = "larger than 4 MiB"
TOO_DEEP = "nested deeper than 100 levels"
TOO_MANY = "more than 100000 values in one document"
READERS = {
    "env_file": "env_file: e",
    "label_file": "label_file: e",
    "seccomp": "security_opt: [seccomp=e]",
    "extends": "extends: {service: a, file: e}",
}
"""Keys of a service that name a file to be read."""

CASES = (
    Hostile(id="alias bomb", files=one(bomb()), says=TOO_MANY),
    Hostile(id="merge key bomb", files=one(merge_bomb()), says=TOO_MANY),
    Hostile(id="10 MB scalar", files=web(f"user: {'x' * 10 * MIB}"), says=TOO_LARGE),
    Hostile(id="3 MB scalar", files=web(f"user: {'x' * 3 * MIB}")),
    Hostile(id="3 MB number", files=web(f"scale: {'1' * 3 * MIB}"), says="services.web.scale"),
    Hostile(id="3 MB duration", files=web(f"stop_grace_period: {'1h' * MIB}"), says="duration"),
    Hostile(id="3 MB size", files=web(f"mem_limit: {'1' * 3 * MIB}"), says="services.web.mem_limit"),
    Hostile(id="3 MB pattern", files=web(f"pull_policy: every_{'1d' * MIB}x"), says="pull_policy"),
    Hostile(id="3 MB signal", files=web(f"stop_signal: {'SIG' * MIB}"), says="stop_signal"),
    Hostile(
        id="2 MB of words",
        files=web(f"command: '{'x ' * MIB}'"),
        says="services.web.command: short forms stand for more than 200000 values",
    ),
    Hostile(
        id="100,000 keys",
        files=one("services:\n web:\n" + "".join(f"  k{n}: v\n" for n in range(100_000))),
        says=TOO_MANY,
    ),
    Hostile(
        id="90,000 variables",
        files=one(
            "services:\n web:\n  image: i\n  environment:\n"
            + "".join(f"   K{n}: v\n" for n in range(90_000))
        ),
    ),
    Hostile(
        id="100,000 keys twice",
        files=one("services:\n web:\n" + "  image: i\n" * 90_000),
        says="more than 99 problems",
    ),
    Hostile(id="a million brackets", files=one("[" * 1_000_000), says=TOO_DEEP),
    Hostile(id="a million braces", files=one("{a: " * 1_000_000), says=TOO_DEEP),
    Hostile(id="a million dashes", files=one("- " * 1_000_000), says=TOO_DEEP),
    Hostile(
        id="2,000 levels of a block",
        files=one("".join(" " * n + "a:\n" for n in range(2000))),
        says=TOO_DEEP,
    ),
    Hostile(
        id="200,000 open variables",
        files=web(f"user: '{'${A:-' * 200_000}{'}' * 200_000}'"),
        says="variables are nested deeper than 100 levels",
    ),
    Hostile(
        id="ranges of ports",
        files=web("ports: [1-65535, 1-65535/udp, 1-65535/sctp, '1.1.1.1::1-65535']"),
        says="short forms stand for more than 200000 values",
    ),
    Hostile(
        id="cyclic include",
        files={"compose.yaml": "include: [b.yaml]\n", "b.yaml": "include: [compose.yaml]\n"},
        says="include cycle detected: compose.yaml includes b.yaml includes compose.yaml",
    ),
    Hostile(
        id="cyclic include by a link",
        files=one(f"include: [l.yaml]\n{WEB}"),
        arrange=link("l.yaml", "compose.yaml"),
        says="include cycle detected",
    ),
    Hostile(id="long chain of includes", files=including(500, "{}"), says="deeper than 32 files"),
    Hostile(id="fan of includes", files=including(30, "{0}, ./{0}"), says="more than 1000 files"),
    Hostile(
        id="circular extends over files",
        files={
            "compose.yaml": "services: {a: {extends: {service: b, file: b.yaml}}}",
            "b.yaml": "services: {b: {extends: {service: a, file: compose.yaml}}}",
        },
        says="circular reference",
    ),
    Hostile(
        id="long chain of extends",
        files=one(
            "services:\n" + "".join(f" s{n}: {{extends: s{n + 1}}}\n" for n in range(3000))
        ),
        says="extends more than 100 services in a row",
    ),
    Hostile(
        id="loop of links, found",
        arrange=loop("compose.yaml", "compose.yml"),
        says="no stack file here",
    ),
    Hostile(
        id="loop of links, named",
        arrange=loop("a.yaml", "b.yaml"),
        flags=("-f", "a.yaml"),
        says="too many levels of symbolic links",
    ),
    Hostile(
        id="loop of links, included",
        files=one(f"include: [e]\n{WEB}"),
        arrange=loop("e", "f"),
        says="included file e not found",
    ),
    Hostile(id="a FIFO that nobody writes to", flags=("-f", "e"), arrange=fifo("e"), says="empty"),
    Hostile(id="a device", flags=("-f", "/dev/zero"), says=TOO_LARGE),
    Hostile(id="endless stdin", flags=("-f", "-"), stdin="/dev/zero", says=TOO_LARGE),
    Hostile(id="a device as .env", files=one(WEB), arrange=link(".env", "/dev/zero"), says=TOO_LARGE),
    Hostile(id="a FIFO as .env", files=one(WEB), arrange=fifo(".env")),
    Hostile(id="endless --env-file", files=one(WEB), flags=("--env-file", "/dev/zero"), says=TOO_LARGE),
    Hostile(
        id="variables that double",
        files={"compose.yaml": WEB, ".env": doubling()},
        says="the result is longer than 4194304 characters",
    ),
    Hostile(id="include of a device", files=one("include: [/dev/zero]\n"), says=TOO_LARGE),
    Hostile(id="include of a FIFO", files=one(f"include: [e]\n{WEB}"), arrange=fifo("e")),
    *(
        Hostile(id=f"{what} as {key}", files=web(body), arrange=arrange, says=says)
        for key, body in READERS.items()
        for what, arrange, says in (
            ("a device", link("e", "/dev/zero"), TOO_LARGE),
            ("64 MiB", large("e"), TOO_LARGE),
            ("a loop of links", loop("e", "f"), "not found"),
        )
    ),
    *(
        Hostile(id=f"a FIFO as {key}", files=web(READERS[key]), arrange=fifo("e"), says=says)
        for key, says in (("env_file", ""), ("seccomp", "is not JSON"), ("extends", "not found"))
    ),
)  # fmt: skip


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, STACK))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_hostile_file_ends_in_an_error(case: Hostile, tmp_path: Path) -> None:
    for name, text in case.files.items():
        (tmp_path / name).write_text(text)
    case.arrange(tmp_path)
    with Path(case.stdin).open("rb") as stdin:
        done = subprocess.run(
            [COMMAND, *case.flags, "config", "-q"],
            cwd=tmp_path,
            stdin=stdin,
            capture_output=True,
            text=True,
            preexec_fn=bounded,
            timeout=SECONDS * slow_factor(),
            check=False,
        )
    assert "internal error" not in done.stderr
    assert case.says in done.stderr
    assert done.returncode == (1 if case.says else 0), done.stderr[:1000]
    # 100 problems at most, none of them a screenful.
    assert len(done.stderr) < 64 * 1024
