"""Row 10: who a container runs as, and with which capabilities and groups (CVE-2022-24769, 2022-29162, 2022-36109, uid
overflows, 2026-30892).

Texts for users come from stack files and images, passwd and group from images: all hostile. An id is a u32 or refused,
never wrapped, never 0 by accident; groups are set explicitly; no set of capabilities is inherited.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.container.user import MAX_ID, UserUnknown, parse_id, resolve
from runtime.errors import InvalidSpec
from runtime.spec.config import Capabilities, OciConfig, User
from tests.support.busybox import busybox_rootfs
from tests.support.launching import launch_one, shell, without
from tests.support.needs import needs

pytestmark = needs("root", "busybox")

PASSWD = b"root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n"
GROUP = b"root:x:0:\nusers:x:100:\nstaff:x:50:app\n"

HOSTILE_PASSWD = b"""# comment:x:0:0::/:
app:x:4294967296:0::/:
app:x:-1:0::/:
app:x:4294967295:0::/:
app:x:1e3:0::/:
app:x: 1000:0::/:
app:x:\xd9\xa1:0::/:
app:x::0::/:
app:x:1000
:x:1:1::/:
app:x:1001:99999999999999999999::/:
app:x:1002:1002::/home/right:/bin/sh
"""


@given(st.text())
def test_any_text_is_an_id_in_range_or_a_name_or_refused(text: str) -> None:
    try:
        number = parse_id(text)
    except UserUnknown:
        assert text.isdigit()
        assert int(text) > MAX_ID
        return
    if number is not None:
        assert text.isascii()
        assert text.isdigit()
        assert 0 <= number <= MAX_ID
        assert number == int(text)


@given(st.text(alphabet="0123456789+-_ .x:\u0661\n\t", max_size=24))
def test_nobody_becomes_root_by_a_strange_number(text: str) -> None:
    try:
        identity = resolve(text, PASSWD, GROUP)
    except UserUnknown:
        return
    user = text.partition(":")[0]
    assert 0 <= identity.uid <= MAX_ID
    assert 0 <= identity.gid <= MAX_ID
    if identity.uid == 0:
        assert user == "" or set(user) == {"0"}


@given(st.text(max_size=40), st.binary(max_size=300), st.binary(max_size=300))
def test_no_files_whatever_their_bytes_break_the_lookup(
    text: str, passwd: bytes, group: bytes
) -> None:
    try:
        identity = resolve(text, passwd, group, extra=(7,))
    except UserUnknown:
        return
    numbers = (identity.uid, identity.gid, *identity.groups)
    assert all(0 <= number <= MAX_ID for number in numbers)
    assert identity.groups[0] == identity.gid
    assert len(set(identity.groups)) == len(identity.groups)


def test_rows_with_bad_ids_are_no_users() -> None:
    identity = resolve("app", HOSTILE_PASSWD, b"")
    assert (identity.uid, identity.gid, identity.home) == (1002, 1002, "/home/right")


@pytest.mark.parametrize(
    "text", ["1000:", ":", "app:ghost", "4294967295", "0:4294967295", "9" * 5000]
)
def test_what_means_nobody_is_refused(text: str) -> None:
    with pytest.raises(UserUnknown):
        resolve(text, PASSWD, GROUP)


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    root = busybox_rootfs(root_dir / "rootfs")
    (root / "etc/passwd").write_bytes(PASSWD)
    (root / "etc/group").write_bytes(GROUP)
    return root


FIELDS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb")
STATUS = "cat /proc/self/status"
ALL = "00000000a80405fb"
NONE = "0000000000000000"


def identity_of(config: OciConfig, root: Path, **more: object) -> list[str]:
    attempt = launch_one(config, root, **more)
    assert not attempt.failure, attempt.failure
    rows = (line.partition(":") for line in attempt.stdout.splitlines())
    values = {key: " ".join(value.split()) for key, _, value in rows}
    return [values[field] for field in FIELDS]


def in_mode(mode: str) -> OciConfig:
    config = shell(STATUS, user=None if mode == "numbers" else mode)
    if mode != "numbers" or config.process is None:
        return config
    user = User(uid=1000, gid=100, additional_gids=(50, 100, 60))
    return msgspec.structs.replace(
        config, process=msgspec.structs.replace(config.process, user=user)
    )


MODES = {
    "0": ["0 0 0 0", "0 0 0 0", "0", NONE, ALL, ALL, NONE],
    "app": ["1000 1000 1000 1000", "100 100 100 100", "50 100", NONE, NONE, NONE, NONE],
    "1000:100": ["1000 1000 1000 1000", "100 100 100 100", "100", NONE, NONE, NONE, NONE],
    "4242": ["4242 4242 4242 4242", "0 0 0 0", "0", NONE, NONE, NONE, NONE],
    "numbers": ["1000 1000 1000 1000", "100 100 100 100", "50 60 100", NONE, NONE, NONE, NONE],
}


@pytest.mark.parametrize("mode", MODES)
def test_ids_groups_and_capability_sets_in_every_mode(rootfs: Path, mode: str) -> None:
    """The launching process has all capabilities, and here groups of its own: none of them comes through."""
    before = ("setpriv", "--groups", "0,4,27", "--inh-caps", "+chown,+kill")
    assert identity_of(in_mode(mode), rootfs, before=before) == MODES[mode]


def test_without_the_defence_groups_and_inheritable_capabilities_come_through(
    rootfs: Path, root_dir: Path
) -> None:
    steps = "runtime/container/steps_process.py"
    tree = without(
        root_dir / "tree",
        (steps, "    os.setgroups(identity.groups)\n", ""),
        (
            steps,
            "    caps.set_capabilities(effective=effective, permitted=permitted, inheritable=inheritable)\n",
            "",
        ),
    )
    before = ("setpriv", "--groups", "0,4,27", "--inh-caps", "+chown,+kill")
    seen = identity_of(in_mode("1000:100"), rootfs, before=before, tree=tree)
    assert seen[2] == "0 4 27"
    assert seen[3] != NONE


def test_an_unknown_capability_is_an_error(rootfs: Path) -> None:
    config = shell("true")
    assert config.process is not None
    sets = Capabilities(bounding=("CAP_CHOWN", "CAP_TIME_TRAVEL"))
    process = msgspec.structs.replace(config.process, capabilities=sets)
    with pytest.raises(AssertionError, match="unknown capability 'TIME_TRAVEL'"):
        launch_one(msgspec.structs.replace(config, process=process), rootfs)


def test_ids_out_of_range_never_reach_the_kernel() -> None:
    from tests.unit.test_compile import compiled, with_process

    for user in (User(uid=MAX_ID + 1), User(gid=1 << 32), User(additional_gids=(-1,))):
        with pytest.raises(InvalidSpec, match="out of range"):
            compiled(with_process(user=user))


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "huge", "link to itself"])
def test_a_passwd_that_is_no_ordinary_file_neither_hangs_nor_reads(rootfs: Path, kind: str) -> None:
    path = rootfs / "etc/passwd"
    path.unlink()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            os.mknod(path, 0o020666, os.makedev(1, 5))
        case "directory":
            path.mkdir()
        case "huge":
            with path.open("wb") as file:
                file.truncate(1 << 30)
        case _:
            path.symlink_to("passwd")
    attempt = launch_one(shell("id -u", user="app"), rootfs)
    assert attempt.failure["step"] == "run as user 'app'"
    assert not attempt.stdout


def test_a_passwd_that_links_out_reads_the_containers_own(rootfs: Path, root_dir: Path) -> None:
    """The file is opened after the pivot: the host's path means something inside the root or nothing."""
    outside = root_dir / "passwd"
    outside.write_text("app:x:0:0::/:\n")
    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/passwd").symlink_to(outside)
    failure = launch_one(shell("id -u", user="app"), rootfs).failure
    assert failure["reason"] == "no such user in the container's /etc/passwd"
