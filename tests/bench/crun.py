"""The same container as a bundle for crun: a configuration a container, as each needs a group of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.busybox import busybox_rootfs


class Crun:
    """`crun run` of one configuration, its groups below `group`."""

    def __init__(self, bundle: Path, document: dict[str, object], *, group: str) -> None:
        """Write the root file system; `document` is a config.json of ours, with the same limits and profile."""
        self._bundle = bundle
        self._group = group
        self._count = 0
        busybox_rootfs(bundle / "rootfs")
        self._document = json.loads(json.dumps(document))
        self._document["ociVersion"] = "1.0.2"  # Debian's crun refuses a newer one
        self._document["root"]["path"] = str(bundle / "rootfs")
        self._document["process"]["user"] = {"uid": 0, "gid": 0}

    def command(self) -> tuple[str, ...]:
        """Return the command that runs one more container to its end."""
        self._count += 1
        name = f"{self._group}-{self._count}"
        self._document["linux"]["cgroupsPath"] = f"/{self._group}/{name}"
        config = self._bundle / f"{name}.json"
        config.write_text(json.dumps(self._document))
        return ("crun", "--root", str(self._bundle / "state"), "run",
                "--bundle", str(self._bundle), "--config", str(config), name)  # fmt: skip
