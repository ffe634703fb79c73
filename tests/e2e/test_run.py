"""`trice run`: one-off containers of a service, as scripts use them."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.support.needs import needs
from tests.support.stack import Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

STACK = """\
name: demo
services:
  db:
    image: busybox:test
    command: ["sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"]
  job:
    image: busybox:test
    command: ["sh", "-c", "echo the service itself; exit 3"]
    environment: {GREETING: hello}
    restart: always
    depends_on: [db]
"""


@pytest.fixture
def one(stack: Trice) -> Trice:
    stack.write(STACK)
    return stack


def oneoffs(one: Trice) -> list[dict[str, object]]:
    filters = ("--filter", "label=com.docker.compose.oneoff=True")
    lines = one.run("container", "ls", "-a", *filters, "--format", "json").ok().out.splitlines()
    return [json.loads(line) for line in lines]


def test_stdout_carries_only_the_containers_and_its_code_is_ours(one: Trice) -> None:
    done = one.run("run", "--rm", "job", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (done.code, done.out) == (9, "out\n")
    assert done.err.splitlines()[-1] == "err"
    assert one.containers()["demo-db-1"]["State"] == "running"  # its dependency came first
    assert "demo-job-1" not in one.containers()
    assert oneoffs(one) == []
    assert one.run("run", "--rm", "--no-deps", "job").out == "the service itself\n"


def test_piped_stdin_is_read_to_its_end(one: Trice) -> None:
    done = one.run("run", "--rm", "-T", "--no-deps", "job", "cat", stdin="a\nb\n")
    assert (done.code, done.out) == (0, "a\nb\n")


def test_without_rm_it_stays_with_the_labels_of_a_one_off(one: Trice) -> None:
    words = ("-e", "MORE=1", "-u", "nobody", "-w", "/etc", "-l", "mine=yes", "--name", "just-once")
    script = 'echo "$GREETING $MORE $(id -u) $(pwd)"'
    done = one.run("run", "--no-deps", *words, "job", "sh", "-c", script)
    assert done.ok().out == "hello 1 65534 /etc\n"
    (left,) = oneoffs(one)
    labels = left["Labels"]
    assert isinstance(labels, dict)
    assert (left["Names"], left["State"]) == (["/just-once"], "exited")
    assert labels["com.docker.compose.service"] == "job"
    assert labels["mine"] == "yes"
    assert "com.docker.compose.container-number" not in labels
    # `restart: always` of the service is not the one-off's, and `down` leaves it.
    one.run("container", "rm", "just-once").ok()
    one.run("run", "--no-deps", "job", "true").ok()
    (named,) = oneoffs(one)
    assert str(named["Names"]).startswith("['/demo-job-run-")


def test_a_one_off_that_stays_is_listed_until_down_removes_orphans(one: Trice) -> None:
    live = one.run("run", "-d", "--name", "live", "job", "sleep", "1000").ok().out.strip()
    one.run("run", "--no-deps", "--name", "ended", "job", "true").ok()
    assert set(one.containers()) == {"demo-db-1", "live", "ended"}
    assert one.containers()["live"]["Service"] == "job"
    assert one.run("ps", "-a", "-q", "job").ok().out.splitlines()[-1] == live
    assert len(one.run("ps", "-q").ok().out.split()) == 1  # they are for `ps -a`, running or not
    pid = one.pids()[live]
    one.run("down").ok()
    assert set(one.containers()) == {"live", "ended"}
    assert os.path.exists(f"/proc/{pid}")
    one.run("down", "--remove-orphans", "-t", "1").ok()
    assert one.run("container", "ls", "-a", "-q").ok().out == ""
    assert not os.path.exists(f"/proc/{pid}")
    one.run("run", "--no-deps", "--name", "late", "job", "true").ok()  # of what has never been up
    one.run("down", "--remove-orphans").ok()
    assert one.containers() == {}


def test_entrypoint_drops_the_command(one: Trice) -> None:
    done = one.run("run", "--rm", "--no-deps", "--entrypoint", "echo from", "job")
    assert done.ok().out == "from\n"
    done = one.run("run", "--rm", "--no-deps", "--entrypoint", "echo from", "job", "here")
    assert done.ok().out == "from here\n"


def test_detached_it_prints_its_id_and_runs_on(one: Trice) -> None:
    done = one.run("run", "-d", "--rm", "--no-deps", "job", "sleep", "1000")
    container = done.ok().out.strip()
    assert container in one.pids()
    one.run("container", "kill", container[:8]).ok()
    eventually(lambda: oneoffs(one) == [])


def test_what_cannot_start_says_why_and_leaves_nothing(one: Trice) -> None:
    done = one.run("run", "--rm", "--no-deps", "job", "nothing-of-the-kind")
    assert (done.code, done.out) == (127, "")
    assert "nothing-of-the-kind" in done.err
    assert oneoffs(one) == []


def test_signals_are_passed_on(one: Trice) -> None:
    script = "trap 'echo told; exit 6' INT; echo ready; while :; do sleep 0.05; done"
    with one.begin("run", "--rm", "-T", "--no-deps", "job", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "told\n"
        assert process.wait(timeout=15) == 6
