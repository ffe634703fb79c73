"""systemd as pid 1 of a small machine of its own: namespaces and groups of its own, on this machine's files.

It has no units but those that a test makes, and nothing of the host's systemd (if there is one) is touched. The groups
are below one that is named after the instance, so that the host sees them at

    <hierarchy>/<instance>/system.slice/<instance>.scope/...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.machine import RUN_VARIABLE, hierarchies
from tests.support.sandbox import paths_of
from tests.support.stack import Done
from tests.support.waiting import eventually, slow_factor

SYSTEMD = Path("/lib/systemd/systemd")
COMMAND_S = 30.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_BOOT = r"""
set -e
name=$1 run=$2 systemd=$3
for mount in $run; do
    group=$mount/$name
    mkdir -p "$group"
    if [ -e "$group/cpuset.mems" ] && [ ! -e "$mount/cgroup.controllers" ]; then
        cat "$mount/cpuset.cpus" >"$group/cpuset.cpus"
        cat "$mount/cpuset.mems" >"$group/cpuset.mems"
    fi
    echo 0 >"$group/cgroup.procs"
done
exec unshare --mount --cgroup --ipc --uts --propagation private sh -ec '
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 run /run
    cat /proc/self/mounts >/run/mounts  # a snapshot: the table changes meanwhile
    umount -R /sys/fs/cgroup
    while read -r _ at kind options _; do
        case $kind in
            tmpfs)  # a file system of its own: systemd makes it read-only for whoever else has it
                [ "$at" != /sys/fs/cgroup ] || mount -t tmpfs -o mode=755 tmpfs "$at" ;;
            cgroup2) mkdir -p "$at"; mount -t cgroup2 cgroup "$at" ;;
            cgroup)
                what=
                for option in $(echo "$options" | tr , " "); do
                    case $option in
                        name=*) what=none,$option ;;
                        rw|relatime|nosuid|nodev|noexec|xattr|release_agent=*) ;;
                        *) what=${what:+$what,}$option ;;
                    esac
                done
                mkdir -p "$at"; mount -t cgroup -o "$what" cgroup "$at" ;;
        esac
    done </run/mounts
    mkdir -p /run/lock /run/systemd/system /run/systemd/transient
    for target in sysinit basic shutdown umount network multi-user; do
        printf "[Unit]\nDefaultDependencies=no\n" >/run/systemd/system/$target.target
    done
    export container=trice SYSTEMD_UNIT_PATH=/run/systemd/transient:/run/systemd/system
    exec "$0" --unit=multi-user.target --log-target=null --show-status=0
' "$systemd"
"""


@dataclass(frozen=True, slots=True)
class SystemdBox:
    """A machine with systemd, and an instance of trice in it."""

    root: Path
    name: str
    pid: int
    """systemd's, as the host counts."""

    def run(self, *command: str | Path, root: Path | None = None) -> Done:
        """Run a command in it, as root, to its end."""
        environment = {"PATH": _PATH, "TRICE_ROOT": str(root or self.root), "HOME": "/root"}
        environment |= {key: os.environ[key] for key in (RUN_VARIABLE,) if key in os.environ}
        enter = ["/usr/bin/nsenter", "-t", str(self.pid), *["-p", "-m", "-C", "-i", "-u", "--"]]
        place = ["env", f"--chdir={root or self.root}"]
        result = subprocess.run(
            [*enter, *place, *map(str, command)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S * slow_factor(),
            check=False,
        )
        return Done(result.returncode, result.stdout, result.stderr)

    def trice(self, *arguments: str, root: Path | None = None) -> Done:
        return self.run(Path(sys.executable).with_name("trice"), *arguments, root=root)

    def shown(self, unit: str, *properties: str) -> tuple[str, ...]:
        """Return what systemd says of a unit."""
        options = [f"--property={name}" for name in properties]
        lines = self.run("systemctl", "show", *options, unit).ok().out.splitlines()
        found = dict(line.split("=", 1) for line in lines)
        return tuple(found[name] for name in properties)

    def groups(self, unit: str) -> dict[str, Path]:
        """Return the unit's group in every hierarchy that systemd looks after, by mount point."""
        found = {at: Path(at, self.name, "system.slice", unit) for at in hierarchies()}
        return {at: folder for at, folder in found.items() if folder.is_dir()}


@contextmanager
def systemd_box(root: Path) -> Iterator[SystemdBox]:
    """Boot it; at the end it and all that runs in it is killed. The groups are left to the instance's own end."""
    name = paths_of(root).cgroup_name
    boot = ["sh", "-c", _BOOT, "sh", name, " ".join(hierarchies()), str(SYSTEMD)]
    with subprocess.Popen(
        ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", "--", *boot],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": _PATH},
    ) as outer:
        try:
            box = SystemdBox(root, name, eventually(lambda: _systemd_below(outer), timeout_s=10))
            eventually(lambda: _is_up(box), timeout_s=10, every_s=0.1, what="systemd runs")
            yield box
        finally:
            for child in _children(outer.pid):
                os.kill(child, signal.SIGKILL)
            outer.wait(COMMAND_S)


def _systemd_below(outer: subprocess.Popen[str]) -> int:
    """Return the pid of systemd once it has taken over; 0 before."""
    assert outer.poll() is None, f"no systemd: {outer.stderr and outer.stderr.read()}"
    for child in _children(outer.pid):
        if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
            return child
    return 0


def _is_up(box: SystemdBox) -> bool:
    return box.run("systemctl", "is-system-running").out.strip() in ("running", "degraded")


def _children(pid: int) -> tuple[int, ...]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return tuple(int(word) for word in text.split())
