"""Bringing up an instance: its directories, its groups, then its keeper; where systemd runs, through a service."""

from __future__ import annotations

import os

from runtime.home import open_home
from runtime.keeper import boot
from runtime.linux.facts import host_facts
from runtime.paths import Paths


def unit_file(paths: Paths, manager_argv: tuple[str, ...]) -> str:
    """Return the text of a systemd unit file for this instance (see `runtime.api.unit_file`)."""
    from runtime import units  # [lazy] one verb alone
    from runtime.service import service_command  # [lazy]

    return units.unit_file(paths, service_command(manager_argv), os.environ)


def start_keeper(paths: Paths, manager_argv: tuple[str, ...]) -> None:
    """Start the instance's keeper unless one runs (see `runtime.api.start_keeper`)."""
    for directory in (paths.lib, paths.run):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if host_facts().has_systemd:
        from runtime.service import service_command  # [lazy] only there
        from runtime.systemd import start_service  # [lazy]

        start_service(
            paths,
            service_command(manager_argv),
            os.environ,
            answers=lambda: boot.answers(paths),
        )
        return
    hierarchy = open_home(host_facts(), paths)
    hierarchy.prepare()
    boot.ensure_keeper(
        paths,
        manager_argv=manager_argv,
        environment=dict(os.environ),
        leaf_procs=hierarchy.leaf("system").procs_files,
    )
