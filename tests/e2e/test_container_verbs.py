"""start, stop, restart, pause, kill, wait, rm, create, cp, top, stats: by service, and host-wide by container."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.stack import Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

LOOP = "trap exit TERM; while :; do sleep 0.05; done"
STACK = f"""\
name: demo
services:
  db:
    image: busybox:test
    command: ["sh", "-c", "{LOOP}"]
    restart: always
  web:
    image: busybox:test
    command: ["sh", "-c", "echo web; {LOOP}"]
    depends_on: [db]
"""


@pytest.fixture
def up(stack: Trice) -> Trice:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    return stack


def states(one: Trice) -> dict[str, object]:
    return {name: item["State"] for name, item in one.containers().items()}


def test_stop_and_start_keep_containers_and_their_files(up: Trice) -> None:
    ids = up.ids()
    up.run("exec", "-T", "web", "sh", "-c", "echo kept > /kept").ok()
    up.run("stop", "-t", "2").ok()
    assert set(states(up).values()) == {"exited"}
    told = up.run("start").ok().err.splitlines()
    assert told.index(" Container demo-db-1 Started") < told.index(" Container demo-web-1 Starting")
    assert up.ids() == ids
    assert up.run("exec", "-T", "web", "cat", "/kept").out == "kept\n"


_SAID = {
    "logs web": (0, ""),
    "ps -q web": (0, ""),
    "kill web": (0, "No container to kill\n"),
    "stop web": (0, 'trice: warning: nothing to stop in project "demo"\n'),
    "down web": (0, 'trice: warning: No resource found to remove for project "demo".\n'),
    "top web": (0, ""),
    "rm -f web": (0, "No stopped containers\n"),
    "rm -f -s web db": (
        0,
        'trice: warning: nothing to stop in project "demo"\nNo stopped containers\n',
    ),
    "images -q web": (0, ""),
    "exec -T web true": (1, 'trice: service "web" is not running\n'),
    "wait web": (1, "trice: no containers for service(s) web are running\n"),
    "start": (1, 'trice: service "db" has no container to start\n'),
    "start web": (1, 'trice: service "web" has no container to start\n'),
    "restart web": (1, 'trice: service "web" has no container to start\n'),
}
"""Exit code and stderr before the first `up` (compose-cli §9)."""


@pytest.mark.parametrize("is_managed", [False, True], ids=["nobody there", "manager there"])
def test_before_the_first_up_a_service_of_the_file_is_one(
    trice: Trice, *, is_managed: bool
) -> None:
    trice.write(STACK)
    if is_managed:
        trice.load_image()
    assert trice.paths.api_socket.exists() is is_managed
    for words, (code, err) in _SAID.items():
        done = trice.run(*words.split())
        assert (done.code, done.out, done.err) == (code, "", err), words
        if words not in {"start", "restart web"}:
            ghost = trice.run(*words.replace("web", "ghost").split())
            assert ghost.code == 1, words
            assert re.fullmatch("trice: no such service( or container)?: ghost\n", ghost.err), (
                f"{words}: {ghost.err}"
            )
    assert trice.paths.api_socket.exists() is is_managed  # nobody was started for that


def test_a_service_that_the_file_has_since_the_last_up(up: Trice) -> None:
    up.write(STACK + "  new: {image: busybox:test}\n")
    for words in ("stop", "rm -f", "kill", "down"):
        up.run(*words.split(), "new").ok()
    assert set(states(up).values()) == {"running"}
    up.run("stop", "-t", "2", "web", "new").ok()
    assert states(up)["demo-web-1"] == "exited"
    up.run("rm", "-f", "web", "new").ok()
    assert set(up.ids()) == {"demo-db-1"}


def test_start_makes_nothing(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d", "db").ok()
    done = stack.run("start", "web")
    assert (done.code, done.err) == (1, 'trice: service "web" has no container to start\n')


def test_restart_is_of_these_containers_and_no_others(up: Trice) -> None:
    ids, pids = up.ids(), up.pids()
    up.write(STACK.replace("echo web", "echo changed"))
    up.run("restart", "-t", "2", "db").ok()
    after = up.pids()
    assert after[ids["demo-db-1"]] != pids[ids["demo-db-1"]]
    assert after[ids["demo-web-1"]] == pids[ids["demo-web-1"]]
    up.run("restart", "-t", "2").ok()  # what the file says now waits for `up`
    assert up.ids() == ids
    assert set(up.pids().values()).isdisjoint(after.values())
    up.run("stop", "-t", "2").ok()
    up.run("restart", "web").ok()
    assert states(up) == {"demo-db-1": "exited", "demo-web-1": "running"}


def test_pause_kill_wait(up: Trice) -> None:
    up.run("pause", "web").ok()
    assert states(up)["demo-web-1"] == "paused"
    assert "(Paused)" in up.run("ps").ok().out
    again = up.run("pause", "web")
    assert again.code == 1
    assert "demo-web-1" in again.err
    up.run("unpause", "web").ok()
    with up.begin("wait", "web") as waiting:
        # A thread a container: it has been chosen by then.
        eventually(lambda: len(os.listdir(f"/proc/{waiting.pid}/task")) > 1)
        up.run("kill", "-s", "KILL", "web").ok()
        assert waiting.stdout is not None
        identity = up.ids()["demo-web-1"]
        assert waiting.stdout.read() == f'container "{identity}" exited with status code 137\n'
        assert waiting.wait(timeout=10) == 137
    assert up.run("kill", "web").code == 0  # nothing to kill is no error


def test_rm_and_create(up: Trice) -> None:
    old = up.ids()
    assert up.run("rm", "-f").err == "No stopped containers\n"
    up.run("rm", "-f", "-s", "web").ok()
    assert set(up.ids()) == {"demo-db-1"}
    up.run("create").ok()
    assert states(up) == {"demo-db-1": "running", "demo-web-1": "created"}
    assert up.ids()["demo-web-1"] != old["demo-web-1"]
    up.run("start", "web").ok()
    assert states(up)["demo-web-1"] == "running"


def test_host_wide_by_id_and_name(up: Trice) -> None:
    elsewhere = up.folder.parent
    web = up.ids()["demo-web-1"]

    def run(*words: str) -> str:
        return up.run("container", *words, cwd=elsewhere).ok().out

    assert set(run("ls", "-q", "--no-trunc").split()) == set(up.ids().values())
    assert run("stop", "-t", "2", web[:10]) == f"{web[:10]}\n"
    assert web not in run("ls", "-q", "--no-trunc").split()
    assert run("start", "demo-web-1") == "demo-web-1\n"
    (document,) = json.loads(run("inspect", web[:8]))
    assert document["State"]["Pid"] == up.pids()[web]
    assert document["Name"] == "/demo-web-1"
    eventually(lambda: run("logs", web[:8]) == "web\nweb\n")
    assert up.run("logs", web[:8], cwd=elsewhere).ok().out == "web\nweb\n"
    run("restart", "-t", "2", web)
    run("pause", web)
    run("unpause", web)
    assert "sleep" in run("top", web) or "sh -c" in run("top", web)
    run("rename", web, "another")
    assert json.loads(run("inspect", "another"))[0]["Id"] == web
    run("rename", "another", "demo-web-1")
    refused = up.run("container", "rm", web)
    assert refused.code == 1
    assert "is running" in refused.err
    nothing = up.run("container", "stop", "nothing")
    assert (nothing.code, nothing.err) == (1, "trice: No such container: nothing\n")


def test_stats_are_of_the_kernel(up: Trice) -> None:
    lines = up.run("stats", "--no-stream", "--format", "json").ok().out.splitlines()
    found = {item["Name"]: item for item in map(json.loads, lines)}
    assert set(found) == {"demo-db-1", "demo-web-1"}
    web = found["demo-web-1"]
    assert set(web) == {
        *("BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs")
    }
    assert int(web["PIDs"]) in {1, 2}
    table = up.run("container", "stats", "--no-stream").ok().out.splitlines()
    assert table[0].split("   ")[0] == "CONTAINER ID"


def test_cp_both_ways(up: Trice, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_bytes(b"x" * 300_000)
    (tree / "link").symlink_to("deep/file")
    up.run("cp", str(tree), "web:/opt").ok()  # /opt is not there: it becomes the tree
    up.run("cp", str(tree), "web:/tmp").ok()
    for place in ("/opt", "/tmp/tree"):
        assert up.run("exec", "-T", "web", "wc", "-c", f"{place}/deep/file").out.startswith(
            "300000"
        )
        assert up.run("exec", "-T", "web", "readlink", f"{place}/link").out == "deep/file\n"
    back = tmp_path / "back"
    up.run("cp", "web:/opt", str(back)).ok()
    assert (back / "deep" / "file").read_bytes() == b"x" * 300_000
    assert (back / "link").readlink() == Path("deep/file")
    up.run("stop", "-t", "2", "web").ok()
    up.run("cp", str(tree / "deep" / "file"), "web:/etc/renamed").ok()
    up.run("cp", "web:/etc/renamed", str(tmp_path)).ok()
    assert (tmp_path / "renamed").stat().st_size == 300_000
    missing = up.run("cp", "web:/nothing", str(tmp_path))
    assert missing.code == 1
    assert "/nothing" in missing.err


def test_cp_into_all_takes_one_off_containers_too(up: Trice, tmp_path: Path) -> None:
    assert re.search(r"--all +One-off containers, too", up.run("cp", "--help").ok().out)
    once = up.run("run", "-d", "--no-deps", "web", "sh", "-c", LOOP).ok().out.strip()
    (tmp_path / "file").write_text("new\n")

    def look() -> list[str]:
        return [up.run("container", "exec", "-T", name, "cat", "/file").out for name in (web, once)]

    web = "demo-web-1"
    up.run("cp", str(tmp_path / "file"), "web:/").ok()
    assert look() == ["new\n", ""]
    up.run("cp", "--all", str(tmp_path / "file"), "web:/").ok()
    assert look() == ["new\n", "new\n"]
    up.run("rm", "-fs", "web").ok()
    assert up.run("cp", "web:/file", str(tmp_path / "back")).code == 1
    up.run("cp", "--all", "web:/file", str(tmp_path / "back")).ok()
    assert (tmp_path / "back").read_text() == "new\n"


def test_cp_streams_tar(up: Trice) -> None:
    up.run("exec", "-T", "web", "sh", "-c", "echo inside > /tmp/one").ok()
    text = up.run("container", "cp", "demo-web-1:/tmp/one", "-").ok().out
    with tarfile.open(fileobj=io.BytesIO(text.encode())) as archive:
        assert archive.getnames() == ["one"]
    up.run("cp", "-", "web:/etc", stdin=text).ok()
    assert up.run("exec", "-T", "web", "cat", "/etc/one").out == "inside\n"


def test_projects_images_events_and_ports(up: Trice) -> None:
    assert json.loads(up.run("ls", "--format", "json").ok().out)[0] == {
        "Name": "demo",
        "Status": "running(2)",
        "ConfigFiles": str(up.folder / "compose.yaml"),
    }
    assert "busybox" in up.run("images").ok().out
    up.run("exec", "-T", "web", "true").ok()
    lines = up.run("events", "--json", "--since", "10m", "--until", "0s").ok().out.splitlines()
    events = [json.loads(line) for line in lines]
    assert ("web", "start") in {(event["service"], event["action"]) for event in events}
    port = up.run("port", "web", "80")
    assert port.code == 1
    assert "no port 80/tcp for container demo-web-1" in port.err
