"""The command line, as conmon, containerd's shim and people give it to OCI runtimes."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import time
from pathlib import Path

from tests.kernel.oci.case import NAMESPACES, Case, Refused, namespaces, story
from tests.kernel.oci.cases.groups import group_of
from tests.support.oci import COMMAND, Json, Oci, is_gone, status_field
from tests.support.waiting import eventually

_GLOBAL = "command line: global options"
_CREATE = "command line: create and run"
_EXEC = "command line: exec"
_PAUSE = "command line: pause and resume"
_OTHERS = "command line: ps, events, update, list, spec"

_CGROUPS = {
    "destination": "/sys/fs/cgroup",
    "type": "cgroup",
    "source": "cgroup",
    "options": ["rw", "nosuid"],
}
_ADMIN = {name: ["CAP_SYS_ADMIN"] for name in ("bounding", "effective", "permitted")}


@story(_GLOBAL, "--root is where the state of containers is; another root knows nothing of them")
def _root(oci: Oci) -> None:
    other = str(oci.root / "other")
    with oci.log().open("w") as log:
        subprocess.run([*COMMAND, "--root", other, "create", "-b", str(oci.bundle), "c1"], stdin=subprocess.DEVNULL,
                       stdout=log, stderr=log, check=True)  # fmt: skip
    assert oci("state", "c1", code=1).stderr == "trice-runtime: container c1 does not exist\n"
    assert json.loads(oci("--root", other, "state", "c1").stdout)["status"] == "created"
    oci("--root", other, "delete", "--force", "c1")


@story(_GLOBAL, "--log gets errors, too: as text, and as JSON lines with level, msg and time")
def _log(oci: Oci) -> None:
    log = oci.root / "log"
    oci("--log", str(log), "state", "c9", code=1)
    assert log.read_text() == "container c9 does not exist\n"
    oci("--log", str(log), "--log-format", "json", "--log-level", "debug", "state", "c9", code=1)
    entry = json.loads(log.read_text().splitlines()[1])
    assert (entry["level"], entry["msg"]) == ("error", "container c9 does not exist")
    assert entry["time"].startswith("20")


@story(_GLOBAL, "--systemd-cgroup and --cgroup-manager cgroupfs are taken")
def _managers(oci: Oci) -> None:
    oci("--systemd-cgroup", "--debug", "list")
    oci("--cgroup-manager", "cgroupfs", "list")
    assert "invalid choice" in oci("--cgroup-manager", "systemd", "list", code=1).stderr


@story(_GLOBAL, "--version tells the specification's, too")
def _version(oci: Oci) -> None:
    assert oci("--version").stdout.splitlines()[1] == "spec: 1.2.0"


@story(_GLOBAL, "an unknown verb, and an unknown option, are an error")
def _unknown(oci: Oci) -> None:
    assert "invalid choice" in oci("fly", code=1).stderr
    assert "unrecognized arguments" in oci("state", "--fly", "c1", code=1).stderr


def _refused_option(option: str, *values: str, says: str) -> Case:
    @story(_CREATE, f"{option} is refused")
    def tell(oci: Oci) -> None:
        said = oci.create("c1", option, *values, code=1)
        assert said.startswith(f"trice-runtime: {option}: {says}")
        assert said.count("\n") == 1

    return tell


@story(_CREATE, "--preserve-fds is refused", differs="preserve-fds")
def _preserve(oci: Oci) -> None:
    assert "--preserve-fds: " in oci.create("c1", "--preserve-fds", "1", code=1)


@story(_CREATE, "run ends as the program does: its code, or 128 and its signal; nothing is left")
def _run(oci: Oci) -> None:
    oci.run_args("sh", "-c", "echo out; exit 42")
    assert oci.run(code=42) == "out\n"
    oci.put({"linux.namespaces": namespaces(pid=None)})
    oci.run_args("sh", "-c", "kill -9 $$")
    oci.run(code=137)
    assert (oci.groups(), oci.bundles()) == ([], [])


@story(_CREATE, "run --detach does not wait for the end")
def _detached(oci: Oci) -> None:
    oci.detached("run", "--detach", "-b", str(oci.bundle), "c1")
    assert oci.status() == "running"


@story(_CREATE, "--console-socket gets the master of the container's terminal; /dev/console is it",
       config={"process.terminal": True, "process.consoleSize": {"height": 33, "width": 77}})  # fmt: skip
def _console(oci: Oci) -> None:
    oci.run_args(
        "sh",
        "-c",
        "tty; stty size; test /dev/console -ef /dev/tty || stat -c %F /dev/console; sleep 600",
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path = str(oci.root / "console")
        listener.bind(path)
        listener.listen()
        oci.create("c1", "--console-socket", path)
        connection, _ = listener.accept()
        with connection:
            _, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
    master = array.array("i", ancillary[0][2])[0]
    try:
        oci("start", "c1")
        said = b""
        while b"special" not in said:
            said += os.read(master, 4096)
    finally:
        os.close(master)
    assert said.split() == b"/dev/pts/0 33 77 character special file".split()


@story(_CREATE, "a cgroup mount is read-only, and that is told", config={"mounts+": _CGROUPS},
       differs="writable-groups")  # fmt: skip
def _read_only_groups(oci: Oci) -> None:
    said = oci.create()
    assert said == "trice-runtime: mounts[5].options: /sys/fs/cgroup is read-only in a container\n"
    pid = oci.pid()
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    groups = [line.split() for line in lines if line.split()[4].startswith("/sys/fs/cgroup")]
    assert groups
    assert {fields[5].split(",")[0] for fields in groups} == {"ro"}


@story(_CREATE, "CAP_SYS_ADMIN without a cgroup namespace: on v1 it gets one, and that is told", needs=("cgroup_v1",),
       config={"process.capabilities": _ADMIN, "linux.namespaces": namespaces(cgroup=None)},
       differs="cgroup-namespace")  # fmt: skip
def _own_cgroup_namespace(oci: Oci) -> None:
    """Seen to fail with `guarded` returning the config as it is: the memory hierarchy's own root is mounted inside."""
    script = "mkdir /m && mount -t cgroup -o memory m /m && ls /m | grep -c release_agent"
    oci.run_args("sh", "-c", f"{script}; cut -d: -f3 /proc/self/cgroup | sort -u; sleep 600")
    oci.create()
    said = oci.log().read_text()
    assert "it gets a cgroup namespace of its own" in said
    oci("start", "c1")
    eventually(lambda: "/\n" in oci.log().read_text())
    assert oci.log().read_text().removeprefix(said) == "0\n/\n"


