"""What a case is: the place in the specification, what that demands, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.support.oci import Json, Oci

Values: TypeAlias = "Mapping[str, object]"
"""Keys of config.json by dotted path, for `tests.support.oci.put`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    section: str
    """File and heading: "config.md §Process"."""
    demand: str
    """What must hold, in words of our own; unique in its section."""
    config: Values = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """`tests.support.needs`."""
    differs: str = ""
    """Key of `differences.DIFFERENCES`, where this is not what the specification says."""
    is_for_vm: bool = False
    """Part of the tests for the machine with cgroup v2."""

    @property
    def id(self) -> str:
        return f"{self.section}: {self.demand}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Says(_Case):
    """A script run in the container by sh says this."""

    script: str
    expected: str
    code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(_Case):
    """`create` fails with one line that has this text, and nothing is left."""

    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story(_Case):
    """A function does and asks it all; it gets the command on the bundle."""

    tell: Callable[[Oci], None]


Case: TypeAlias = "Says | Refused | Story"


def story(section: str, demand: str, **more: object) -> Callable[[Callable[[Oci], None]], Story]:
    """Make a function a case."""

    def make(tell: Callable[[Oci], None]) -> Story:
        return Story(section=section, demand=demand, tell=tell, **more)  # type: ignore[arg-type]

    return make


NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
CONFIG: Json = {
    "ociVersion": "1.2.0",
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["sleep", "600"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": {
            name: ["CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE"]
            for name in ("bounding", "effective", "permitted")
        },
    },
    "root": {"path": "rootfs"},
    "hostname": "bundle",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "mode=755"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
    ],
    "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
}


def namespaces(**changed: str | None) -> list[dict[str, str]]:
    """Return the entries of linux.namespaces: a path for one to join, None for one that is left out."""
    paths = dict.fromkeys(NAMESPACES, "") | changed
    return [
        {"type": kind, "path": path} if path else {"type": kind}
        for kind, path in paths.items()
        if path is not None
    ]
