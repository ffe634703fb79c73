"""Network namespaces made ahead: nobody can tell them from new ones, each is one container's alone, none is left.

Which there are is asked of the kernel: the descriptors that this process, the manager of its runtime, has of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from fcntl import ioctl
from pathlib import Path

import pytest

from runtime.api import Namespaces
from runtime.container.profile import DEFAULT_SYSCTLS
from runtime.errors import LaunchFailed
from runtime.linux import ns
from runtime.network.pool import NetworkPool
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root", "overlay", "busybox")

SIZE = 3
NS_GET_NSTYPE = 0xB703
LOOK = "ip addr show lo; ls /sys/class/net; grep -r . /proc/sys/net 2>/dev/null | grep -v nf_conntrack_count | sort"


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


def held() -> set[int]:
    """Return the inodes of the network namespaces that this process has descriptors of."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("net:["):
                continue
            fd = int(name)
            if ioctl(fd, NS_GET_NSTYPE) == ns.CLONE_NEWNET:
                found.add(os.fstat(fd).st_ino)
        except OSError:
            continue  # closed meanwhile
    return found - {os.stat("/proc/self/ns/net").st_ino}


def network_of(box: Live, container: str) -> int:
    return os.stat(f"/proc/{box.pid(container)}/ns/net").st_ino  # type: ignore[arg-type]


def warmed(box: Live) -> set[int]:
    """Start what makes the pool fill, and return what is in it then."""
    box.run()
    eventually(lambda: len(held()) == 8, what="the pool is full")
    return held()


def test_the_second_start_gets_a_ready_one_that_is_like_a_new_one(box: Live) -> None:
    assert not held()
    new = box.run("sh", "-c", LOOK)
    box.wait(new)
    ready = warmed(box)
    container = box.run("sh", "-c", f"{LOOK}; exec sleep 1000")
    assert network_of(box, container) in ready
    eventually(
        lambda: box.log(container).count("\n") >= box.log(new).count("\n"), what="it is told"
    )
    assert box.log(container) == box.log(new)
    said = box.log(new)
    assert "inet 127.0.0.1/8" in said
    assert "LOOPBACK,UP" in said
    assert "/proc/sys/net/ipv4/ip_unprivileged_port_start:0" in said


def test_each_is_given_out_once_and_a_failed_start_takes_its_own_along(box: Live) -> None:
    ready = warmed(box)
    with pytest.raises(LaunchFailed, match="/no/such/program"):
        box.run("/no/such/program")
    assert len(ready - held()) == 1
    networks = [network_of(box, box.run()) for _ in range(12)]
    assert len({*networks}) == len(networks)
    assert not held() & {*networks}


def test_what_one_sets_no_other_has_and_what_the_request_sets_is_in_force(box: Live) -> None:
    warmed(box)
    sysctls = {"net.ipv4.ip_unprivileged_port_start": "1000", "net.core.somaxconn": "77"}
    own = box.run(sysctls=sysctls)
    other = box.run()
    script = (
        "cd /proc/sys/net; cat ipv4/ip_unprivileged_port_start core/somaxconn ipv4/ping_group_range"
    )
    assert box.sh(own, script).out.split() == ["1000", "77", "0", "2147483647"]
    default = Path("/proc/sys/net/core/somaxconn").read_text().strip()
    assert box.sh(other, script).out.split()[0] == "0"
    assert box.sh(other, script).out.split()[1] in ("4096", "128", default)


def test_other_modes_take_none(box: Live) -> None:
    first = box.run(name="first")
    ready = warmed(box)
    host = box.run(namespaces=Namespaces(network="host"))
    joined = box.run(namespaces=Namespaces(network="container:first"))
    assert network_of(box, host) == os.stat("/proc/self/ns/net").st_ino
    assert network_of(box, joined) == network_of(box, first)
    assert held() == ready


# ---------------------------------------------------------------------- the pool alone


@pytest.fixture
def pool() -> Iterator[NetworkPool]:
    found = NetworkPool(DEFAULT_SYSCTLS, size=SIZE)
    yield found
    found.close()
    assert not held()


def begin(pool: NetworkPool) -> int | None:
    """Go through one start and return the namespace's inode."""
    with pool.starting(is_wanted=True) as network:
        return None if network is None else os.fstat(network).st_ino


def test_there_are_none_before_the_first_start_and_never_more_than_its_size(
    pool: NetworkPool,
) -> None:
    assert not held()
    assert begin(pool) is None
    eventually(lambda: len(held()) == SIZE, what="it is full")
    before = held()
    with ExitStack() as starts:
        got = [starts.enter_context(pool.starting(is_wanted=True)) for _ in range(SIZE + 1)]
        assert got.pop() is None
        assert {os.fstat(fd).st_ino for fd in got if fd is not None} == before
        assert held() == before
    eventually(lambda: len(held()) == SIZE, what="it is full again")


def test_nothing_is_made_while_a_start_is_under_way(pool: NetworkPool) -> None:
    with pool.starting(is_wanted=True):
        assert begin(pool) is None
        assert not threading.Event().wait(0.05)
        assert not held()
    eventually(lambda: len(held()) == SIZE, what="it is full")


def test_what_is_wanted_no_more_goes_and_comes_again() -> None:
    pool = NetworkPool(DEFAULT_SYSCTLS, size=SIZE, kept_s=0.2)
    try:
        begin(pool)
        eventually(lambda: len(held()) == SIZE, what="it is full")
        eventually(lambda: not held(), what="all of them are gone")
        assert begin(pool) is None
        eventually(lambda: len(held()) == SIZE, what="it is full again")
    finally:
        pool.close()


def test_the_machines_own_namespace_is_where_everybody_stays(pool: NetworkPool) -> None:
    own = os.stat("/proc/self/ns/net").st_ino
    begin(pool)
    eventually(lambda: len(held()) == SIZE, what="it is full")
    tasks = {
        os.stat(f"/proc/self/task/{each}/ns/net").st_ino for each in os.listdir("/proc/self/task")
    }
    assert tasks == {own}


def test_a_machine_that_makes_none_has_the_plain_way() -> None:
    pool = NetworkPool({"net.no.such_parameter": "1"}, size=SIZE)
    before = os.stat("/proc/self/ns/net").st_ino
    assert begin(pool) is None
    eventually(
        lambda: not any(each.name == "network-pool" for each in threading.enumerate()),
        what="the filler gives up",
    )
    assert begin(pool) is None
    assert not held()
    assert os.stat("/proc/self/ns/net").st_ino == before
    pool.close()
