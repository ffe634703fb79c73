"""Namespaces of another container, host limits that are told, and fair shares of a processor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runtime.api import ContainerId, InvalidSpec, InvalidState, Namespaces, NotFound
from tests.support.attributes import container, output, request_from, shared_runtime
from tests.support.leaks import Ours
from tests.support.live import Live
from tests.support.needs import needs
from tests.support.proving import proves
from tests.support.waiting import eventually

pytestmark = needs("root", "busybox", "overlay")

SPIN = "command: [sh, -c, 'while :; do :; done']"
ON = "command: [sleep, '1000']"


@pytest.fixture(scope="module")
def box(ours: Ours) -> Iterator[Live]:
    with shared_runtime(ours) as runtime:
        yield runtime


def inode(box: Live, made: ContainerId, kind: str) -> str:
    return os.readlink(f"/proc/{box.pid(made)}/ns/{kind}")


@proves("pid", "ipc")
def test_pid_and_ipc_of_another_container_with_its_shm(box: Live) -> None:
    first = "container_name: first-1\nipc: shareable\n"
    second = (
        "container_name: second-1\npid: container:first-1\nipc: container:first-1\ninit: true\n"
    )
    script = "command: [sh, -c, 'echo hi > /dev/shm/f; exec sleep 1000']"
    with container(box, first + script) as one, container(box, second + ON) as two:
        for kind in ("pid", "ipc"):
            assert inode(box, one, kind) == inode(box, two, kind)
        assert inode(box, one, "mnt") != inode(box, two, "mnt")
        assert box.sh(two, "cat /dev/shm/f").out == "hi\n"
        assert box.sh(two, "cat /proc/1/comm").out == "sleep\n"
        box.sh(two, "echo back > /dev/shm/g")
        assert box.sh(one, "cat /dev/shm/g").out == "back\n"
        # The one that made the pid namespace takes the others with it.
        box.runtime.stop(one, grace_s=0)
        eventually(lambda: not box.runtime.inspect(two).is_running, what="the second ended")


@proves("network_mode")
def test_the_network_of_another_container(box: Live) -> None:
    """What one listens on, the other reaches: there is nothing between them."""
    first = "container_name: first-3\ncommand: [nc, -l, -p, '777', -e, echo, hello]"
    second = f"container_name: second-3\nnetwork_mode: container:first-3\n{ON}"
    with container(box, first) as one, container(box, second) as two:
        assert inode(box, one, "net") == inode(box, two, "net")
        assert inode(box, one, "net") != os.readlink("/proc/self/ns/net")
        assert inode(box, one, "pid") != inode(box, two, "pid")
        eventually(lambda: box.sh(two, "nc 127.0.0.1 777 < /dev/null").out == "hello\n")


def test_whoever_has_the_name_is_joined_at_each_start(box: Live) -> None:
    second = f"container_name: second-2\nipc: container:first-2\n{ON}"
    request = request_from(box, second)
    made = box.runtime.create(request)
    try:
        with pytest.raises(NotFound, match="first-2"):
            box.runtime.start(made)
        with container(box, f"container_name: first-2\n{ON}") as one:
            box.runtime.stop(one, grace_s=0)
            with pytest.raises(InvalidState, match="first-2"):
                box.runtime.start(made)
            box.runtime.start(one)
            box.runtime.start(made)
            assert inode(box, one, "ipc") == inode(box, made, "ipc")
    finally:
        box.runtime.remove(made, force=True)


def test_names_of_the_hosts_own_are_not_changed(box: Live) -> None:
    with pytest.raises(InvalidSpec, match="hostname"):
        box.create(hostname="h", namespaces=Namespaces(uts="host"))
    with pytest.raises(InvalidSpec, match=r"sysctls\.net\.core\.somaxconn"):
        box.create(sysctls={"net.core.somaxconn": "1"}, namespaces=Namespaces(network="host"))
    with pytest.raises(InvalidSpec, match="cgroup"):
        box.create(cap_add=("SYS_ADMIN",), namespaces=Namespaces(cgroup="host"))
    said = output(box, "uts: host\nnetwork_mode: host\npid: host", "hostname")
    assert said == os.uname().nodename


def test_what_the_host_does_not_give_is_told_and_the_rest_goes_on(box: Live) -> None:
    if not box.runtime.host.hard_limits:
        pytest.skip("this host lets us raise resource limits")
    most = box.runtime.host.hard_limits["NOFILE"]
    body = f"ulimits: {{nofile: {{soft: 100, hard: {most + 1}}}}}\ncap_add: [SYS_RESOURCE]"
    warnings = box.runtime.warnings(request_from(box, body))
    assert [warning.partition(":")[0] for warning in warnings] == ["ulimits.nofile", "cap_add"]
    assert output(box, body, "ulimit -Sn; ulimit -Hn") == f"100\n{most}"
    assert box.runtime.warnings(request_from(box, "ulimits: {nofile: 100}")) == ()


def cpu_seconds(box: Live, made: ContainerId) -> float:
    return box.runtime.stats(made).cpu_ns / 1e9


def shares_of(box: Live, *bodies: str) -> list[float]:
    """Return what part of one processor each of these spinners had, over a second of its time."""
    with ExitStack() as stack:
        made = [stack.enter_context(container(box, f"{body}\n{SPIN}")) for body in bodies]
        begun = [cpu_seconds(box, each) for each in made]
        since = time.monotonic()

        def used() -> list[float]:
            return [cpu_seconds(box, each) - first for each, first in zip(made, begun, strict=True)]

        eventually(
            lambda: sum(used()) > 1.5 or time.monotonic() - since > 8,
            timeout_s=20,
            what="they have run",
        )
        elapsed = time.monotonic() - since
        return [*used(), elapsed]


def test_shares_are_a_floor_and_no_ceiling(box: Live) -> None:
    """Two spinners with 1024 and 256 on one processor get 80 and 20 of what both get."""
    body = 'container_name: %s\ncpuset: "0"\ncpu_shares: %d'
    many, few, _ = shares_of(box, body % ("many", 1024), body % ("few", 256))
    assert abs(many / (many + few) - 0.8) < 0.1


def test_a_lone_one_gets_everything_but_its_quota(box: Live) -> None:
    """Without a neighbour the smallest weight runs all the time; with a quota of a half it does not.

    The machine is shared: so the two are compared with one another, on the same processor.
    """
    alone, elapsed = shares_of(box, 'container_name: lone\ncpuset: "0"\ncpu_shares: 2')
    half, over = shares_of(box, 'container_name: half\ncpuset: "0"\ncpus: 0.5')
    assert half / over < 0.6
    assert alone / elapsed > half / over or alone / elapsed > 0.6


def test_limits_of_processors_and_disks_change_under_a_running_container(box: Live) -> None:
    from runtime.api import Limits

    with container(box, ON) as made:
        box.runtime.update(made, Limits(cpuset="0", cpu_shares=64))
        allowed = Path(f"/proc/{box.pid(made)}/status").read_text()
        assert "Cpus_allowed_list:\t0\n" in allowed
