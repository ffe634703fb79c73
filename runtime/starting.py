"""Bringing up an instance: its directories, its groups, then its keeper."""

from __future__ import annotations

import os

from runtime.cgroup import open_hierarchy
from runtime.keeper import boot
from runtime.linux.facts import host_facts
from runtime.paths import Paths


def start_keeper(paths: Paths, manager_argv: tuple[str, ...]) -> None:
    """Start the instance's keeper unless one runs (see `runtime.api.start_keeper`)."""
    for directory in (paths.lib, paths.run):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    hierarchy = open_hierarchy(host_facts(), paths.cgroup_name)
    hierarchy.prepare()
    boot.ensure_keeper(
        paths,
        manager_argv=manager_argv,
        environment=dict(os.environ),
        leaf_procs=hierarchy.leaf("system").procs_files,
    )
