"""Row 9: only sysctls of the container's own namespaces, one name and one value.

Seen to fail with the defence off: without the check a container's start sets the host's kernel.core_pattern.
"""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.container.sysctls import checked
from runtime.errors import InvalidSpec

OWN = frozenset({"network", "ipc"})
HOSTS = (
    "kernel.core_pattern", "kernel.hostname", "kernel.modprobe", "kernel.panic", "kernel.sysrq", "vm.swappiness",
    "fs.file-max", "fs.suid_dumpable", "kernel.shmmaxx", "kernel.sem.x", "net", "net.", ".net.x", "net..x",
    "net.ipv4/../../kernel/x", "net/../kernel/core_pattern", "net.ipv4.ip_forward=1", "net.x\n", "net.x y",
    "net.x+kernel.core_pattern", "NET.x", "/net/x", "net/x/../../kernel/core_pattern", "fs.mqueue", "",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTS)
def test_what_is_the_hosts_or_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec):
        checked(name, "1", OWN, where="x")


@pytest.mark.parametrize("value", ["", "\n", "1\n2", "\0", "1\x1b[2J", "é", "1\x7f"])
def test_a_value_is_one_line_of_plain_text(value: str) -> None:
    with pytest.raises(InvalidSpec):
        checked("net.core.somaxconn", value, OWN, where="x")
    assert checked("kernel.sem", "1 2\t3 4", OWN, where="x") == ("kernel/sem", "1 2\t3 4")


@pytest.mark.parametrize(
    ("name", "needed"),
    [("net.core.somaxconn", "network"), ("kernel.shmmax", "ipc"), ("fs.mqueue.msg_max", "ipc")],
)
def test_only_of_a_namespace_that_is_its_own(name: str, needed: str) -> None:
    checked(name, "1", {needed}, where="x")
    with pytest.raises(InvalidSpec, match="not in a namespace"):
        checked(name, "1", OWN - {needed}, where="x")


@given(
    name=st.text(string.ascii_lowercase + "./_-+=\n\0 .", max_size=30),
    value=st.text(max_size=8),
)
@example(name="net/./../kernel/x", value="1")
def test_whatever_is_taken_stays_below_its_own_tree(name: str, value: str) -> None:
    try:
        path, text = checked(name, value, OWN, where="x")
    except InvalidSpec:
        return
    assert path.split("/")[0] in ("net", "kernel", "fs")
    assert not {"", ".", ".."} & set(path.split("/"))
    assert text == value
    assert "\n" not in text
