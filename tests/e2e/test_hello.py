"""Scenarios over a small stack, through the installed command: what a person sees, and what the kernel says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import homes
from tests.support.needs import needs
from tests.support.proving import proves
from tests.support.stack import Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

EXAMPLE = Path(__file__).parents[2] / "examples/stacks/hello/compose.yaml"
LOOP = "trap 'echo bye; exit 0' TERM; echo {word}; while :; do sleep 0.05; done"
STACK = f"""
name: demo
services:
  db:
    image: busybox:test
    command: ["sh", "-c", "{LOOP.format(word="db is here")}"]
    cpus: 0.5
    mem_limit: 32m
    pids_limit: 16
  web:
    image: busybox:test
    command: ["sh", "-c", "{LOOP.format(word="web is here")}"]
    environment: {{GREETING: hello}}
    depends_on: [db]
"""


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return the rest of both streams and wait; `communicate` would lose what is buffered already."""
    assert process.stdout is not None
    assert process.stderr is not None
    rest, told = process.stdout.read(), process.stderr.read()
    process.wait(timeout=20)
    return rest, told


def test_up_brings_the_stack_up_in_order_and_a_second_one_changes_nothing(stack: Trice) -> None:
    stack.write(STACK)
    plan = stack.run("up", "--dry-run").ok().out
    assert plan == (
        "create demo-db-1: service db is new\n"
        "start demo-db-1: service db is new (after create demo-db-1)\n"
        "create demo-web-1: service web is new\n"
        "start demo-web-1: service web is new (after create demo-web-1, start demo-db-1)\n"
    )
    assert stack.pids() == {}
    told = stack.run("up", "-d").ok().err.splitlines()
    assert told.index(" Container demo-db-1 Started") < told.index(" Container demo-web-1 Starting")
    pids = stack.pids()
    assert len(pids) == 2
    again = stack.run("up", "-d").ok().err.splitlines()
    assert sorted(again) == [" Container demo-db-1 Running", " Container demo-web-1 Running"]
    assert stack.run("up", "--dry-run").ok().out == "nothing to do\n"
    assert stack.pids() == pids


