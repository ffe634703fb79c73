"""Small images without a network: busybox of this machine as a root file system and as a docker archive."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
"""Debian's busybox-static: one file, no libraries."""

FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"


@cache
def applets() -> tuple[str, ...]:
    """Return the names that busybox answers to."""
    listing = subprocess.run(
        [BUSYBOX, "--list"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return tuple(sorted(set(listing.stdout.split()) - {"busybox"}))


def busybox_rootfs(folder: Path) -> Path:
    """Make a root file system below `folder` (made if missing) and return it."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, folder / "bin/busybox")
    for name in applets():
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc/passwd").write_text(PASSWD)
    (folder / "etc/group").write_text(GROUP)
    return folder


def busybox_archive(
    path: Path,
    *,
    reference: str = "busybox:test",
    command: tuple[str, ...] = ("sh",),
    entrypoint: tuple[str, ...] = (),
    environment: tuple[str, ...] = ("PATH=/bin:/sbin:/usr/bin",),
    user: str = "",
    volumes: tuple[str, ...] = (),
    extra: dict[str, bytes] | None = None,
    entries: tuple[tarfile.TarInfo, ...] = (),
) -> Path:
    """Write a docker archive (`docker save`: manifest.json, a config, one layer) and return its path.

    `extra` are more files of the layer, by path without a leading slash; `entries` more that have no content.
    """
    layer = _layer(extra or {}, entries)
    diff_id = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Cmd": list(command),
                "Entrypoint": list(entrypoint) or None,
                "Env": list(environment),
                "User": user,
                "WorkingDir": "",
                "Volumes": {volume: {} for volume in volumes},
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created_by": "tests.support.busybox"}],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{diff_id}/layer.tar"
    manifest = json.dumps(
        [{"Config": config_name, "RepoTags": [reference], "Layers": [layer_name]}]
    ).encode()
    with tarfile.open(path, "w") as archive:
        _add(archive, config_name, config)
        _add(archive, layer_name, layer)
        _add(archive, "manifest.json", manifest)
    return path


def _layer(extra: dict[str, bytes], entries: tuple[tarfile.TarInfo, ...]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for name in FOLDERS:
            entry = tarfile.TarInfo(f"{name}/")
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if name == "tmp" else 0o755
            layer.addfile(entry)
        _add(layer, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for name in applets():
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type = tarfile.SYMTYPE
            entry.linkname = "busybox"
            layer.addfile(entry)
        _add(layer, "etc/passwd", PASSWD.encode())
        _add(layer, "etc/group", GROUP.encode())
        for entry in entries:
            layer.addfile(entry)
        for name, content in extra.items():
            _add(layer, name, content, mode=0o755)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))
