"""What systemd executes as an instance's service: `python -I -m runtime.service MANAGER…`; it becomes the keeper.

    systemd ── ExecStart ──► not in the scope, and there is one ──► enter it ──┐
                             not in the scope, and there is none               │
                               ── execve systemd-run --scope ──► in the scope ─┴─► leaf, groups, execve keeper
                                  (the same process: it stays the service's main process)
What goes wrong is in keeper.log and on stderr, which is the journal; exit code 1.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from runtime import home, units
from runtime.cgroup import delegated_directories, own_groups
from runtime.cgroup.files import write
from runtime.errors import RuntimeFault
from runtime.keeper import boot
from runtime.linux.facts import host_facts
from runtime.paths import Paths, paths_from
from runtime.systemd import tool

MODULE = "runtime.service"


def service_command(manager_argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the service executes, for a keeper that looks after this manager."""
    return (sys.executable, "-I", "-m", MODULE, *manager_argv)


def main() -> NoReturn:
    """Become the keeper of the instance that the environment names."""
    paths = paths_from(os.environ)
    try:
        for directory in (paths.lib, paths.run):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        become_keeper(paths, tuple(sys.argv[1:]))
    except (RuntimeFault, OSError) as error:
        boot.note(paths.keeper_log, f"{error}\n")
        sys.exit(str(error))


def become_keeper(paths: Paths, manager_argv: tuple[str, ...]) -> NoReturn:
    """Enter the instance's scope, make its groups ready, and execute the keeper. Raises RuntimeFault, OSError."""
    if not delegated_directories(paths.cgroup_name, own_groups()):
        if not home.remembered(paths):
            command = units.scope(tool("systemd-run"), paths, service_command(manager_argv))
            os.execve(command[0], command, os.environ)
    else:
        home.remember(paths, own_groups())
    hierarchy = home.open_home(host_facts(), paths)
    # First out of the group that is to hand controllers down: no process may sit in it.
    for file in hierarchy.leaf("system").procs_files:
        write(file, "0")
    hierarchy.prepare()
    boot.become_keeper(
        paths,
        manager_argv=manager_argv,
        environment=units.without_systemd(os.environ),
        notify=os.environ.get("NOTIFY_SOCKET", ""),
    )


if __name__ == "__main__":
    main()
