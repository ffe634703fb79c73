"""The host's device nodes that a container gets, looked up at each start: numbers change when devices come and go."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from stat import S_IMODE, S_ISBLK, S_ISCHR, S_ISDIR

import msgspec

from runtime.api import ContainerRequest, Device
from runtime.errors import InvalidSpec
from runtime.spec.config import DeviceRule, LinuxDevice, OciConfig

DEV = "/dev"
_NOT_ITS_OWN = frozenset(
    {"console", "mqueue", "ptmx", "pts", "shm", "fd", "stdin", "stdout", "stderr"}
)
"""What every container has one of its own of."""


def with_host_devices(config: OciConfig, request: ContainerRequest) -> OciConfig:
    """Return the config with the nodes that the request asks for, and the rules that let them be used.

    A directory stands for all devices in it; privileged has all of the host. Raises InvalidSpec.
    """
    if not request.devices and not request.privileged:
        return config
    nodes: dict[str, LinuxDevice] = {}
    rules: list[DeviceRule] = []
    if request.privileged:
        nodes |= _everything()
    for device in request.devices:
        for path, status in _found(device):
            node = _node(path, status)
            nodes[path] = node
            rules.append(
                DeviceRule(
                    allow=True,
                    type=node.type,
                    major=node.major,
                    minor=node.minor,
                    access=device.permissions,
                )
            )
    given = config.linux.resources
    resources = msgspec.structs.replace(given, devices=(*given.devices, *rules))
    linux = msgspec.structs.replace(
        config.linux, devices=(*config.linux.devices, *nodes.values()), resources=resources
    )
    return msgspec.structs.replace(config, linux=linux)


def _found(device: Device) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (path in the container, status) of the device, or of all devices in the directory."""
    where = f"devices: {device.source}"
    target = posixpath.normpath(device.target or device.source)
    if not target.startswith(f"{DEV}/"):
        raise InvalidSpec(where, f"its place in the container is {target}, which is not in {DEV}")
    if not device.permissions or set(device.permissions) - set("rwm"):
        raise InvalidSpec(where, f"permissions {device.permissions!r} are not of r, w, m")
    try:
        status = os.stat(device.source)
    except OSError as error:
        raise InvalidSpec(where, f"{error.strerror}") from None
    if S_ISDIR(status.st_mode):
        inside = dict(_in_directory(device.source))
        if not inside:
            raise InvalidSpec(where, "no device is in that directory")
        for path in sorted(inside):
            yield f"{target}/{posixpath.relpath(path, device.source)}", inside[path]
    elif _is_device(status):
        yield target, status
    else:
        raise InvalidSpec(where, "is no device")


def _everything() -> Mapping[str, LinuxDevice]:
    """Return all nodes of the host's /dev, but what a container has of its own."""
    found = dict(_in_directory(DEV))
    return {
        path: _node(path, found[path])
        for path in sorted(found)
        if path.split("/")[2] not in _NOT_ITS_OWN
    }


def _in_directory(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the devices below the directory; links and what goes meanwhile are left out."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if directory == DEV and entry.name in _NOT_ITS_OWN:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if S_ISDIR(status.st_mode):
                yield from _in_directory(entry.path)
            elif _is_device(status):
                yield entry.path, status


def _is_device(status: os.stat_result) -> bool:
    return S_ISCHR(status.st_mode) or S_ISBLK(status.st_mode)


def _node(path: str, status: os.stat_result) -> LinuxDevice:
    return LinuxDevice(
        type="c" if S_ISCHR(status.st_mode) else "b",
        path=path,
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        file_mode=S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )
