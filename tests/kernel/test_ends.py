"""How containers end, and that nothing of them lives on. Asked of /proc, where a word tells whose a process is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.api import ExitKind, Limits, Namespaces, Status
from tests.support.instance import catches
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root", "busybox", "overlay")

GRACE_S = 0.5
MOTHER = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep {0} & exec sleep {0}' & (sleep {0} &) ; sleep {0}"
"""A shell, a session of its own below it, one below that, an orphan: none heeds TERM."""


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as runtime:
        yield runtime


def with_word(word: str) -> list[int]:
    """Return the machine's processes, zombies left out, that have this word in their command line."""
    found = []
    for entry in os.listdir("/proc"):
        with suppress(OSError):
            if entry.isdigit() and word.encode() in Path(f"/proc/{entry}/cmdline").read_bytes():
                found.append(int(entry))
    return found


def zombies_of(parent: int) -> list[int]:
    """Return its dead children that it has not asked for."""
    found = []
    for entry in os.listdir("/proc"):
        with suppress(OSError):
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            if fields[0] == "Z" and int(fields[1]) == parent:
                found.append(int(entry))
    return found


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        ("exit 0", ExitKind.CODE, 0),
        ("exit 42", ExitKind.CODE, 42),
        ("kill -USR1 $$; sleep 100", ExitKind.CODE, 0),  # pid 1 gets no signal that it has no handler for
        ("trap 'exit 9' USR1; kill -USR1 $$", ExitKind.CODE, 9),
        ("/missing", ExitKind.CODE, 127),
    ],
)  # fmt: skip
def test_codes_are_pid_1s_own(box: Live, script: str, kind: ExitKind, code: int) -> None:
    made = box.run("sh", "-c", script.replace("sleep 100", "exit 0"))
    end = box.wait(made)
    assert (end.kind, end.code, end.signal) == (kind, code, None)


@pytest.mark.parametrize("name", ["TERM", "SEGV", "KILL", "RTMIN+1"])
def test_a_signal_is_told_as_such(box: Live, name: str) -> None:
    """Sent by the host, as pid 1 of its namespace gets from there what it has no handler for."""
    made = box.run(ulimits={"core": (0, 0)}, namespaces=Namespaces(pid="host"))
    box.runtime.kill(made, signal=name)
    end = box.wait(made)
    number = signal.SIGRTMIN + 1 if "RT" in name else signal.Signals[f"SIG{name}"]
    assert (end.kind, end.signal, end.code) == (ExitKind.SIGNAL, number, 128 + number)


def test_a_kill_for_want_of_memory_of_the_machine_is_told_apart(box: Live) -> None:
    """The kernel is not driven there: its record is fed to its log, and what it would have killed is killed.

    A neighbour that somebody kills without such a record was killed by a signal.
    """
    if not os.access("/dev/kmsg", os.W_OK):
        pytest.skip("no kernel log to write to")
    limits = Limits(memory_bytes=16 << 20)
    made, other = box.run(limits=limits), box.run(limits=limits)
    pid = box.pid(made)
    log = os.open("/dev/kmsg", os.O_WRONLY)
    try:
        os.write(log, b"<3>Out of memory: Killed process %d (sleep) a test of trice\n" % pid)
    finally:
        os.close(log)
    os.kill(pid, signal.SIGKILL)
    os.kill(box.pid(other), signal.SIGKILL)
    assert (box.wait(made).kind, box.wait(made).code) == (ExitKind.SYSTEM_OOM, 137)
    assert (box.wait(other).kind, box.wait(other).code) == (ExitKind.SIGNAL, 137)
    assert box.runtime.inspect(made).oom_kills == 0


@pytest.mark.parametrize("pid", ["", "host"])
def test_after_its_grace_all_of_it_is_killed_other_sessions_too(box: Live, pid: str) -> None:
    """Without a pid namespace nothing dies with pid 1: only the group says what belongs to it.

    Seen to fail for `pid: host` with a kill of pid 1 in place of the group's.
    """
    word = f"1000.{os.getpid()}"
    made = box.run("sh", "-c", MOTHER.format(word), namespaces=Namespaces(pid=pid))
    eventually(lambda: len(with_word(f"sleep\0{word}")) == 4, what="all have begun")
    eventually(lambda: catches(box.pid(made), signal.SIGTERM, field="SigIgn"))
    since = time.monotonic()
    box.runtime.stop(made, grace_s=GRACE_S)
    assert time.monotonic() - since >= GRACE_S
    end = box.wait(made)
    assert (end.kind, end.signal) == (ExitKind.SIGNAL, signal.SIGKILL)
    eventually(lambda: not with_word(word), what="nothing of it is left")


@pytest.mark.parametrize("pid", ["", "host"])
def test_what_pid_1_leaves_behind_ends_with_it(box: Live, pid: str) -> None:
    word = f"1000.{os.getpid()}"
    script = f"setsid sleep {word} & sleep 0.2; exit 5"
    made = box.run("sh", "-c", script, namespaces=Namespaces(pid=pid))
    assert box.wait(made).code == 5
    eventually(lambda: not with_word(word), what="nothing of it is left")


ORPHANS = "i=0; while [ $i -lt 20 ]; do (true &); i=$((i+1)); done"
"""Whoever runs this leaves twenty dead processes to pid 1."""


def test_init_reaps_orphans(box: Live) -> None:
    if not box.runtime.host.init_path:
        pytest.skip("no static reaper is installed")
    made = box.run(init=True)
    assert box.sh(made, ORPHANS).code == 0
    eventually(lambda: not zombies_of(box.pid(made)), what="all are reaped")


def test_orphans_of_a_pid_1_that_does_not_reap_end_with_it(box: Live) -> None:
    made = box.run()
    assert box.sh(made, ORPHANS).code == 0
    dead = eventually(lambda: _all_dead(box.pid(made)), what="they are dead")
    box.runtime.stop(made, grace_s=0)
    assert not [pid for pid in dead if Path(f"/proc/{pid}").exists()]


def _all_dead(pid: int) -> list[int]:
    found = zombies_of(pid)
    return found if len(found) == 20 else []


def test_a_new_attempt_has_the_same_name_id_and_layer(box: Live) -> None:
    made = box.create("sh", "-c", "cat /kept 2>/dev/null; echo once >> /kept; sleep 1000")
    upper = box.root / "lib" / "containers" / made / "upper"
    inode = upper.stat().st_ino
    box.runtime.start(made)
    eventually(lambda: (upper / "kept").exists() and (upper / "kept").read_text() == "once\n")
    name = box.runtime.inspect(made).name
    box.runtime.stop(made, grace_s=0)
    box.runtime.start(made)
    eventually(lambda: box.log(made) == "once\n", what="it read what it had written")
    state = box.runtime.inspect(made)
    assert (state.id, state.name, state.attempt, state.status) == (made, name, 2, Status.RUNNING)
    assert upper.stat().st_ino == inode
    assert Path(f"/proc/{box.pid(made)}/root/kept").read_text() == "once\nonce\n"
