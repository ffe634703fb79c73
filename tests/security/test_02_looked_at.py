"""Row 2: who is in the container may look at a process that enters it, and sees nothing of the host's (CVE-2016-9962).

With CAP_SYS_PTRACE in the container /proc/PID/root and the rest of every process in its pid namespace are open to it,
undumpable or not. `LOOKER` looks at all of them as fast as it can while others are executed beside it, or come into its
pid namespace. What is executed enters the pid namespace last: by then its root is the container's, and its capabilities
and its filter are in force. While another container sets itself up in there, those who could look stand still.
Who has CAP_SYS_ADMIN as well opens what a process has mapped: then none of the host's libraries are, any more.
Seen to fail (`test_without_…`): a process that is in the pid namespace before it has let go of the host, with nobody
standing still, has the host's files read through its root; one that keeps the host's files mapped, through map_files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.api import Limits, Namespaces, Security
from tests.support.launching import REPOSITORY, without
from tests.support.live import live
from tests.support.needs import needs
from tests.support.waiting import eventually, slow_factor

pytestmark = [needs("root", "overlay", "busybox"), pytest.mark.timeout(60)]

LOOKER = r"""
import os, sys
own = {os.getpid()}

def under(folder):
    return [f"{folder}/{each}" for each in os.listdir(folder)]

def is_own(path, there):
    return os.path.exists(path) and os.path.samestat(os.stat(path), there)

stolen, seen, rights = set(), set(), set()
while not os.path.exists("/enough"):
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in own:
            continue
        try:
            status = open(f"/proc/{name}/status").read()
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            if fields["State"][0] != "Z":
                rights.add((fields["CapEff"], fields["Seccomp"]))
            os.stat(f"/proc/{name}/root/.")
            seen.add(name)
            if os.path.exists(f"/proc/{name}/root{sys.argv[1]}"):
                stolen.add(open(f"/proc/{name}/root{sys.argv[1]}").read())
            for link in [f"/proc/{name}/cwd", *under(f"/proc/{name}/map_files"), *under(f"/proc/{name}/fd")]:
                target, there = os.readlink(link), os.stat(link)
                if target.startswith(("/usr/lib", "/root", "/home", "/var")) and not is_own(target, there):
                    stolen.add(target)
        except (OSError, KeyError):
            continue
print([sorted(stolen), len(seen), sorted(rights)])
"""
DEFAULT = "00000000a80405fb"
PTRACE = "00000000a80c05fb"
ADMIN = "00000000a82c05fb"
"""The default capabilities, with CAP_SYS_PTRACE, with CAP_SYS_ADMIN as well."""

SCRIPT = """
import json, sys
from pathlib import Path
from runtime.api import ExecRequest, Namespaces
from tests.support.live import live
from tests.support.python_image import COMMAND, python_files

root, rounds, looker, *cap_add = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
with live(root, extra=python_files() | {"looker.py": looker.encode()}) as box:
    looker = box.run(*COMMAND, "/looker.py", str(root / "mark"), cap_add=tuple(cap_add))
    for number in range(rounds):
        box.sh(looker, "true", tty=number % 4 == 3)
    for number in range(rounds // 5):
        made = box.run("true", namespaces=Namespaces(pid=f"container:{looker}"))
        box.wait(made)
        box.runtime.remove(made)
    box.sh(looker, "touch /enough")
    box.wait(looker)
    print(box.log(looker).splitlines()[-1].replace("'", '"').replace("(", "[").replace(")", "]"))
"""
EARLY_EXEC = (
    (
        "runtime/container/steps_join.py",
        "    ns.setns(child.given.target, flags)\n",
        "    ns.setns(child.given.target, ns.CLONE_NEWPID)\n    enter_pids(child)\n    __import__('time').sleep(0.05)\n"
        "    ns.setns(child.given.target, flags & ~ns.CLONE_NEWPID)\n",
    ),
    (
        "runtime/container/exec.py",
        '    return [*ops[:at], ["enter_pids"], *ops[at:]]',
        "    return ops",
    ),
)
MAPPED = (
    ("runtime/container/exec.py", '*([["forget_files"]] if ', '*([["forget_files"]] if () and '),
)
EARLY_JOIN = (
    (
        "runtime/local.py",
        "with self._processes.unseen(pid_namespaces(config, others)):",
        "if True:",
    ),
)


def looked(
    root: Path, tree: Path, rounds: int, *cap_add: str
) -> tuple[list[str], int, list[list[str]]]:
    """Return what was read of the host's, how many processes were seen, and with which rights."""
    (root / "mark").write_text("of the host alone")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(root), str(rounds), LOOKER, *cap_add], cwd=tree, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=50 * slow_factor(), check=False, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stolen, seen, rights = json.loads(done.stdout.splitlines()[-1])
    return stolen, seen, rights


@pytest.mark.parametrize(
    ("cap_add", "mask"),
    [(("SYS_PTRACE",), PTRACE), (("SYS_PTRACE", "SYS_ADMIN"), ADMIN)],
    ids=["ptrace", "admin"],
)
def test_what_enters_a_container_shows_nothing_of_the_hosts(
    root_dir: Path, cap_add: tuple[str, ...], mask: str
) -> None:
    stolen, seen, rights = looked(root_dir, REPOSITORY, 100, *cap_add)
    assert stolen == []
    assert seen > 10
    assert {tuple(each) for each in rights} <= {(mask, "2"), (DEFAULT, "2")}