def test_containers_have_their_own_namespaces_and_limits(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    ids = stack.ids()
    pid = stack.pids()[ids["demo-db-1"]]
    for kind in ("mnt", "pid", "net", "uts", "ipc", "cgroup"):
        ours, theirs = os.readlink(f"/proc/self/ns/{kind}"), os.readlink(f"/proc/{pid}/ns/{kind}")
        assert ours != theirs, kind
    groups = dict(line.split(":")[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().split())
    inside = {controller: path for controller, path in groups.items() if ids["demo-db-1"] in path}
    if "memory" in groups:
        assert (
            Path(f"/sys/fs/cgroup/memory{inside['memory']}/memory.limit_in_bytes").read_text()
            == "33554432\n"
        )
        assert Path(f"/sys/fs/cgroup/pids{inside['pids']}/pids.max").read_text() == "16\n"
    else:
        assert Path(f"/sys/fs/cgroup{inside['']}/memory.max").read_text() == "33554432\n"


def test_ps_and_logs(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    table = stack.run("ps").ok().out.splitlines()
    assert table[0].split() == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
    assert [line.split()[0] for line in table[1:]] == ["demo-db-1", "demo-web-1"]
    assert stack.run("ps", "-q", "web").ok().out.strip() == stack.ids()["demo-web-1"]
    assert stack.run("ps", "--services").ok().out == "db\nweb\n"
    eventually(lambda: "web is here" in stack.run("logs").ok().out)
    assert stack.run("logs").ok().out == "db-1   | db is here\nweb-1  | web is here\n"
    assert stack.run("logs", "--no-log-prefix", "web").ok().out == "web is here\n"
    unknown = stack.run("logs", "nothing")
    assert (unknown.code, unknown.err) == (1, "trice: no such service: nothing\n")
    by_flag = stack.run("-p", "demo", "ps", "-q", cwd=Path("/")).ok().out.split()
    assert sorted(by_flag) == sorted(stack.ids().values())


def test_a_changed_service_alone_is_recreated_and_its_cause_is_told(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    ids, pids = stack.ids(), stack.pids()
    stack.write(STACK.replace("GREETING: hello", "GREETING: ahoy"))
    plan = stack.run("up", "--dry-run").ok().out
    assert "demo-db-1" not in plan.replace("start demo-db-1)", "")
    assert "create demo-web-1" in plan
    stack.run("up", "-d").ok()
    after = stack.ids()
    assert after["demo-db-1"] == ids["demo-db-1"]
    assert after["demo-web-1"] != ids["demo-web-1"]
    assert stack.pids()[ids["demo-db-1"]] == pids[ids["demo-db-1"]]
    environment = Path(f"/proc/{stack.pids()[after['demo-web-1']]}/environ").read_bytes()
    assert b"GREETING=ahoy" in environment.split(b"\0")


def test_a_service_taken_out_of_the_file_is_an_orphan_until_told(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    stack.write(STACK[: STACK.index("  web:")])
    warned = stack.run("up", "-d").ok()
    assert "orphan" in warned.err
    assert "demo-web-1" in stack.ids()
    stack.run("up", "-d", "--remove-orphans").ok()
    assert list(stack.ids()) == ["demo-db-1"]


def test_a_service_whose_profile_is_not_active_is_no_orphan(stack: Trice) -> None:
    text = STACK.replace("    depends_on: [db]\n", "    profiles: [debug]\n")
    stack.write(text)
    stack.run("--profile", "debug", "up", "-d").ok()
    pids = stack.pids()
    told = stack.run("up", "-d", "--remove-orphans").ok()
    assert "orphan" not in told.err
    assert stack.pids() == pids
    stack.run("down").ok()
    assert stack.ids() == {}


def test_restart_policy_restarts_and_gives_up(stack: Trice) -> None:
    stack.write(
        "name: demo\nservices:\n  flaky:\n    image: busybox:test\n    restart: on-failure:2\n"
        '    command: ["sh", "-c", "echo attempt; exit 3"]\n'
    )
    stack.run("up", "-d").ok()

    def attempts() -> bool:
        return stack.run("logs", "--no-log-prefix").ok().out == "attempt\n" * 3

    eventually(attempts, timeout_s=10)
    eventually(lambda: stack.containers()["demo-flaky-1"]["State"] == "exited")
    assert stack.containers()["demo-flaky-1"]["ExitCode"] == 3
    assert len(stack.ids()) == 1


def test_down_removes_all_and_twice_is_no_error(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    told = stack.run("down").ok().err.splitlines()
    assert told.index(" Container demo-web-1 Stopped") < told.index(" Container demo-db-1 Stopping")
    assert stack.ids() == {}
    assert stack.pids() == {}
    again = stack.run("down").ok()
    assert 'No resource found to remove for project "demo".' in again.err


def test_attached_up_streams_stops_on_interrupt_and_keeps_the_containers(stack: Trice) -> None:
    stack.write(STACK)
    with stack.begin("up") as process:
        assert process.stdout is not None
        seen = {process.stdout.readline(), process.stdout.readline()}
        assert seen == {"db-1   | db is here\n", "web-1  | web is here\n"} or seen == {
            "db-1  | db is here\n",
            "web-1  | web is here\n",
        }
        process.send_signal(signal.SIGINT)
        rest, told = finish(process)
    assert process.returncode == 0, told
    assert "Gracefully Stopping... press Ctrl+C again to force" in told
    assert sorted(rest.splitlines()) == [
        "db-1   | bye",
        "db-1 exited with code 0",
        "web-1  | bye",
        "web-1 exited with code 0",
    ]
    assert {item["State"] for item in stack.containers().values()} == {"exited"}


def test_a_polite_end_of_attached_up_is_a_stop_too(stack: Trice) -> None:
    """SIGTERM is what service managers send: nothing may go on running that nobody is with any more."""
    stack.write(
        "name: demo\nservices:\n  web:\n    image: busybox:test\n"
        "    command: [sh, -c, \"trap 'exit 5' TERM; echo here; while :; do sleep 0.05; done\"]\n"
    )
    with stack.begin("up") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "web-1  | here\n"
        process.send_signal(signal.SIGTERM)
        rest, told = finish(process)
    assert process.returncode == 0, told
    assert "web-1 exited with code 5" in rest
    assert {item["State"] for item in stack.containers().values()} == {"exited"}


def test_second_interrupt_kills(stack: Trice) -> None:
    stack.write(
        "name: demo\nservices:\n  stubborn:\n    image: busybox:test\n    stop_grace_period: 60s\n"
        "    command: [sh, -c, \"trap 'echo no' TERM; echo here; while :; do sleep 0.05; done\"]\n"
    )
    with stack.begin("up") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stubborn-1  | here\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stubborn-1  | no\n"
        assert process.stderr is not None
        while process.stderr.readline() != " Container demo-stubborn-1 Stopping\n":
            assert process.poll() is None, "what it waits for is said before the wait is over"
        process.send_signal(signal.SIGINT)
        rest, told = finish(process)
    assert process.returncode == 0, told
    assert "stubborn-1 exited with code 137" in rest


def test_second_interrupt_kills_what_the_stop_waits_for_and_what_it_has_not_come_to(
    stack: Trice,
) -> None:
    """The database's turn to be stopped comes after the stubborn one's, which is killed all the same."""
    stack.write(
        "name: demo\nservices:\n  database:\n    image: busybox:test\n    command: [sleep, '1000']\n"
        "  stubborn:\n    image: busybox:test\n    stop_grace_period: 60s\n    depends_on: [database]\n"
        "    command: [sh, -c, \"trap 'echo no' TERM; echo here; while :; do sleep 0.05; done\"]\n"
    )
    with stack.begin("up") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stubborn-1  | here\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stubborn-1  | no\n"
        process.send_signal(signal.SIGINT)
        rest, told = finish(process)
    assert process.returncode == 0, told
    assert "stubborn-1 exited with code 137" in rest
    assert "database-1 exited with code 137" in rest


def test_follow_outlives_the_manager(stack: Trice) -> None:
    """kill -9 of the manager while `logs -f` runs: every line once, no command typed."""
    stack.write(
        "name: demo\nservices:\n  counter:\n    image: busybox:test\n"
        '    command: ["sh", "-c", "n=0; while [ $$n -lt 400 ]; do n=$$((n+1)); echo $$n; sleep 0.01; done"]\n'
    )
    stack.run("up", "-d").ok()
    manager = int(
        str(json.loads(stack.run("system", "status", "--format", "json").ok().out)["pid"])
    )
    with stack.begin("logs", "-f", "--no-log-prefix") as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(20)]
        os.kill(manager, signal.SIGKILL)
        rest, told = finish(process)
    lines = [line for line in "".join([*first, rest]).splitlines() if line.isdigit()]
    assert process.returncode == 0, told
    assert lines == [str(number) for number in range(1, 401)]


def test_system_stop_leaves_nothing_and_up_brings_it_back(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    ids = stack.ids()
    stack.run("system", "stop").ok()
    assert stack.pids() == {}
    assert not stack.paths.api_socket.exists()
    assert not stack.paths.keeper_socket.exists()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(stack.root) not in mounts
    # systemd, where it runs, removes the scope a moment after its last process
    eventually(lambda: not homes(stack.paths.cgroup_name), what="no group is left")
    assert stack.run("system", "status").ok().out.startswith("trice is not running")
    stack.run("up", "-d").ok()
    assert stack.ids() == ids
    assert len(stack.pids()) == 2


def test_both_leave_by_themselves_when_nothing_is_left(trice: Trice) -> None:
    trice.environment["TRICE_IDLE_S"] = "0.3"
    trice.load_image()
    trice.write(STACK)
    trice.run("up", "-d").ok()
    assert trice.paths.api_socket.exists()
    trice.run("down").ok()
    eventually(lambda: not trice.paths.api_socket.exists(), timeout_s=10)
    eventually(lambda: not trice.paths.keeper_socket.exists(), timeout_s=10)
    assert trice.run("system", "status").ok().out.startswith("trice is not running")
    assert trice.run("image", "ls", "-q").ok().out  # comes back when it is asked


def test_scale_flag_beats_the_file(stack: Trice) -> None:
    stack.write(STACK)
    stack.run("up", "-d", "--scale", "web=3").ok()
    assert sorted(stack.ids()) == ["demo-db-1", "demo-web-1", "demo-web-2", "demo-web-3"]
    stack.run("up", "-d").ok()
    assert sorted(stack.ids()) == ["demo-db-1", "demo-web-1"]


@pytest.mark.slow
@pytest.mark.timeout(240)
@proves(*(f"build.x-bootstrap.{key}" for key in ("distribution", "suite", "variant", "packages")))
def test_the_example_from_bootstrap_to_down(trice: Trice) -> None:
    """`examples/stacks/hello` as it is: a real bootstrap from the host's apt sources."""
    shutil.copy(EXAMPLE, trice.folder / "compose.yaml")
    trice.run("up", "-d", timeout_s=200).ok()
    assert sorted(trice.ids()) == ["hello-clock-1", "hello-greeter-1"]
    eventually(lambda: "Hello, number 1, from greeter" in trice.run("logs").ok().out)
    again = trice.run("up", "-d").ok()
    assert sorted(again.err.splitlines()) == [
        " Container hello-clock-1 Running",
        " Container hello-greeter-1 Running",
    ]
    trice.run("down", "-t", "0").ok()
