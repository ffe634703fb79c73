"""A network namespace that was made ahead, as it shows in a launch program."""

from __future__ import annotations

import msgspec

from runtime.container.compile import BundleRoot, compile_program, takes_network
from runtime.container.profile import DEFAULT_SYSCTLS as READY
from runtime.container.program import describe, prepare
from runtime.linux.facts import host_facts
from runtime.spec.config import Linux, Namespace, OciConfig
from tests.support.launching import a_config


def with_linux(**changes: object) -> OciConfig:
    config = a_config("true")
    return msgspec.structs.replace(config, linux=msgspec.structs.replace(Linux(), **changes))


def compiled_with_network(config: OciConfig) -> str:
    document = compile_program(
        config,
        facts=host_facts(),
        rootfs=BundleRoot(path="/bundle/rootfs"),
        cgroup_procs=(),
        wait_fifo=None,
        network=READY,
    )
    prepare(document)
    return describe(document)


def test_a_network_namespace_made_ahead_is_joined_and_only_what_differs_is_set() -> None:
    asked = {"net.ipv4.ping_group_range": "0 7", "net.core.somaxconn": "9"}
    config = a_config("true", sysctls=asked)
    assert takes_network(config, READY)
    lines = compiled_with_network(config).splitlines()
    assert lines[:4] == ["clone mnt pid uts ipc", "join_network", "unshare cgroup", "private"]
    assert "loopback" not in lines
    assert [line for line in lines if line.startswith("write_proc")] == [
        "write_proc sys/net/core/somaxconn 9",
        "write_proc sys/net/ipv4/ping_group_range 0 7",
    ]


def test_without_anything_to_set_there_is_no_procfs_of_our_own() -> None:
    text = compiled_with_network(a_config("true"))
    assert "write_proc" not in text
    assert "open_procfs" not in text


def test_only_a_network_namespace_of_its_own_with_these_sysctls_can_be_made_ahead() -> None:
    own = (Namespace(type="mount"), Namespace(type="network"))
    joined = (Namespace(type="mount"), Namespace(type="network", path="/run/netns/x"))
    assert takes_network(with_linux(namespaces=own, sysctl={**READY, "net.core.x": "1"}), READY)
    assert not takes_network(with_linux(namespaces=own), READY)
    assert not takes_network(with_linux(namespaces=joined, sysctl=READY), READY)
    assert not takes_network(with_linux(sysctl=READY), READY)
