"""How a helper enters a container's file tree, as a launch program. Pure.

A container that runs is joined; of one that does not, root and binds are mounted once more, for the helper alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.api import HostFacts
from runtime.container.compile import BundleRoot, Rootfs, root_op
from runtime.container.compile_mounts import Op, mount_ops
from runtime.container.program import VERSION
from runtime.linux import lightjson
from runtime.spec.config import OciConfig


def compile_entry(
    config: OciConfig, *, facts: HostFacts, rootfs: Rootfs | BundleRoot | None
) -> bytes:
    """Return the program. `rootfs` None: join the process at hand. Raises InvalidSpec."""
    ops: list[Op] = (
        [["join_process", ["mnt"]]] if rootfs is None else list(_mounted(config, facts, rootfs))
    )
    return lightjson.dumps({"version": VERSION, "flags": 0, "ops": ops})


def _mounted(config: OciConfig, facts: HostFacts, rootfs: Rootfs | BundleRoot) -> Iterator[Op]:
    """Yield the container's tree without the kernel's file systems: nobody is there to look at them."""
    yield ["unshare", "mnt"]
    yield ["private"]
    yield root_op(rootfs)
    for op in mount_ops(config, facts):
        if op[0] == "bind" and not str(op[2]).startswith(("/proc/", "/dev/")):
            yield op
    yield ["pivot"]
