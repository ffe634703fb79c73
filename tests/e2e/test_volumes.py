"""Volumes as people use them: what a restart, a recreation and `down` keep of them, and what goes when it is told to.

Ids and names are those of `ps`; layers, data and mounts are looked for on the file system and in the container's own
mountinfo.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.busybox import busybox_archive
from tests.support.needs import needs
from tests.support.proving import proves
from tests.support.stack import Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox"), pytest.mark.timeout(90)]

SERVICE = """name: demo
services:
  web:
    image: busybox:test
    command: [sleep, '1000']
    stop_grace_period: 0s
    volumes: [/scratch, 'data:/data']
    environment: {ROUND: '${ROUND}'}
volumes:
  data:
"""


def write_into(stack: Trice, container: str = "web") -> None:
    """Leave a mark in the layer and in each volume."""
    script = "for d in / /scratch /data; do echo mark > $d/mark; done"
    stack.run("exec", "-T", container, "sh", "-c", script).ok()


def marks(stack: Trice, service: str = "web") -> list[str]:
    """Return where a mark is."""
    script = "for d in / /scratch /data; do [ -e $d/mark ] && echo $d; done; true"
    return stack.run("exec", "-T", service, "sh", "-c", script).ok().out.split()


def volume_names(stack: Trice) -> set[str]:
    """Return the volumes that lie on the disk."""
    return set(os.listdir(stack.paths.volumes))


def upper(stack: Trice) -> Path:
    (container,) = stack.ids().values()
    return stack.paths.containers / container / "upper"


def up(stack: Trice, round_: str, *more: str) -> None:
    stack.run("up", "-d", *more, env={"ROUND": round_}).ok()


def test_what_a_restart_and_a_recreation_keep(stack: Trice) -> None:
    """Restart keeps id, name, writable layer and volumes; recreate changes id and layer, keeps name and volumes."""
    stack.write(SERVICE)
    up(stack, "1")
    first, layer, volumes = stack.ids(), upper(stack), volume_names(stack)
    assert "demo_data" in volumes
    (anonymous,) = volumes - {"demo_data"}
    assert len(anonymous) == 64
    write_into(stack)
    stack.run("restart").ok()
    assert stack.ids() == first
    assert (layer / "mark").read_text() == "mark\n"
    assert marks(stack) == ["/", "/scratch", "/data"]
    up(stack, "2")
    second = stack.ids()
    assert second.keys() == first.keys() == {"demo-web-1"}
    assert second != first
    assert not layer.exists()
    assert not (upper(stack) / "mark").exists()
    assert marks(stack) == ["/scratch", "/data"]
    assert volume_names(stack) == volumes
    up(stack, "3", "-V")
    assert marks(stack) == ["/data"]
    (renewed,) = volume_names(stack) - volumes
    assert (stack.paths.volumes / anonymous / "data/mark").exists(), "the old one stays"
    up(stack, "4")
    assert volume_names(stack) == {*volumes, renewed}
    seen = stack.run("exec", "-T", "web", "cat", "/proc/self/mountinfo").ok().out
    assert f"/volumes/{renewed}/data /scratch " in seen


def test_a_container_that_is_lost_comes_back_with_its_volumes(stack: Trice) -> None:
    """Whoever removed it, and with no manager there that could remember anything."""
    stack.write(SERVICE)
    up(stack, "1")
    write_into(stack)
    (before,) = stack.ids().values()
    manager = json.loads(stack.run("volume", "inspect", "demo_data").ok().out)
    assert manager[0]["Labels"]["com.docker.compose.volume"] == "data"
    stack.run("container", "rm", "-f", "demo-web-1").ok()
    eventually(lambda: stack.ids().get("demo-web-1") not in {None, before}, what="another")
    eventually(lambda: len(stack.pids()) == 1, what="it runs")
    assert marks(stack) == ["/scratch", "/data"]


def test_a_recreation_whose_manager_is_killed(stack: Trice) -> None:
    """The container is away and its successor not yet there: the volume's labels alone say whose it is.

    A round that misses the moment is a kill at another one, and must end the same.
    """
    stack.write(SERVICE)
    up(stack, "0")
    write_into(stack)
    volumes = volume_names(stack)
    assert any(killed_while_away(stack, str(number)) for number in range(1, 7))
    assert marks(stack) == ["/scratch", "/data"]
    assert volume_names(stack) == volumes


def killed_while_away(stack: Trice, round_: str) -> bool:
    """Recreate, and kill the manager as soon as the old container is away; tell whether there was no new one yet."""
    (before,) = stack.ids().values()
    manager = manager_of(stack)
    containers = stack.paths.containers
    stack.environment["ROUND"] = round_
    with stack.begin("up", "-d") as command:
        while (containers / before).exists():
            assert command.poll() is None, command.communicate()
        os.kill(manager, signal.SIGKILL)
        is_away = not [name for name in os.listdir(containers) if not name.startswith(".")]
        command.wait(20)
    # The keeper starts a manager that keeps dying with more and more delay.
    eventually(
        lambda: stack.ids().get("demo-web-1") not in {None, before}, timeout_s=15, what="another"
    )
    eventually(lambda: len(stack.pids()) == 1, what="it runs")
    return is_away


def manager_of(stack: Trice) -> int:
    out = stack.run("system", "status").ok().out
    return int(out.partition("manager")[2].partition("pid ")[2].partition(",")[0])


def test_what_down_leaves_and_what_down_v_takes(stack: Trice) -> None:
    stack.write(SERVICE)
    up(stack, "1")
    write_into(stack)
    volumes = volume_names(stack)
    stack.run("down").ok()
    assert volume_names(stack) == volumes
    up(stack, "1")
    assert marks(stack) == ["/data"], "the anonymous volume was of the containers that are gone"
    (fresh,) = volume_names(stack) - volumes
    listed = stack.run("volumes", "-q").ok().out.split()
    assert set(listed) == {*volumes, fresh}
    stack.run("volume", "create", "unrelated").ok()
    told = stack.run("down", "-v").ok()
    assert " Volume demo_data Removed" in told.err
    (left,) = volumes - {"demo_data"}
    assert volume_names(stack) == {left, "unrelated"}
    assert stack.run("volume", "prune", "-f").ok().out.split() == [left]
    stack.run("volume", "rm", "unrelated").ok()
    assert volume_names(stack) == set()
    again = stack.run("down", "-v")
    assert again.code == 0
    assert "No resource found to remove" in again.err


def test_rm_and_run_with_volumes(stack: Trice) -> None:
    stack.write(SERVICE)
    up(stack, "1")
    stack.run("stop").ok()
    stack.run("rm", "-f", "-v").ok()
    assert volume_names(stack) == {"demo_data"}
    said = stack.run(
        "run", "--rm", "-T", "web", "sh", "-c", "touch /scratch/x /data/x; echo ok"
    ).ok()
    assert said.out == "ok\n"
    eventually(lambda: volume_names(stack) == {"demo_data"}, what="its anonymous volume is gone")
    assert (stack.paths.volumes / "demo_data/data/x").exists()
    more = ("-v", "./mine:/data", "-v", "fresh:/fresh:ro")
    script = "touch /data/y; touch /fresh/z 2>/dev/null || echo read-only"
    said = stack.run("run", "--rm", "-T", *more, "web", "sh", "-c", script).ok()
    assert said.out == "read-only\n"
    assert (stack.folder / "mine/y").exists()
    assert "fresh" in volume_names(stack)
    assert not (stack.paths.volumes / "demo_data/data/y").exists()


MANY = """name: demo
services:
  web:
    image: volumes:test
    command: [sleep, '1000']
    stop_grace_period: 0s
    volumes:
      - {type: volume, source: data, target: /data}
      - {type: volume, source: data, target: /sub, read_only: true, volume: {subpath: sub}}
      - {type: volume, source: bare, target: /bare, volume: {nocopy: true}}
      - named:/named
      - shared:/shared
      - {type: bind, source: ./made/here, target: /made}
      - {type: bind, source: ./deep, target: /deep, read_only: true, bind: {propagation: rprivate}}
      - {type: bind, source: ./deep, target: /flat, bind: {recursive: disabled}}
      - {type: tmpfs, target: /mem, tmpfs: {size: 2m, mode: 0o1750}}
    depends_on: []
  reader:
    image: busybox:test
    command: [sleep, '1000']
    stop_grace_period: 0s
    volumes_from: ["web:ro"]
