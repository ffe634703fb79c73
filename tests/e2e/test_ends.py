"""What the end of a process means for its container, and what stays: by the policy, by restart, by recreation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.stack import Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

EATS = "sh -c 'x=a; while :; do x=$$x$$x; done'"
STACK = f"""\
name: demo
services:
  mother:
    image: busybox:test
    command: ["sh", "-c", "{EATS}; echo survived $$?; exec sleep 1000"]
    mem_limit: 16m
    memswap_limit: 16m
    restart: always
    stop_grace_period: 0s
  keeper:
    image: busybox:test
    command: ["sh", "-c", "cat /kept; exec sleep 1000"]
    labels: {{turn: "%s"}}
    stop_grace_period: 0s
"""


@pytest.fixture
def up(stack: Trice) -> Trice:
    stack.write(STACK % "1")
    stack.run("up", "-d").ok()
    return stack


def inspected(one: Trice, name: str) -> dict[str, object]:
    (document,) = json.loads(one.run("container", "inspect", name).ok().out)
    assert isinstance(document, dict)
    return document


def test_a_child_killed_for_memory_is_recorded_and_no_restart(up: Trice) -> None:
    """Whatever the policy: the container's own process lives."""
    eventually(lambda: "survived 137" in up.run("logs", "mother").out, timeout_s=10)
    document = inspected(up, "demo-mother-1")
    state = document["State"]
    assert isinstance(state, dict)
    assert (state["Status"], document["RestartCount"], state["OOMKilled"]) == ("running", 0, False)
    assert up.pids()[str(document["Id"])] == state["Pid"]
    up.run("kill", "mother").ok()
    events = up.run("events", "--json", "--since", "10m", "--until", "0s").ok().out.splitlines()
    actions = [each["action"] for each in map(json.loads, events) if each["service"] == "mother"]
    assert "oom" in actions
    assert actions.count("start") == 1


def test_restart_keeps_id_name_and_layer_and_recreation_only_the_name(up: Trice) -> None:
    name = "demo-keeper-1"

    def layer() -> Path:
        return up.paths.containers / up.ids()[name] / "upper"

    up.run("exec", "-T", "keeper", "sh", "-c", "echo words > /kept").ok()
    before, inode = up.ids()[name], layer().stat().st_ino
    up.run("restart", "keeper").ok()
    assert (up.ids()[name], layer().stat().st_ino) == (before, inode)
    eventually(lambda: "words" in up.run("logs", "--no-log-prefix", "keeper").out)
    assert up.run("exec", "-T", "keeper", "cat", "/kept").out == "words\n"
    for change in (("2",), ("2", "--force-recreate")):
        before = up.ids()[name]
        up.write(STACK % change[0])
        up.run("up", "-d", *change[1:], "keeper").ok()
        assert set(up.ids()) == {name, "demo-mother-1"}
        assert up.ids()[name] != before
        assert not (up.paths.containers / before).exists()
        assert not (layer() / "kept").exists()
        assert up.run("exec", "-T", "keeper", "cat", "/kept").code == 1
        up.run("exec", "-T", "keeper", "sh", "-c", "echo words > /kept").ok()
