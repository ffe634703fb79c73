"""Row 26: what a container may ask of the kernel unless told otherwise, every line of it against a committed table.

tests/security/golden/defaults.txt is what a process inside finds: its capabilities, mounts, devices, masked and
read-only paths, sysctls, and how the system calls that the default profile refuses end. With the profile off, or the
masks, other words come.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api import Mount, Security
from runtime.container import profile
from runtime.container.seccomp_default import default_seccomp
from runtime.linux.syscalls import numbers
from tests.support.attributes import shared_runtime
from tests.support.leaks import Ours
from tests.support.live import Live
from tests.support.needs import needs

pytestmark = needs("root", "busybox", "overlay")

GOLDEN = Path(__file__).parent / "golden/defaults.txt"
PROBE = Path(__file__).parents[1] / "support/probe.py"
NOWHERE = 2**64 - 1
CLONE_NEWUSER = 0x10000000
SPECIAL = {
    # Arguments that do no harm where the call is let through.
    "unshare": [CLONE_NEWUSER],
    "clone": [CLONE_NEWUSER | 17, 0, 0, 0, 0],
    "clone3": [0, 0],
    "personality": [0x0040000],
    "socket": [40, 1, 0],
    "mknod": [0, 0o020666, 0x501],
    "mknodat": [NOWHERE, 0, 0o060666, 0x501],
    "reboot": [0, 0, 0, 0],
    "vhangup": [],
    "iopl": [3],
    "ioperm": [0, 1, 1],
    "swapoff": [0],
}


def asked() -> str:
    """Return what the probe is to ask: every call that a rule of the default profile names."""
    held = profile.DEFAULT_CAPABILITIES
    rules = default_seccomp(held).syscalls
    known = numbers("amd64")
    names = sorted({name for rule in rules for name in rule.names if name in known})
    calls = [[name, known[name], SPECIAL.get(name, [NOWHERE] * 6)] for name in names]
    return json.dumps(
        {"calls": calls, "hidden": profile.MASKED_PATHS, "read_only": profile.READONLY_PATHS}
    )


@pytest.fixture(scope="module")
def box(ours: Ours) -> Iterator[Live]:
    with shared_runtime(ours) as runtime:
        yield runtime


def probed(box: Live, **more: object) -> list[str]:
    host = [
        Mount(kind="bind", source=str(Path(path).resolve()), target=path, is_read_only=True)
        for path in ("/usr", "/lib", "/lib64")
        if Path(path).exists()
    ]
    probe = Mount(kind="bind", source=str(PROBE), target="/probe.py", is_read_only=True)
    made = box.run(
        "/usr/bin/python3", "-I", "-S", "/probe.py", asked(), mounts=(*host, probe), **more
    )
    box.wait(made)
    said = box.log(made)
    box.runtime.remove(made)
    # The test's own, and what masks: which of those paths there are is the kernel's affair; "path" lines have all.
    others = {"/probe.py", *profile.MASKED_PATHS, *profile.READONLY_PATHS}
    return [
        line
        for line in said.splitlines()
        if not (line.startswith("mount ") and (line.split()[1] in others or is_bound(line)))
    ]


def is_bound(line: str) -> bool:
    """Say whether this is one of the host's directories that the probe needs, or what the host has mounted below."""
    return f"{line.split()[1]}/".startswith(("/usr/", "/lib/", "/lib64/"))


needs_amd64 = pytest.mark.skipif(
    not sys.platform.startswith("linux") or __import__("platform").machine() != "x86_64",
    reason="the table is one of x86-64",
)


@pytest.mark.vm
@needs_amd64
def test_the_defaults_are_those_of_the_table(box: Live) -> None:
    assert probed(box) == GOLDEN.read_text().splitlines()


@needs_amd64
def test_without_the_profile_the_same_calls_get_further(box: Live) -> None:
    lines = probed(box, security=Security(seccomp="unconfined"))
    table = GOLDEN.read_text().splitlines()
    changed = {line.split()[1] for line in set(lines) - set(table) if line.startswith("call ")}
    assert {"unshare", "clone", "personality", "keyctl", "bpf", "io_uring_setup"} - changed <= {
        "bpf"
    }


@needs_amd64
def test_without_the_masks_the_paths_are_open(box: Live) -> None:
    lines = probed(box, security=Security(systempaths_unconfined=True))
    assert "path /proc/sys writable" in lines
    assert "path /proc/interrupts open" in lines