@pytest.mark.parametrize(
    ("changes", "cap_add", "expected"),
    [
        (EARLY_EXEC, ("SYS_PTRACE",), "of the host alone"),
        (EARLY_JOIN, ("SYS_PTRACE",), "of the host alone"),
        (MAPPED, ("SYS_PTRACE", "SYS_ADMIN"), "/libc.so"),
    ],
    ids=["exec", "join", "mapped"],
)
def test_without_the_defence_the_hosts_files_are_read(
    root_dir: Path,
    changes: tuple[tuple[str, str, str], ...],
    cap_add: tuple[str, ...],
    expected: str,
) -> None:
    tree = without(root_dir / "tree", *changes)
    stolen, _, _ = looked(root_dir, tree, 50, *cap_add)
    assert any(expected in each for each in stolen)


LEFT_ALONE = (
    "runtime/container/steps_join.py",
    "            _send(child.sync, wire.encode(wire.CHILD, errno=pid), pidfd)\n",
    "            os.kill(os.getpid(), 9)\n",
)
KILLED = """
import sys
from pathlib import Path
from runtime.api import LaunchFailed
from tests.support.live import live

with live(Path(sys.argv[1])) as box:
    made = box.run()
    for _ in range(3):
        try:
            box.exec(made, "true")
        except LaunchFailed:
            print("not executed")
    box.runtime.kill(made, signal="KILL")
    print(box.runtime.wait(made, timeout_s=10 * float(sys.argv[2])).code)
"""


def test_who_goes_on_without_its_maker_keeps_no_container_from_ending(root_dir: Path) -> None:
    """Seen to fail without `Strays.look`: who is not waited for keeps the pid namespace, and so its first process."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(root_dir), str(slow_factor())],
        cwd=without(root_dir / "tree", LEFT_ALONE), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=50 * slow_factor(), check=False, env={**os.environ},
    )  # fmt: skip
    assert done.stdout.split("\n") == [*["not executed"] * 3, "137", ""], done.stderr


TOLD_LATE = (
    (
        LEFT_ALONE[0],
        LEFT_ALONE[1],
        "            while os.uname().nodename == 'late' and not os.path.exists('/flags/on'):\n"
        "                os.sched_yield()\n"
        "            if os.uname().nodename == 'killed':\n"
        "                os.kill(os.getpid(), 9)\n" + LEFT_ALONE[1],
    ),
    (
        "runtime/linux/pidfd.py",
        "    return fields[_INFO_EXIT_CODE]\n",
        "    return None  # as before Linux 6.15\n",
    ),
)
LATE = """
import os, signal, sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from runtime.api import LaunchFailed, Mount
from tests.support.live import live
from tests.support.waiting import eventually

def children(parent):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, ppid, *_ = path.read_text().rpartition(")")[2].split()
            found += [state] if int(ppid) == parent else []
    return found

flags = Path(sys.argv[1]) / "flags"
flags.mkdir()
with live(Path(sys.argv[1])) as box, ThreadPoolExecutor() as pool:
    late = box.run(hostname="late", mounts=(Mount(kind="bind", source=str(flags), target="/flags"),))
    killed = box.run(hostname="killed")
    keeper = int(Path(f"/proc/{box.pid(late)}/stat").read_text().rpartition(")")[2].split()[1])
    before = len(children(keeper))
    code = pool.submit(box.sh, late, "exit 7")
    eventually(lambda: len(children(keeper)) == before + 2, what="its maker has made it")
    for _ in range(3):
        try:
            box.exec(killed, "true")
        except LaunchFailed:
            print("not executed")
    eventually(lambda: len(children(keeper)) == before + 2, what="the strays are reaped")
    os.kill(keeper, signal.SIGSTOP)
    try:
        (flags / "on").touch()
        eventually(lambda: children(keeper).count("Z") == 2, what="both have ended")
    finally:
        os.kill(keeper, signal.SIGCONT)
    print(code.result().code)
"""


def test_who_is_told_of_late_is_no_stray(root_dir: Path) -> None:
    """Seen to fail without `Strays.leave`: he is reaped as nobody's, and how he ended is lost where no kernel tells."""
    done = subprocess.run(
        [sys.executable, "-c", LATE, str(root_dir)], cwd=without(root_dir / "tree", *TOLD_LATE),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50 * slow_factor(), check=False,
        env={**os.environ},
    )  # fmt: skip
    assert done.stdout.split("\n") == [*["not executed"] * 3, "7", ""], done.stderr


def test_a_container_at_its_limit_of_processes_can_still_be_entered(root_dir: Path) -> None:
    """What enters goes into the groups last, and moving into a group is not held against its limit."""
    with live(root_dir) as box:
        made = box.run("sh", "-c", "sleep 1000 & exec sleep 1001", limits=Limits(pids=2))
        eventually(lambda: len(box.runtime.top(made)) == 2, what="both are there")
        assert box.exec(made, "echo", "in").out == "in\n"


CLOSED = json.dumps(
    {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["sendmsg", "clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        ],
    }
)


def test_a_filter_that_lets_nobody_enter_is_loaded_after_it(root_dir: Path) -> None:
    with live(root_dir) as box:
        made = box.run(security=Security(seccomp=CLOSED))
        assert box.sh(made, "grep Seccomp: /proc/self/status").out.split() == ["Seccomp:", "2"]
        other = box.run(
            "sh", "-c", "grep Seccomp: /proc/self/status; sleep 1000",
            security=Security(seccomp=CLOSED), namespaces=Namespaces(pid=f"container:{made}"),
        )  # fmt: skip
        eventually(lambda: box.log(other).split() == ["Seccomp:", "2"], what="it says so")
