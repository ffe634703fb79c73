"""The docker client of this machine against our socket: what it shows is what runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.leaks import Ours
from tests.support.needs import needs
from tests.support.pty_session import on_a_terminal
from tests.support.stack import Trice, trice_in
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox", "docker_client")]

STACK = """\
name: demo
services:
  web:
    image: busybox:test
    command: ["sh", "-c", "echo to stdout; echo to stderr >&2; trap exit TERM; while :; do sleep 0.05; done"]
    restart: always
    mem_limit: 32m
  done:
    image: busybox:test
    command: ["sh", "-c", "echo one; exit 3"]
"""


@pytest.fixture(scope="module")
def trice(ours: Ours, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trice]:
    folder = tmp_path_factory.mktemp("demo")
    with sandbox.instance(ours) as root, trice_in(root, folder) as one:
        one.load_image()
        one.write(STACK)
        one.run("up", "-d").ok()
        eventually(lambda: one.containers()["demo-done-1"]["State"] == "exited")
        yield one


@pytest.fixture
def own(ours: Ours, tmp_path: Path) -> Iterator[Trice]:
    """An instance that is a test's alone, for what leaves other processes than there were."""
    with sandbox.instance(ours) as root, trice_in(root, tmp_path) as one:
        one.load_image()
        yield one


def environment(trice: Trice) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(trice.root),
        "DOCKER_HOST": f"unix://{trice.paths.api_socket}",
        "TERM": "xterm",
    }


def docker(
    trice: Trice, *arguments: str, code: int = 0, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["docker", *arguments],
        env=environment(trice),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == code, done.stderr
    return done


def test_ps_lists_what_runs(trice: Trice) -> None:
    lines = docker(trice, "ps").stdout.splitlines()
    assert len(lines) == 2
    assert re.search(
        r'busybox:test +"sh -c .* (seconds|second) ago +Up .* +demo-web-1$', lines[1]
    ), lines
    everything = docker(trice, "ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}").stdout
    assert re.search(r"^demo-done-1 exited Exited \(3\) .* ago$", everything, re.MULTILINE), (
        everything
    )
    filters = ("--filter", "label=com.docker.compose.service=done", "--filter", "status=exited")
    assert docker(trice, "ps", "-a", "-q", "--no-trunc", *filters).stdout.split() == [
        trice.ids()["demo-done-1"]
    ]
    assert len(docker(trice, "ps", "-a", "-q", "-n", "1").stdout.split()) == 1


def test_logs_keep_the_streams_apart(trice: Trice) -> None:
    eventually(lambda: docker(trice, "logs", "demo-web-1").stdout == "to stdout\n")
    assert docker(trice, "logs", "demo-web-1").stderr == "to stderr\n"
    timed = docker(trice, "logs", "-t", "demo-done-1").stdout
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one\n", timed), timed
    assert docker(trice, "logs", "-f", "--tail", "1", "demo-done-1").stdout == "one\n"
    missing = docker(trice, "logs", "nothing", code=1)
    assert "No such container: nothing" in missing.stderr


def test_inspect_says_what_the_kernel_says(trice: Trice) -> None:
    (document,) = json.loads(docker(trice, "inspect", "demo-web-1").stdout)
    pid = document["State"]["Pid"]
    assert Path(f"/proc/{pid}/comm").read_text() == "sh\n"
    assert document["HostConfig"]["Memory"] == 32 * 1024 * 1024
    assert document["Id"] == trice.ids()["demo-web-1"]
    short = docker(
        trice,
        "inspect",
        "--format",
        "{{.Name}} {{.State.ExitCode}}",
        trice.ids()["demo-done-1"][:10],
    )
    assert short.stdout == "/demo-done-1 3\n"


def test_version_info_and_images(trice: Trice) -> None:
    assert "trice" in docker(trice, "version").stdout
    assert re.search(r"Containers: 2\n  Running: 1", docker(trice, "info").stdout)
    assert "busybox" in docker(trice, "images").stdout


def test_stop_by_docker_holds_until_start(own: Trice) -> None:
    """`restart: always`, and yet a stop by hand is a stop; after a start by hand the policy holds again."""
    own.write(STACK)
    own.run("up", "-d").ok()
    web = own.ids()["demo-web-1"]
    docker(own, "stop", "-t", "5", "demo-web-1")
    assert own.containers()["demo-web-1"]["State"] == "exited"
    assert docker(own, "stop", "demo-web-1").stdout == "demo-web-1\n"
    docker(own, "start", "demo-web-1")
    before = own.pids()[web]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: own.pids().get(web, before) != before)


