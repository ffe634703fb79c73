"""Starting an instance's service through systemd's own tools; `runtime.units` has the settings.

`systemd-run` and `systemctl` are on every machine with systemd and speak to it over its private socket, so that no
message bus need run. They are executed by absolute path, with an environment of ours alone, and with a time limit.
"""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from runtime import units
from runtime.errors import RuntimeFault
from runtime.paths import Paths

FOLDERS = ("/usr/bin", "/bin", "/run/current-system/sw/bin")
PATIENCE_S = 60.0
"""How long systemd may take to start the service; some 0.2 s are usual."""
PAUSE_S = 0.1
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def start_service(
    paths: Paths,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    answers: Callable[[], bool],
    folders: Sequence[str] = FOLDERS,
) -> None:
    """Have systemd start the instance's keeper: by its unit file where there is one, else by a transient service.

    Safe from several processes at once. Returns when `answers()` is true. Raises RuntimeFault with what systemd says.
    """
    systemd_run, systemctl = tool("systemd-run", folders), tool("systemctl", folders)
    service = units.service_of(paths.cgroup_name)
    deadline = time.monotonic() + PATIENCE_S
    refusals = 0
    logged = _size(paths.keeper_log)
    while not answers():
        if _is_loaded(systemctl, service):
            _run([systemctl, "--quiet", "reset-failed", service])  # or its start limit refuses
            done = _run([systemctl, "--quiet", "--no-ask-password", "start", service])
        else:
            done = _run(units.transient_service(systemd_run, paths, command, environment))
        if done.returncode == 0:
            refusals = 0
        else:
            refusals += 1  # the first may only mean that another process was quicker
        if (refusals > 1 or time.monotonic() > deadline) and not answers():
            raise RuntimeFault(_why(paths, service, done, logged))
        if done.returncode:
            time.sleep(PAUSE_S)


def tool(name: str, folders: Sequence[str] = FOLDERS) -> str:
    """Return the absolute path of one of systemd's programs. Raises RuntimeFault when none can be trusted."""
    for path in (Path(folder, name) for folder in folders):
        try:
            found = path.stat()
        except OSError:
            continue
        if not stat.S_ISREG(found.st_mode) or not os.access(path, os.X_OK):
            continue
        if found.st_uid != 0 or found.st_mode & _WRITABLE_BY_OTHERS:
            raise RuntimeFault(
                f"cannot use systemd: others than root may write {path}; make it root's alone (chmod 755)"
            )
        return str(path)
    raise RuntimeFault(
        f"cannot use systemd: it runs this machine, but {name} is in none of {', '.join(folders)}; "
        "install the package systemd"
    )


def _is_loaded(systemctl: str, service: str) -> bool:
    done = _run([systemctl, "show", "--property=LoadState", "--value", service])
    return done.returncode == 0 and done.stdout.strip() == "loaded"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeFault(f"cannot use systemd: {command[0]}: {error}") from error


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def _why(paths: Paths, service: str, done: subprocess.CompletedProcess[str], logged: int) -> str:
    """Return why the service did not come up: the end of what it has logged since, else what systemd said."""
    said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
    with suppress(FileNotFoundError):
        new = paths.keeper_log.read_bytes()[logged:].decode("utf-8", "replace").strip()
        said = new.splitlines()[-1] if new else said
    return (
        f"cannot start the keeper: systemd does not start {service}: {said} "
        f"(see {paths.keeper_log} and journalctl -u {service})"
    )
