"""Row 30: a container reaches nothing that listens on the host's loopback, nor anywhere else on it (CVE-2020-8558).

There is no bridge yet: a container has a loopback of its own. What listens on the host (TCP, UDP, an abstract name) is
tried from inside by every address that the host has, also by one with CAP_NET_ADMIN that forges addresses, routes and
links. Seen to fail with the defence off: in the host's network namespace the same program reaches every one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.api import Namespaces, Security
from tests.support.attributes import instance
from tests.support.leaks import Ours
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.python_image import COMMAND, python_files
from tests.support.reaching import REACH, Services, asked, reached, route_localnet, services

pytestmark = needs("root", "busybox", "overlay")


@pytest.fixture(scope="module")
def box(ours: Ours) -> Iterator[Live]:
    with instance(ours) as root, live(root, extra=python_files()) as runtime:
        yield runtime


@pytest.fixture
def host(box: Live) -> Iterator[Services]:
    with services(f"row-30-{box.root.name}") as found:
        yield found


def reached_from(box: Live, host: Services, *, forge: bool = False, **more: object) -> list[object]:
    program = asked(**host.everything(), forge=forge)
    made = box.run(*COMMAND, "-c", REACH, program, **more)
    box.wait(made)
    output = box.log(made)
    box.runtime.remove(made)
    return [*reached(output)]


@pytest.mark.parametrize("network", ["", "none", "private"])
def test_nothing_of_the_hosts_is_reached(box: Live, host: Services, network: str) -> None:
    assert reached_from(box, host, namespaces=Namespaces(network=network)) == []


FORGERS = {
    "NET_ADMIN": {"cap_add": ("NET_ADMIN",)},
    "NET_ADMIN, NET_RAW, no filter": {
        "cap_add": ("NET_ADMIN", "NET_RAW"),
        "security": Security(seccomp="unconfined", systempaths_unconfined=True),
    },
    "privileged": {"privileged": True},
}


@pytest.mark.parametrize("who", FORGERS)
def test_nor_by_one_that_forges_addresses_routes_and_links(
    box: Live, host: Services, who: str
) -> None:
    before = route_localnet()
    assert reached_from(box, host, forge=True, **FORGERS[who]) == []
    assert route_localnet() == before


def test_starting_containers_leaves_route_localnet_as_it_was(box: Live) -> None:
    before = route_localnet()
    made = box.run()
    assert route_localnet() == before
    assert before["all"] == "0"
    box.runtime.remove(made, force=True)


def test_in_the_hosts_network_namespace_all_of_it_is_reached(box: Live, host: Services) -> None:
    found = reached_from(box, host, namespaces=Namespaces(network="host"))
    everything = host.everything()
    for kind in ("tcp", "udp"):
        wanted = [[kind, *entry] for entry in everything[kind]]  # type: ignore[attr-defined]
        assert [entry for entry in wanted if entry not in found] == []
    assert ["abstract", host.abstract] in found
