"""How a helper enters a container's file tree, as a launch program. Pure.

A container that runs is joined; of one that does not, root and binds are mounted once more, for the helper alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.api import HostFacts
from runtime.container.compile import BundleRoot, Rootfs, VolumePlaces, tree_ops
from runtime.container.compile_mounts import Op
from runtime.container.program import VERSION
from runtime.linux import lightjson
from runtime.spec.config import OciConfig

_OF_TREE = frozenset({"overlay_root", "bind_root", "fill_volume", "bind_volume"})


def compile_entry(
    config: OciConfig,
    *,
    facts: HostFacts,
    rootfs: Rootfs | BundleRoot | None,
    volumes: VolumePlaces | None = None,
) -> bytes:
    """Return the program. `rootfs` None: join the process at hand. Raises InvalidSpec."""
    ops: list[Op] = [["join_process", ["mnt"]]]
    if rootfs is not None:
        ops = list(_mounted(config, facts, rootfs, volumes))
    return lightjson.dumps({"version": VERSION, "flags": 0, "ops": ops})


def _mounted(
    config: OciConfig,
    facts: HostFacts,
    rootfs: Rootfs | BundleRoot,
    volumes: VolumePlaces | None,
) -> Iterator[Op]:
    """Yield the container's tree without the kernel's file systems: nobody is there to look at them."""
    yield ["unshare", "mnt"]
    yield ["private"]
    for op in tree_ops(config, facts, rootfs, volumes):
        is_bind = op[0] == "bind" and not str(op[2]).startswith(("/proc/", "/dev/"))
        if is_bind or op[0] in _OF_TREE:
            yield op
    yield ["pivot"]