@story(
    _EXEC,
    "a command runs in the container's namespaces and group, as its process does; its code is ours",
)
def _exec(oci: Oci) -> None:
    pid = oci.start()
    done = oci("exec", "c1", "sh", "-c", "hostname; cat /proc/1/comm; echo err >&2; exit 3", code=3)
    assert (done.stdout, done.stderr) == ("bundle\nsleep\n", "err\n")
    inner = oci(
        "exec",
        "c1",
        "sh",
        "-c",
        "readlink /proc/self/ns/net; cut -d: -f3 /proc/self/cgroup | sort -u",
    ).stdout
    assert inner.split() == [os.readlink(f"/proc/{pid}/ns/net"), "/"]


@story(_EXEC, "--env, --cwd, --user, --additional-gids, --cap, --no-new-privs")
def _options(oci: Oci) -> None:
    oci.start()
    script = "id -u; id -g; id -G; pwd; echo $X; grep -e CapBnd -e NoNewPrivs /proc/self/status"
    done = oci("exec", "-e", "X=y", "--cwd", "/tmp", "-u", "12:34", "-g", "56", "-c", "CAP_SETUID",
               "--no-new-privs", "c1", "sh", "-c", script)  # fmt: skip
    assert done.stdout.split() == ["12", "34", "34", "56", "/tmp", "y", "CapBnd:", "00000000000000a3",
                                   "NoNewPrivs:", "1"]  # fmt: skip


@story(
    _EXEC,
    "--process FILE is the whole process section; --pid-file has its pid; --detach does not wait",
)
def _process_file(oci: Oci) -> None:
    oci.start()
    process: Json = {"args": ["sleep", "500"], "cwd": "/tmp", "env": ["PATH=/bin"], "user": {"uid": 7, "gid": 8},
                     "noNewPrivileges": True}  # fmt: skip
    (oci.root / "process.json").write_text(json.dumps(process))
    where, pid_file = str(oci.root / "process.json"), str(oci.root / "pid")
    oci.detached("exec", "--detach", "--process", where, "--pid-file", pid_file, "c1")
    pid = int((oci.root / "pid").read_text())
    assert status_field(pid, "Uid").split()[0] == "7"
    assert os.readlink(f"/proc/{pid}/cwd") == "/tmp"
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00500\x00"
    oci("kill", "c1", "KILL")
    eventually(lambda: is_gone(pid))


def _bad_process(more: Json, says: str) -> Case:
    name = next(iter(more))

    @story(_EXEC, f"a process section with {name} that cannot be in force is refused")
    def tell(oci: Oci) -> None:
        oci.start()
        process = {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **more}
        (oci.root / "process.json").write_text(json.dumps(process))
        assert says in oci("exec", "--process", str(oci.root / "process.json"), "c1", code=1).stderr

    return tell


@story(_EXEC, "what is not there ends with 127, what cannot be executed with 126")
def _not_executable(oci: Oci) -> None:
    oci.start()
    assert "executable file not found in $PATH" in oci("exec", "c1", "nosuch", code=127).stderr
    assert "permission denied" in oci("exec", "c1", "/etc/passwd", code=126).stderr.lower()


@story(_EXEC, "in a created container it runs; in a stopped one it is an error")
def _exec_states(oci: Oci) -> None:
    oci.create()
    assert oci("exec", "c1", "echo", "early").stdout == "early\n"
    oci("kill", "c1", "KILL")
    eventually(lambda: oci.status() == "stopped")
    assert "it is stopped" in oci("exec", "c1", "true", code=1).stderr