def test_events_and_removal(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    eventually(lambda: stack.containers()["demo-done-1"]["State"] == "exited")
    docker(stack, "rm", "demo-web-1", code=1)
    docker(stack, "rm", "demo-done-1")
    events = docker(
        stack, "events", "--since", "10m", "--until", "0s", "--format", "{{json .}}"
    ).stdout
    actions = [
        (record["Action"], record["Actor"]["Attributes"]["name"])
        for record in map(json.loads, events.splitlines())
        if record["Type"] == "container"
    ]
    assert ("die", "demo-done-1") in actions
    assert ("destroy", "demo-done-1") in actions


# ── what runs in containers ──────────────────────────────────────────────────────────────────────


def test_exec(trice: Trice) -> None:
    done = docker(trice, "exec", "demo-web-1", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    text = "line\n" * 100_000
    assert docker(trice, "exec", "-i", "demo-web-1", "cat", stdin=text).stdout == text
    docker(trice, "exec", "demo-web-1", "nothing-of-the-kind", code=127)
    words = ("-u", "nobody", "-w", "/etc", "-e", "A=1", "demo-web-1", "sh", "-c")
    assert docker(trice, "exec", *words, "id -u; pwd; echo $A").stdout == "65534\n/etc\n1\n"
    docker(trice, "exec", "-d", "demo-web-1", "sleep", "3")


def test_exec_on_a_terminal(trice: Trice) -> None:
    words = ["docker", "exec", "-it", "demo-web-1", "sh"]
    with on_a_terminal(
        words, folder=trice.folder, environment=environment(trice), rows=33, columns=99
    ) as session:
        session.type("until stty size | grep '^33 99$'; do :; done; exit 7\n")
        session.read_until("33 99\r\n")
        assert session.end() == 7


def test_top_stats_pause_rename_update(trice: Trice) -> None:
    assert docker(trice, "top", "demo-web-1").stdout.splitlines()[0].split()[-1] == "CMD"
    row = docker(trice, "stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}").stdout
    assert re.fullmatch(r"demo-web-1 \d+\n", row), row
    docker(trice, "pause", "demo-web-1")
    assert "(Paused)" in docker(trice, "ps").stdout
    docker(trice, "unpause", "demo-web-1")
    docker(trice, "rename", "demo-web-1", "other")
    docker(trice, "rename", "other", "demo-web-1")
    docker(trice, "update", "--cpus", "0.5", "demo-web-1")
    limit = docker(trice, "inspect", "--format", "{{.HostConfig.NanoCpus}}", "demo-web-1").stdout
    assert limit == "500000000\n"


def test_cp(trice: Trice, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    docker(trice, "cp", f"{tmp_path}/file", "demo-web-1:/tmp/renamed")
    docker(trice, "cp", "demo-web-1:/tmp/renamed", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "content"


def test_run_attach_wait(trice: Trice) -> None:
    done = docker(
        trice, "run", "--rm", "busybox:test", "sh", "-c", "echo out; echo err >&2; exit 5", code=5
    )
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("out\n", "err")
    assert docker(trice, "run", "--rm", "-i", "busybox:test", "cat", stdin="abc").stdout == "abc"
    docker(trice, "run", "--rm", "-p", "80:80", "busybox:test", "true", code=125)
    loop = "trap 'echo told; exit 6' TERM; while :; do echo tick; sleep 0.05; done"
    solo = docker(trice, "run", "-d", "--name", "solo", "busybox:test", "sh", "-c", loop).stdout
    with subprocess.Popen(
        ["docker", "attach", "solo"],
        env=environment(trice),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline() == "tick\n"
        waiting = subprocess.Popen(
            ["docker", "wait", "solo"], env=environment(trice), stdout=subprocess.PIPE, text=True
        )
        docker(trice, "stop", "-t", "5", solo.strip()[:12])
        assert waiting.communicate(timeout=10)[0] == "6\n"
        attached.communicate(timeout=10)
        assert attached.returncode == 6
    docker(trice, "rm", "solo")
    assert len(docker(trice, "ps", "-a", "-q").stdout.split()) == 2


def test_volumes(trice: Trice) -> None:
    """docker makes, lists, shows, mounts and removes them; `--rm` and `rm -v` take anonymous ones along."""
    assert docker(trice, "volume", "create", "--label", "a=b", "data").stdout == "data\n"
    assert docker(trice, "volume", "ls", "-q", "--filter", "label=a=b").stdout == "data\n"
    (shown,) = json.loads(docker(trice, "volume", "inspect", "data").stdout)
    assert Path(shown["Mountpoint"]).is_dir()
    run = ("run", "--rm", "--network", "none")
    script = "echo written > /v/file; touch /scratch/x; echo done"
    made = docker(
        trice, *run, "-v", "data:/v", "-v", "/scratch", "busybox:test", "sh", "-c", script
    )
    assert made.stdout == "done\n"
    assert (Path(shown["Mountpoint"]) / "file").read_text() == "written\n"
    eventually(lambda: docker(trice, "volume", "ls", "-q").stdout == "data\n", what="--rm took it")
    mount = "type=volume,source=data,target=/m,readonly"
    holder = ("run", "-d", "--name", "holder", "--network", "none", "--mount", mount)
    docker(trice, *holder, "busybox:test", "sleep", "1000")
    asked = "cat /m/file; touch /m/x 2>/dev/null || echo read-only"
    read = docker(trice, *run, "--volumes-from", "holder", "busybox:test", "sh", "-c", asked)
    assert read.stdout == "written\nread-only\n"
    (state,) = json.loads(docker(trice, "inspect", "holder").stdout)
    (seen,) = state["Mounts"]
    assert (seen["Type"], seen["Name"], seen["RW"]) == ("volume", "data", False)
    assert "in use" in docker(trice, "volume", "rm", "data", code=1).stderr
    docker(trice, "rm", "-f", "-v", "holder")
    assert docker(trice, "volume", "rm", "data").stdout == "data\n"
    assert not Path(shown["Mountpoint"]).exists()