volumes:
  data: {driver: local, labels: {team: blue}}
  bare:
  named: {name: by-its-name}
  shared: {external: true}
  theirs: {external: {name: other}}
"""


@proves(
    *(f"volumes.*.{key}" for key in ("type", "source", "target", "read_only")),
    *(f"volumes.*.bind.{key}" for key in ("propagation", "create_host_path", "recursive")),
    *(f"volumes.*.volume.{key}" for key in ("nocopy", "subpath")),
    *(f"volumes.*.tmpfs.{key}" for key in ("size", "mode")),
    "volumes.*.tmpfs",
    "volumes_from",
)
@pytest.mark.proves(
    *(f"volumes.*.{key}" for key in ("name", "driver", "labels", "external", "external.name"))
)
def test_every_way_to_mount_something(trice: Trice) -> None:
    archive = busybox_archive(
        trice.folder / "v.tar",
        reference="volumes:test",
        extra={"data/sub/file": b"of the image\n", "bare/file": b"of the image\n"},
    )
    trice.run("image", "load", str(archive)).ok()
    trice.load_image()
    (trice.folder / "deep").mkdir()
    trice.write(MANY)
    missing = trice.run("up", "-d")
    assert missing.code == 1
    assert 'external volume "shared" is not there' in missing.err
    assert "trice volume create shared" in missing.err
    assert "compose.yaml:27:" in missing.err
    assert trice.containers() == {}
    assert trice.run("volume", "create", "shared").ok().out == "shared\n"
    trice.run("up", "-d").ok()
    assert volume_names(trice) == {"demo_data", "demo_bare", "by-its-name", "shared"}
    seen = trice.run("exec", "-T", "web", "cat", "/proc/self/mountinfo").ok().out
    mounts = {line.split()[4]: line for line in seen.splitlines()}
    for target, source in (
        ("/data", "/volumes/demo_data/data"),
        ("/sub", "/volumes/demo_data/data/sub"),
        ("/bare", "/volumes/demo_bare/data"),
        ("/named", "/volumes/by-its-name/data"),
        ("/shared", "/volumes/shared/data"),
        ("/made", "/demo/made/here"),
        ("/deep", "/demo/deep"),
        ("/flat", "/demo/deep"),
    ):
        assert mounts[target].split()[3].endswith(source), mounts[target]
    is_read_only = {target: line.split()[5].startswith("ro") for target, line in mounts.items()}
    assert [each for each in ("/data", "/sub", "/made", "/deep") if is_read_only[each]] == [
        "/sub",
        "/deep",
    ]
    assert "size=2048k,mode=1750" in mounts["/mem"]
    ask = "cat /data/sub/file /sub/file; ls -A /bare; stat -c %a /mem"
    assert trice.run("exec", "-T", "web", "sh", "-c", ask).ok().out.splitlines() == [
        "of the image",
        "of the image",
        "1750",
    ]
    assert (trice.folder / "made/here").is_dir()
    theirs = trice.run("exec", "-T", "reader", "cat", "/proc/self/mountinfo").ok().out
    shared = {line.split()[4]: line.split() for line in theirs.splitlines()}
    assert shared["/data"][3] == mounts["/data"].split()[3]
    assert {shared[each][5].split(",")[0] for each in ("/data", "/named", "/made")} == {"ro"}
    assert "/mem" not in shared
    (labels,) = json.loads(trice.run("volume", "inspect", "demo_data").ok().out)
    assert labels["Labels"] == {
        "team": "blue",
        "com.docker.compose.project": "demo",
        "com.docker.compose.volume": "data",
        "com.docker.compose.version": labels["Labels"]["com.docker.compose.version"],
        "com.docker.compose.config-hash": labels["Labels"]["com.docker.compose.config-hash"],
    }
    assert trice.run("up", "--dry-run").ok().out == "nothing to do\n"
    trice.run("down", "-v").ok()
    assert volume_names(trice) == {"shared"}
    assert (trice.folder / "made/here").is_dir()


def test_a_bind_that_is_missing_stops_nothing(stack: Trice) -> None:
    body = "name: demo\nservices:\n  web:\n    image: busybox:test\n    command: [sleep, '1000']\n"
    body += "    stop_grace_period: 0s\n"
    stack.write(body)
    stack.run("up", "-d").ok()
    before = stack.ids()
    bind = "{type: bind, source: /not/there, target: /x, bind: {create_host_path: false}}"
    stack.write(f"{body}    volumes:\n      - {bind}\n")
    failed = stack.run("up", "-d")
    assert failed.code == 1
    assert "services.web.volumes[0]: cannot bind /not/there: it is not there" in failed.err
    assert "compose.yaml:8:" in failed.err
    assert stack.ids() == before
    assert len(stack.pids()) == 1


def test_another_name_of_a_volume_recreates(stack: Trice) -> None:
    """It is said at top level, where the service's own digest does not see it."""
    stack.write(SERVICE)
    up(stack, "1")
    stack.write(SERVICE.replace("  data:\n", "  data: {name: elsewhere}\n"))
    told = stack.run("up", "--dry-run", env={"ROUND": "1"}).ok().out
    assert told.splitlines()[0] == "stop demo-web-1: mounts of web changed (/data)"
    up(stack, "1")
    assert "elsewhere" in volume_names(stack)
    assert (stack.paths.volumes / "demo_data").is_dir()
