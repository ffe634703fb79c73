"""Namespaces of another container, host limits that are told, and fair shares of a processor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
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

WINDOW_S = 2.0
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


@dataclass(frozen=True, kw_only=True)
class Window:
    """What happened on processor 0 while spinners ran there, by the kernel's own accounts."""

    used_s: tuple[float, ...]
    """CPU time of each one's group (cpu.stat, or cpuacct.usage)."""
    throttled: tuple[int, ...]
    """How often each was held back for its quota (cpu.stat, nr_throttled)."""
    idle_s: float
    """How long nobody at all ran there (/proc/stat)."""
    elapsed_s: float


def window(box: Live, *bodies: str) -> Window:
    """Let these services spin on processor 0, until they have had some seconds of it or the time is over."""
    with ExitStack() as stack:
        made = [
            stack.enter_context(container(box, f'cpuset: "0"\n{body}\n{SPIN}')) for body in bodies
        ]
        for each in made:
            eventually(lambda each=each: box.runtime.stats(each).cpu_ns > 10_000_000)  # type: ignore[misc]
        first = [box.runtime.stats(each) for each in made]
        idle, since = idle_seconds(), time.monotonic()

        def used() -> tuple[float, ...]:
            now = [box.runtime.stats(each).cpu_ns for each in made]
            return tuple((ns - was.cpu_ns) / 1e9 for ns, was in zip(now, first, strict=True))

        eventually(
            lambda: sum(used()) > WINDOW_S or time.monotonic() - since > 8,
            timeout_s=20,
            every_s=0.05,
            what="they have run",
        )
        return Window(
            used_s=used(),
            throttled=tuple(
                box.runtime.stats(each).throttled_periods - was.throttled_periods
                for each, was in zip(made, first, strict=True)
            ),
            idle_s=idle_seconds() - idle,
            elapsed_s=time.monotonic() - since,
        )


def idle_seconds() -> float:
    """Return how long processor 0 has been idle since the boot, waiting for disks included."""
    rows = Path("/proc/stat").read_text().splitlines()
    fields = next(row for row in rows if row.startswith("cpu0 ")).split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.vm
def test_shares_are_a_floor(box: Live) -> None:
    """Two spinners with 1024 and 256 on one processor get 80 and 20 of what both get, however busy the machine is.

    Seen to fail (50 to 50) with no weight written.
    """
    both = window(
        box,
        "container_name: many\ncpu_shares: 1024",
        "container_name: few\ncpu_shares: 256",
    )
    many, few = both.used_s
    assert abs(many / (many + few) - 0.8) < 0.1
    assert both.throttled == (0, 0)


@pytest.mark.vm
def test_shares_are_no_ceiling(box: Live) -> None:
    """A lone spinner with the smallest weight is never held back: nothing of its processor stays unused."""
    alone = window(box, "container_name: lone\ncpu_shares: 2")
    assert alone.throttled == (0,)
    assert alone.idle_s <= 0.05 * alone.elapsed_s + 0.05


@pytest.mark.vm
def test_a_quota_of_a_half_is_a_half(box: Live) -> None:
    """A lone spinner gets half of the processor, and is held back: it would have used more."""
    half = window(box, "container_name: half\ncpus: 0.5")
    share = half.used_s[0] / half.elapsed_s
    assert share < 0.55
    assert half.throttled[0] > 0
    # Less only as far as others ran there.
    assert share > 0.45 or half.idle_s < 0.4 * half.elapsed_s


@pytest.mark.vm
def test_limits_of_processors_and_disks_change_under_a_running_container(box: Live) -> None:
    from runtime.api import Limits

    with container(box, ON) as made:
        box.runtime.update(made, Limits(cpuset="0", cpu_shares=64))
        allowed = Path(f"/proc/{box.pid(made)}/status").read_text()
        assert "Cpus_allowed_list:\t0\n" in allowed
