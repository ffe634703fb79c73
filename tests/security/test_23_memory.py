"""Row 23: whoever does not read, or never ends, costs a bounded amount and nobody else's time (GO-2022-0482,
2025-4108).

A hundred clients at once that never read what floods them, writers to what never reads, clients that say half a
request: the memory of keeper and manager is asked of /proc, other commands go on meanwhile, and everything is let go
when the clients are. Seen to fail before each was bounded: 64 unsent batches of a quarter megabyte a follower of a
project's logs (194 MB for 40), log lines split a megabyte at a time and buffers of 256 KiB (the same for attach and
logs: 98 to 116 MB, and `trice ps` took 5 s), --tail of more lines than there are held as objects (no other command
ended), and a hundred pidfds of ended execs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.attributes import groups_of
from tests.support.busybox import busybox_archive
from tests.support.instance import (
    containers_of_instance,
    keepers_of_instance,
    managers_of_instance,
)
from tests.support.needs import needs
from tests.support.rawapi import Client, start_exec
from tests.support.sandbox import paths_of
from tests.support.scenario import Scenario, exits, shows
from tests.support.waiting import eventually, slow_factor

pytestmark = [needs("root", "overlay", "busybox"), pytest.mark.timeout(120)]

CLIENTS = 100
STACK = """
name: memory
services:
  idle: {image: "busybox:test", command: [sleep, "1000"], stop_grace_period: 0s}
  flood:
    image: busybox:test
    command: [sh, -c, "yes; sleep 1000"]
    stop_grace_period: 0s
    cpus: 0.2
  deaf: {image: "busybox:test", command: [sleep, "1000"], stdin_open: true, stop_grace_period: 0s}
"""


@pytest.fixture
def story(scenario: Callable[[str], Scenario], tmp_path: Path) -> Scenario:
    busybox_archive(tmp_path / "busybox.tar")
    (tmp_path / "compose.yaml").write_text(STACK)
    made = scenario("memory stays where it is, whoever does not read")
    made.step("the image is loaded", "trice image load busybox.tar", exits(0))
    made.step("the stack comes up", "trice up -d", exits(0))
    return made


@pytest.fixture
def api(story: Scenario) -> Path:
    return paths_of(story.root).api_socket


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def memory_kib(pid: int) -> int:
    """Return what of a process's memory is its own and resident, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1])


class Watched:
    """How much keeper and manager have grown since."""

    def __init__(self, story: Scenario) -> None:
        name = paths_of(story.root).cgroup_name
        (self.keeper,), (self.manager,) = keepers_of_instance(name), managers_of_instance(name)
        self._before = {pid: memory_kib(pid) for pid in (self.keeper, self.manager)}
        self._fds = self.fds()

    def grown_mib(self, pid: int) -> float:
        return (memory_kib(pid) - self._before[pid]) / 1024

    def fds(self) -> int:
        return len(list(Path(f"/proc/{self.manager}/fd").iterdir()))

    def expect_bounded(self, *, manager_mib: float, keeper_mib: float = 2) -> None:
        assert self.grown_mib(self.keeper) < keeper_mib, "keeper"
        assert self.grown_mib(self.manager) < manager_mib, "manager"

    def expect_all_is_let_go(self) -> None:
        eventually(lambda: self.fds() <= self._fds + 2, what="all descriptors are let go")


def expect_others_are_quick(story: Scenario) -> None:
    """Commands go on: looking, executing, starting."""
    for command in ("trice ps", "trice exec -T idle true", "trice run --rm -T idle true"):
        began = time.monotonic()
        story.step("others go on", command, exits(0))
        assert time.monotonic() - began < 5 * slow_factor(), command


def test_a_hundred_execs_that_flood_who_never_reads(
    story: Scenario, api: Path, clients: ExitStack
) -> None:
    watched = Watched(story)
    for _ in range(CLIENTS):
        client = start_exec(api, "memory-idle-1", "yes")
        clients.callback(client.close)
    expect_others_are_quick(story)
    watched.expect_bounded(manager_mib=80)
    clients.close()
    # a closed pipe ends each of them
    eventually(lambda: story.step("they end", "trice top idle").out.count("yes") == 0, timeout_s=20)
    watched.expect_all_is_let_go()


def test_a_hundred_attached_to_what_floods(story: Scenario, api: Path, clients: ExitStack) -> None:
    watched = Watched(story)
    for _ in range(CLIENTS):
        client = clients.enter_context(closing(Client(api)))
        target = "/containers/memory-flood-1/attach?stream=1&stdout=1&stderr=1&logs=1"
        assert b" 101 " in client.ask("POST", target, upgrade=True)
    expect_others_are_quick(story)
    watched.expect_bounded(manager_mib=80)


LOGS = (
    "/containers/memory-flood-1/logs?follow=1&stdout=1&stderr=1&timestamps=1",
    "/trice/v1/projects/memory/logs?follow=1",
    "/trice/v1/projects/memory/logs",
    "/containers/memory-flood-1/logs?stdout=1&tail=100000000",
)


@pytest.mark.parametrize("target", LOGS)
def test_a_hundred_who_follow_logs_and_never_read(
    story: Scenario, api: Path, clients: ExitStack, target: str
) -> None:
    log = paths_of(story.root).containers
    eventually(lambda: sum(f.stat().st_size for f in log.glob("*/log/raw")) > 4 << 20, timeout_s=20)
    watched = Watched(story)
    for _ in range(CLIENTS if "projects" not in target else 40):
        client = clients.enter_context(closing(Client(api)))
        client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    expect_others_are_quick(story)
    watched.expect_bounded(manager_mib=80)


def test_writers_to_what_never_reads(story: Scenario, api: Path, clients: ExitStack) -> None:
    watched = Watched(story)
    taken = []
    for number in range(20):
        if number % 2:
            client = start_exec(api, "memory-idle-1", "sleep", "1000", stdin=True)
            clients.callback(client.close)
        else:
            client = clients.enter_context(closing(Client(api)))
            target = "/containers/memory-deaf-1/attach?stream=1&stdin=1&stdout=1"
            assert b" 101 " in client.ask("POST", target, upgrade=True)
        taken.append(client.send_all_it_takes(b"x" * 65536, at_most=16 << 20, patience_s=0.3))
    assert max(taken) < 4 << 20
    expect_others_are_quick(story)
    watched.expect_bounded(manager_mib=30)


HALVES = {
    "nothing": b"",
    "half a line": b"GET /_ping HT",
    "half a head": b"GET /_ping HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
}


def test_who_says_half_a_request_is_cut_off(story: Scenario, api: Path, clients: ExitStack) -> None:
    """Seen to fail without the timeouts in `Connection`: the connections stay, and the 257th client is refused."""
    waiting = []
    for words in HALVES.values():
        for _ in range(25):
            client = clients.enter_context(closing(Client(api)))
            client.send(words)
            waiting.append(client)
    expect_others_are_quick(story)
    began = time.monotonic()
    assert all(client.is_cut_off(within_s=15 * slow_factor()) for client in waiting)
    assert time.monotonic() - began < 15 * slow_factor()


def test_a_container_has_a_limit_of_processes_unless_told_otherwise(story: Scenario) -> None:
    for pid in containers_of_instance(paths_of(story.root).cgroup_name):
        assert (groups_of(pid)["pids"] / "pids.max").read_text().strip() == "4096"
    story.step("as told", "trice ps", shows("idle"))
