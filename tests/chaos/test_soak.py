"""A thousand containers one after another leave nothing behind in the instance; a hundred live and end at once.

Growth is asked of the kernel (tests.support.growth), of keeper and manager as they are installed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.client.api import Client
from tests.support.growth import Footprint, footprint
from tests.support.instance import catches, containers_of_instance
from tests.support.stack import IMAGE, Trice, trice_in
from tests.support.waiting import eventually, slow_factor

pytestmark = [pytest.mark.needs("root", "overlay", "busybox"), pytest.mark.timeout(180)]

WARM, ALL, AT_ONCE = 450, 1000, 2
"""Warm: the manager's ring of events is full (2048, five for each)."""
KEEPER_KIB, MANAGER_KIB = 64, 1536
"""What memory may grow by in the 550 containers after that: nothing, in the keeper, but for chance."""
MANAGER_THREADS = 8
"""Its pools fill as chance has it, up to their size."""
CROWD = 100
GRACE_S = 4
TERM = 15


@pytest.fixture
def one(root_dir: Path, tmp_path: Path) -> Iterator[Trice]:
    with trice_in(root_dir, tmp_path) as made:
        made.load_image()
        yield made


def life(client: Client, number: int) -> None:
    """Make a container, run it to its end (every fourth: to a kill), remove it."""
    is_killed = number % 4 == 0
    command = ["sleep", "1000"] if is_killed else ["echo", str(number)]
    body = {"Image": IMAGE, "Cmd": command, "HostConfig": {"NetworkMode": "none"}}
    made = str(client.post(f"/containers/create?name=c{number}", body)["Id"])
    client.act(made, "start")
    if not is_killed:
        assert client.post(f"/containers/{made}/wait", {})["StatusCode"] == 0
    client.remove(made, force=is_killed)


def looked(one: Trice) -> Footprint:
    """Return what there is now that nothing is under way any more."""
    eventually(lambda: not containers_of_instance(one.paths.cgroup_name), what="all have ended")
    return footprint(one.paths, one.root)


def test_a_thousand_containers_leave_nothing(one: Trice) -> None:
    client = Client(one.paths)

    def lives(numbers: range) -> Footprint:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda number: life(client, number), numbers))
        return looked(one)

    before = lives(range(WARM))
    lives(range(WARM, ALL))
    after = eventually(lambda: _nothing_more(one, before), timeout_s=10, what="all is as before")
    assert after.keeper.threads == 1
    assert after.manager.threads - before.manager.threads <= MANAGER_THREADS
    assert after.keeper.private_kib - before.keeper.private_kib <= KEEPER_KIB
    assert after.manager.private_kib - before.manager.private_kib <= MANAGER_KIB
    assert client.containers() == ()


def _nothing_more(one: Trice, before: Footprint) -> Footprint:
    now = looked(one)
    assert now.more_than(before) == {}
    return now


HEEDS = ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.2; done"]
IGNORES = ["sh", "-c", "trap '' TERM; while :; do sleep 5; done"]


def crowd(*, command: list[str]) -> str:
    """Return a stack of a hundred services."""
    service = {"image": IMAGE, "command": command, "stop_grace_period": f"{GRACE_S}s"}
    services = {f"s{number}": service for number in range(CROWD)}
    return json.dumps({"name": "crowd", "services": services})


def begun(one: Trice, text: str) -> frozenset[int]:
    """Bring the stack up and return its containers' pids, when each has its trap in place."""
    one.write(text)
    one.run("up", "-d", timeout_s=60 * slow_factor()).ok()
    pids = containers_of_instance(one.paths.cgroup_name)
    assert len(pids) == CROWD
    field = "SigIgn" if "''" in text else "SigCgt"
    eventually(
        lambda: all(catches(pid, TERM, field=field) for pid in pids),
        timeout_s=20,
        what="every shell has its trap",
    )
    return pids


def test_a_hundred_at_once_start_and_heed_the_signal(one: Trice) -> None:
    begun(one, crowd(command=HEEDS))
    since = time.monotonic()
    one.run("stop", timeout_s=60).ok()
    assert time.monotonic() - since < GRACE_S * slow_factor()
    assert not containers_of_instance(one.paths.cgroup_name)
    codes = {item["ExitCode"] for item in one.containers().values()}
    assert codes == {3}, "each ended by its own trap, none by a kill"


def test_a_hundred_that_ignore_the_signal_are_killed_at_the_end_of_their_grace(one: Trice) -> None:
    begun(one, crowd(command=IGNORES))
    since = time.monotonic()
    one.run("stop", timeout_s=60).ok()
    lasted = time.monotonic() - since
    assert not containers_of_instance(one.paths.cgroup_name)
    assert GRACE_S <= lasted < 1.75 * GRACE_S * slow_factor(), "they waited all at once"
    codes = {item["ExitCode"] for item in one.containers().values()}
    assert codes == {128 + 9}
