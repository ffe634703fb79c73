"""A manager's error gets the place of what it comes of in the stack file."""

from __future__ import annotations

import pytest

from orchestrator.cli.placing import placed
from tests.unit.test_load_pipeline import run

STACK = """\
name: demo
services:
  web:
    image: i
    devices: [/dev/null, /dev/nope]
    cpuset: '99'
    user: nosuch
    group_add: [a]
    tmpfs:
      - /a
      - rel
    command: [nothing]
  db:
    image: i
    container_name: store
    entrypoint: [nothing]
    volumes: [data:/data]
volumes:
  data: {}
"""
GROUP = "/sys/fs/cgroup/cpuset/trice/c/0123"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            "services.web.tmpfs[1]: target 'rel' must be absolute",
            "compose.yaml:11:9: services.web.tmpfs[1]: target 'rel' must be absolute",
        ),
        (
            "cannot start demo-web-1: devices: /dev/nope: No such file or directory",
            "compose.yaml:5:26: services.web.devices[1]: cannot start demo-web-1: devices: /dev/nope:"
            " No such file or directory; name a device that this machine has",
        ),
        (
            f"cannot start demo-web-1: write '99' to {GROUP}/cpuset.cpus: write: out of range",
            "compose.yaml:6:5: services.web.cpuset: cannot start demo-web-1: write '99' to"
            f" {GROUP}/cpuset.cpus: write: out of range;"
            " name CPUs that this machine has (/sys/devices/system/cpu/online)",
        ),
        (
            "cannot start demo-web-1: run as user 'nosuch': no such user in /etc/passwd",
            "compose.yaml:7:5: services.web.user: cannot start demo-web-1: run as user 'nosuch':"
            " no such user in /etc/passwd; name one that the image has, or give a number",
        ),
        (
            "cannot start demo-web-1: execute nothing: not found in $PATH",
            "compose.yaml:12:15: services.web.command[0]: cannot start demo-web-1: execute nothing: not found in $PATH",
        ),
        (
            "cannot start store: execute nothing: not found in $PATH",
            "compose.yaml:16:18: services.db.entrypoint[0]: cannot start store: execute nothing: not found in $PATH",
        ),
        (
            "cannot start store: run as user '7': no such user",
            "compose.yaml:14:5: cannot start store: run as user '7': no such user;"
            " name one that the image has, or give a number",
        ),
        ("volumes.data: no", "compose.yaml:19:9: volumes.data: no"),
        ("cannot start another-1: no", "cannot start another-1: no"),
    ],
)
def test_the_key_that_an_error_comes_of(error: str, told: str) -> None:
    assert placed(error, run({"compose.yaml": STACK}).project) == told
