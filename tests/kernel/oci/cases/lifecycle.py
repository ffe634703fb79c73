"""runtime.md: state, the operations and their errors; bundle.md; features.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.kernel.oci.case import NAMESPACES, Case, namespaces, story
from tests.support.oci import Oci, is_gone
from tests.support.waiting import eventually

_STATE = "runtime.md §State"
_LIFECYCLE = "runtime.md §Lifecycle"
_QUERY = "runtime.md §Query State"
_CREATE = "runtime.md §Create"
_START = "runtime.md §Start"
_KILL = "runtime.md §Kill"
_DELETE = "runtime.md §Delete"
_BUNDLE = "bundle.md"
_FEATURES = "features.md"


def _stopped(oci: Oci) -> int:
    pid = oci.start()
    oci("kill", "c1", "KILL")
    eventually(lambda: oci.status() == "stopped")
    return pid


@story(
    _STATE,
    "ociVersion, id, status, pid, bundle, annotations",
    config={"annotations": {"org.example.a": "b"}},
)
def _properties(oci: Oci) -> None:
    oci.create()
    state = oci.state()
    assert Path(f"/proc/{state['pid']}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
    assert {**state, "pid": 1} == {"ociVersion": "1.2.0", "id": "c1", "status": "created", "pid": 1,
                                   "bundle": str(oci.bundle), "annotations": {"org.example.a": "b"}}  # fmt: skip


@story(_STATE, "creating, while hooks of create run")
def _creating(oci: Oci) -> None:
    command = f"{sys.executable} -m runtime.oci.cli state c1 > {oci.bundle}/seen"
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", command],
        "env": [f"TRICE_ROOT={oci.root}", f"PYTHONPATH={Path.cwd()}"],
    }
    oci.put({"hooks.createRuntime": [hook]})
    oci.create()
    seen = json.loads((oci.bundle / "seen").read_text())
    assert (seen["status"], seen["pid"]) == ("creating", oci.pid())


@story(_STATE, "created, running, paused (ours), stopped; no pid once it is stopped")
def _statuses(oci: Oci) -> None:
    oci.create()
    assert oci.status() == "created"
    oci("start", "c1")
    assert oci.status() == "running"
    oci("pause", "c1")
    assert oci.status() == "paused"
    oci("resume", "c1")
    assert oci.status() == "running"
    oci("kill", "c1", "KILL")
    eventually(lambda: oci.status() == "stopped")
    assert "pid" not in oci.state()


@story(_LIFECYCLE, "changes to config.json after create have no effect")
def _unaffected(oci: Oci) -> None:
    oci.put(
        {"hooks.poststop": [{"path": "/bin/touch", "args": ["touch", str(oci.bundle / "old")]}]}
    )
    oci.create()
    oci.put({"process.args": ["false"], "hostname": "later", "hooks": None})
    oci("start", "c1")
    assert oci.status() == "running"
    assert oci("exec", "c1", "hostname").stdout == "bundle\n"
    oci("delete", "--force", "c1")
    assert (oci.bundle / "old").exists()


@story(_LIFECYCLE, "the bundle may be gone after create: what it was made of is kept")
def _bundle_gone(oci: Oci) -> None:
    oci.create()
    (oci.bundle / "config.json").unlink()
    oci("start", "c1")
    oci("kill", "c1", "KILL")
    eventually(lambda: oci.status() == "stopped")
    oci("delete", "c1")


@story(
    _LIFECYCLE, "an error leaves things as they were: no group, no mount, no process, no directory"
)
def _as_before(oci: Oci) -> None:
    oci.put({"process.args": ["/no/such"]})
    mounts = Path("/proc/self/mountinfo").read_text()
    oci.create(code=1)
    assert (oci.groups(), oci.bundles()) == ([], [])
    assert Path("/proc/self/mountinfo").read_text() == mounts


def _needs_id(verb: str, *arguments: str) -> Callable[[Oci], None]:
    def tell(oci: Oci) -> None:
        assert "ID" in oci(verb, *arguments, code=1).stderr

    return tell


def _needs_container(verb: str, *arguments: str) -> Callable[[Oci], None]:
    def tell(oci: Oci) -> None:
        said = oci(verb, "nosuch", *arguments, code=1).stderr
        assert said == "trice-runtime: container nosuch does not exist\n"

    return tell


@story(_CREATE, "an id that is taken is an error, and the container of that id is as it was")
def _taken(oci: Oci) -> None:
    pid = oci.start()
    assert oci.create(code=1) == "trice-runtime: container c1 exists already\n"
    assert (oci.status(), oci.pid()) == ("running", pid)


@story(_CREATE, "an id that is none is an error")
def _no_id(oci: Oci) -> None:
    for name in ("", ".", "..", "a/b", "../c1", "a b", "x" * 300):
        assert "container id" in oci("create", "-b", str(oci.bundle), name, code=1).stderr
    assert oci.bundles() == []


@story(_CREATE, "all but process.args is in force before start")
def _applied(oci: Oci) -> None:
    oci.put({"linux.resources.pids": {"limit": 50}, "process.oomScoreAdj": 100})
    oci.create()
    pid = oci.pid()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "100\n"
    assert Path(f"/proc/{pid}/root/bin/busybox").exists()
    assert b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes()


@story(_CREATE, "--pid-file has the pid")
def _pid_file(oci: Oci) -> None:
    oci.create("c1", "--pid-file", str(oci.root / "pid"))
    assert (oci.root / "pid").read_text() == str(oci.pid())


def _not_startable(prepare: Callable[[Oci], object], status: str) -> Callable[[Oci], None]:
    def tell(oci: Oci) -> None:
        prepare(oci)
        assert (
            oci("start", "c1", code=1).stderr
            == f"trice-runtime: cannot start container c1: it is {status}\n"
        )
        assert oci.status() == status

    return tell


@story(_START, "the program of process.args runs, in the process that create made")
def _started(oci: Oci) -> None:
    oci.create()
    pid = oci.pid()
    oci("start", "c1")
    eventually(lambda: Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00600\x00")
    assert oci.pid() == pid


@story(
    _KILL, "the signal reaches the process; TERM when none is given; by name, short name and number"
)
def _signals(oci: Oci) -> None:
    oci.run_args("sh", "-c", "for s in TERM USR1 HUP INT; do trap \"echo $s >> /got\" $s; done; echo up >> /got; "
                             "while :; do sleep 0.02; done")  # fmt: skip
    oci.start()
    got = oci.bundle / "rootfs/got"
    eventually(lambda: got.exists() and "up" in got.read_text())
    expected = "up\n"
    for given, name in (((), "TERM"), (("SIGUSR1",), "USR1"), (("HUP",), "HUP"), (("2",), "INT")):
        oci("kill", "c1", *given)
        expected += f"{name}\n"
        eventually(lambda expected=expected: got.read_text() == expected)  # type: ignore[misc]


@story(_KILL, "a created container can be killed")
def _kill_created(oci: Oci) -> None:
    oci.create()
    oci("kill", "c1", "KILL")
    eventually(lambda: oci.status() == "stopped")


@story(_KILL, "a stopped one is an error")
def _kill_stopped(oci: Oci) -> None:
    _stopped(oci)
    assert (
        oci("kill", "c1", code=1).stderr
        == "trice-runtime: cannot kill container c1: it is stopped\n"
    )
    assert oci.status() == "stopped"


@story(_KILL, "an unknown signal is an error and changes nothing")
def _no_signal(oci: Oci) -> None:
    oci.start()
    assert "no such signal" in oci("kill", "c1", "FLY", code=1).stderr
    assert "no such signal" in oci("kill", "c1", "999", code=1).stderr
    assert oci.status() == "running"


@story(_KILL, "--all reaches every process of it")
def _kill_all(oci: Oci) -> None:
    oci.run_args("sh", "-c", "sleep 601 & sleep 602 & wait; wait; exec sleep 603")
    oci.start()
    eventually(lambda: len(json.loads(oci("ps", "-f", "json", "c1").stdout)) == 3)
    pids = json.loads(oci("ps", "-f", "json", "c1").stdout)
    oci("kill", "--all", "c1", "KILL")
    eventually(lambda: all(map(is_gone, pids)))


def _not_deletable(prepare: Callable[[Oci], object], status: str) -> Callable[[Oci], None]:
    def tell(oci: Oci) -> None:
        prepare(oci)
        said = oci("delete", "c1", code=1).stderr
        assert said == f"trice-runtime: cannot delete container c1: it is {status}\n"
        assert oci.status() == status

    return tell


@story(_DELETE, "what create made is gone; what it did not make stays")
def _deleted(oci: Oci) -> None:
    (oci.bundle / "data").mkdir()
    oci.put(
        {"mounts+": {"destination": "/data", "type": "bind", "source": "data", "options": ["bind"]}}
    )
    pid = _stopped(oci)
    oci("delete", "c1")
    assert (oci.groups(), oci.bundles()) == ([], [])
    assert is_gone(pid)
    assert (oci.bundle / "data").is_dir()
    assert (oci.bundle / "rootfs/bin/busybox").exists()
    assert (oci.bundle / "config.json").exists()


@story(_DELETE, "a namespace that was joined, and who is in it, stays")
def _joined_stays(oci: Oci) -> None:
    first = oci.start("first")
    oci.put(
        {
            "hostname": None,
            "linux.namespaces": namespaces(
                **{
                    kind: f"/proc/{first}/ns/{name}"
                    for kind, name in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"))
                }
            ),
        }
    )
    oci.start("second")  # fmt: skip
    oci("delete", "--force", "second")
    assert oci.status("first") == "running"


@story(_DELETE, "the id may be used again")
def _again(oci: Oci) -> None:
    for _ in range(2):
        _stopped(oci)
        oci("delete", "c1")


@story(_DELETE, "--force kills it first; one that is not there is fine")
def _forced(oci: Oci) -> None:
    pid = oci.start()
    oci("delete", "--force", "c1")
    assert is_gone(pid)
    oci("delete", "--force", "c1")


@story(_BUNDLE, "config.json must be there")
def _no_config(oci: Oci) -> None:
    (oci.bundle / "config.json").unlink()
    assert "config.json" in oci.create(code=1)


@story(_BUNDLE, "what is no JSON is refused")
def _no_json(oci: Oci) -> None:
    for text in (
        "",
        "{",
        "[]",
        '{"ociVersion": "1.0.0", }',
        "null",
        "{}" + "x" * 10,
        "[" * 100_000,
    ):
        (oci.bundle / "config.json").write_text(text)
        said = oci.create(code=1)
        assert said.startswith(f"trice-runtime: {oci.bundle}/config.json")
        assert said.count("\n") == 1
    assert oci.bundles() == []


@story(
    _FEATURES,
    "versions, hooks, mount options, namespaces, capabilities, groups, seccomp; all of them true",
)
def _features(oci: Oci) -> None:
    told = json.loads(oci("features").stdout)
    assert (told["ociVersionMin"], told["ociVersionMax"]) == ("1.0.0", "1.2.0")
    assert told["hooks"] == [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ]
    linux = told["linux"]
    assert set(linux["namespaces"]) == {*NAMESPACES, "time"}
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert len(linux["capabilities"]) >= last + 1
    assert linux["seccomp"]["supportedFlags"] == linux["seccomp"]["knownFlags"]
    assert linux["cgroup"] == {
        "v1": True,
        "v2": True,
        "systemd": False,
        "systemdUser": False,
        "rdma": True,
    }
    for name in ("apparmor", "selinux", "intelRdt"):
        assert set(linux[name]) == {"enabled"}
    assert linux["mountExtensions"] == {"idmap": {"enabled": False}}
    assert told["mountOptions"] == sorted(told["mountOptions"])


@story(_FEATURES, "every mount option that is named is taken")
def _mount_options(oci: Oci) -> None:
    named = set(json.loads(oci("features").stdout)["mountOptions"])
    for_binds = {"bind", "rbind"} | {
        name for name in named if name.startswith("r") and name[1:] in named
    }
    new = sorted(named - for_binds - {"tmpcopyup"})
    oci.put({"mounts+": {"destination": "/new", "type": "tmpfs", "source": "x", "options": new}})
    bound = sorted(named - {"tmpcopyup", "sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand",
                            "iversion", "noiversion", "silent", "loud"})  # fmt: skip
    oci.put(
        {"mounts+": {"destination": "/bound", "type": "bind", "source": "rootfs", "options": bound}}
    )
    oci.run_args("true")
    oci.run()


CASES: tuple[Case, ...] = (
    _properties,
    _creating,
    _statuses,
    _unaffected,
    _bundle_gone,
    _as_before,
    story(_QUERY, "without an id it is an error")(_needs_id("state")),
    story(_QUERY, "a container that does not exist is an error")(_needs_container("state")),
    story(_CREATE, "without an id it is an error")(_needs_id("create")),
    _taken,
    _no_id,
    _applied,
    _pid_file,
    story(_START, "without an id it is an error")(_needs_id("start")),
    story(_START, "a container that does not exist is an error")(_needs_container("start")),
    story(_START, "a running one is an error and stays as it is")(
        _not_startable(Oci.start, "running")
    ),
    story(_START, "a stopped one is an error and stays as it is")(
        _not_startable(_stopped, "stopped")
    ),
    _started,
    story(_KILL, "without an id it is an error")(_needs_id("kill")),
    story(_KILL, "a container that does not exist is an error")(_needs_container("kill")),
    _signals,
    _kill_created,
    _kill_stopped,
    _no_signal,
    _kill_all,
    story(_DELETE, "without an id it is an error")(_needs_id("delete")),
    story(_DELETE, "a container that does not exist is an error")(_needs_container("delete")),
    story(_DELETE, "a running one is an error and stays as it is")(
        _not_deletable(Oci.start, "running")
    ),
    story(_DELETE, "a created one is an error and stays as it is")(
        _not_deletable(Oci.create, "created")
    ),
    _deleted,
    _joined_stays,
    _again,
    _forced,
    _no_config,
    _no_json,
    _features,
    _mount_options,
)
