"""Where everything lies on disk, and the order in which locks are taken. No file is opened here.

    <lib>/                     /var/lib/trice, or $TRICE_ROOT/lib            survives a reboot
      state.db                 desired state (orchestrator.store)
      containers/<id>/         container.json config.json exit.json upper/ work/ log/{raw,index}
      images/                  OCI layout: oci-layout index.json lock blobs/sha256/<hex>
      volumes/<name>/          volume.json data/ (runtime.volume.store)
      layers/<diff id hex>/    one unpacked layer, `fs/` below it; l/<6 chars> short links to them
      work/                    being made, not yet in its place
      trash/                   renamed away, deleted later
      damaged/                 containers whose container.json cannot be read: never deleted by us
      keeper.log manager.log
    <run>/                     /run/trice, or $TRICE_ROOT/run                gone at reboot
      api.sock keeper.sock keeper.lock manager.lock
      cgroup                   the groups that a service manager gave the instance (runtime.home)
      containers/<id>/         process.json stdout stderr (FIFOs)
      oci/<id>/                state.json exec.fifo (trice-runtime)
    <cache>/                   /var/cache/trice, or $TRICE_ROOT/cache

Directories are 0700 and files 0600 (security.md row 20). `TRICE_ROOT` gives everything its own place, its own cgroup
subtree and its own names, so that several instances live side by side on one machine.

Locks, in the order in which they may be taken, never held across network I/O or a wait:
project → container → image store → ipam (style.md 22).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT_VARIABLE = "TRICE_ROOT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """All places of one trice instance. Values only; nothing is created."""

    lib: Path
    run: Path
    cache: Path
    cgroup_name: str
    """Name of the instance's own group below each cgroup hierarchy's root."""

    @property
    def api_socket(self) -> Path:
        return self.run / "api.sock"

    @property
    def keeper_socket(self) -> Path:
        return self.run / "keeper.sock"

    @property
    def keeper_lock(self) -> Path:
        return self.run / "keeper.lock"

    @property
    def manager_lock(self) -> Path:
        return self.run / "manager.lock"

    @property
    def cgroup_record(self) -> Path:
        """Where a service manager has put the instance: the text of a /proc/PID/cgroup."""
        return self.run / "cgroup"

    @property
    def state_db(self) -> Path:
        return self.lib / "state.db"

    @property
    def keeper_log(self) -> Path:
        return self.lib / "keeper.log"

    @property
    def manager_log(self) -> Path:
        return self.lib / "manager.log"

    @property
    def images(self) -> Path:
        return self.lib / "images"

    @property
    def layers(self) -> Path:
        return self.lib / "layers"

    @property
    def layer_links(self) -> Path:
        return self.lib / "l"

    @property
    def images_lock(self) -> Path:
        """Held by whoever changes the image store."""
        return self.images / "lock"

    @property
    def work(self) -> Path:
        """What is being made and not yet in its place; each maker has a directory and its lock."""
        return self.lib / "work"

    @property
    def trash(self) -> Path:
        return self.lib / "trash"

    @property
    def damaged(self) -> Path:
        return self.lib / "damaged"

    @property
    def volumes(self) -> Path:
        return self.lib / "volumes"

    @property
    def containers(self) -> Path:
        return self.lib / "containers"

    @property
    def containers_run(self) -> Path:
        return self.run / "containers"

    @property
    def bundles(self) -> Path:
        """Where `trice-runtime` keeps the state of bundles that it runs without a keeper."""
        return self.run / "oci"


def paths_from(environment: dict[str, str] | os._Environ[str]) -> Paths:
    """Return the instance's places for this environment: `TRICE_ROOT` or the system's directories."""
    root = environment.get(ROOT_VARIABLE, "")
    if not root:
        return Paths(
            lib=Path("/var/lib/trice"),
            run=Path("/run/trice"),
            cache=Path("/var/cache/trice"),
            cgroup_name="trice",
        )
    base = Path(root).absolute()
    return Paths(
        lib=base / "lib",
        run=base / "run",
        cache=base / "cache",
        cgroup_name=instance_name(str(base)),
    )


def root_of(paths: Paths) -> str:
    """Return the `TRICE_ROOT` that these places come from; empty for the system's directories."""
    return "" if paths == paths_from({}) else str(paths.lib.parent)


def instance_name(root: str) -> str:
    """Return the name that tells this root's kernel objects from every other instance's."""
    from hashlib import sha256  # [lazy] only instances with a root of their own need it

    return f"trice-{sha256(root.encode()).hexdigest()[:8]}"