@story(_PAUSE, "all processes stand still, and go on; each is an error where it makes no sense")
def _pause(oci: Oci) -> None:
    oci.run_args("sh", "-c", "while :; do echo x >> /ticks; sleep 0.02; done")
    oci.start()
    ticks = oci.bundle / "rootfs/ticks"
    eventually(lambda: ticks.exists() and ticks.stat().st_size > 0)
    assert "it is running" in oci("resume", "c1", code=1).stderr
    oci("pause", "c1")
    size = ticks.stat().st_size
    assert "it is paused" in oci("pause", "c1", code=1).stderr
    assert "it is paused" in oci("exec", "c1", "true", code=1).stderr
    time.sleep(0.2)  # ten rounds of its loop, if it ran
    assert ticks.stat().st_size == size
    oci("resume", "c1")
    eventually(lambda: ticks.stat().st_size > size)


@story(_PAUSE, "a paused one can be killed and deleted")
def _kill_paused(oci: Oci) -> None:
    pid = oci.start()
    oci("pause", "c1")
    oci("delete", "--force", "c1")
    assert is_gone(pid)


@story(_OTHERS, "ps gives the host's pids; as JSON, and as a table")
def _ps(oci: Oci) -> None:
    pid = oci.start()
    assert json.loads(oci("ps", "--format", "json", "c1").stdout) == [pid]
    header, row = oci("ps", "c1").stdout.splitlines()
    assert header.split()[:3] == ["USER", "PID", "PPID"]
    assert row.split()[1] == str(pid)


@story(_OTHERS, "events --stats gives one JSON line; without, one at each interval, until the end")
def _events(oci: Oci) -> None:
    oci.start()
    told = json.loads(oci("events", "--stats", "c1").stdout)
    assert (told["type"], told["id"]) == ("stats", "c1")
    assert told["data"]["pids"]["current"] == 1
    assert told["data"]["memory"]["usage"]["usage"] > 0
    with subprocess.Popen([*COMMAND, "events", "--interval", "0.05", "c1"], env=oci.environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        for _ in range(2):
            assert json.loads(process.stdout.readline())["type"] == "stats"
        oci("kill", "c1", "KILL")
        assert process.wait(10) == 0


@story(
    _OTHERS, "update changes what it says and leaves the rest; what cannot be in force is refused"
)
def _update(oci: Oci) -> None:
    oci.put({"linux.resources": {"pids": {"limit": 30}, "memory": {"limit": 64 << 20}}})
    pid = oci.start()
    oci("update", "--pids-limit", "40", "c1")
    assert oci(
        "update", "-r", "-", "c1", code=1, stdin='{"memory":{"kernel":5}}'
    ).stderr.startswith("trice-runtime: linux.resources.memory.kernel: ")
    assert (group_of(pid, "pids") / "pids.max").read_text() == "40\n"
    for name in ("memory.limit_in_bytes", "memory.max"):
        if (group_of(pid, "memory") / name).exists():
            assert (group_of(pid, "memory") / name).read_text() == f"{64 << 20}\n"


@story(_OTHERS, "list has every container, as a table, as JSON, and as ids")
def _list(oci: Oci) -> None:
    oci.create("one")
    oci.start("two")
    assert oci("list", "--quiet").stdout == "one\ntwo\n"
    listed = json.loads(oci("list", "--format", "json").stdout)
    assert [(each["id"], each["status"]) for each in listed] == [
        ("one", "created"),
        ("two", "running"),
    ]
    assert len(oci("list").stdout.splitlines()) == 3


@story(_OTHERS, "spec writes a config that runs, and overwrites none")
def _spec(oci: Oci) -> None:
    assert "is there already" in oci("spec", "--bundle", str(oci.bundle), code=1).stderr
    (oci.bundle / "config.json").unlink()
    oci("spec", "--bundle", str(oci.bundle))
    config = json.loads((oci.bundle / "config.json").read_text())
    assert {entry["type"] for entry in config["linux"]["namespaces"]} == {*NAMESPACES}
    oci.run_args("/bin/echo", "ran")
    assert oci.run() == "ran\n"


CASES: tuple[Case, ...] = (
    _root,
    _log,
    _managers,
    _version,
    _unknown,
    _run,
    _detached,
    _console,
    Refused(section=_CREATE, demand="a terminal without --console-socket is refused",
            config={"process.terminal": True}, says="give --console-socket"),
    _refused_option("--no-pivot", says="is not supported"),
    _refused_option("--console-socket", "/tmp/x", says="is of no use without process.terminal"),
    _preserve,
    _read_only_groups,
    _own_cgroup_namespace,
    _exec,
    _options,
    _process_file,
    _bad_process({"apparmorProfile": "x"}, "process.apparmorProfile"),
    _bad_process({"selinuxLabel": "x"}, "process.selinuxLabel"),
    _bad_process({"cwd": "x"}, "process.cwd"),
    _bad_process({"args": []}, "args"),
    _not_executable,
    _exec_states,
    _pause,
    _kill_paused,
    _ps,
    _events,
    _update,
    _list,
    _spec,
)  # fmt: skip
