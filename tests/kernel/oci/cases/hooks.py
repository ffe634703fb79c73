"""config.md §POSIX-platform Hooks, runtime.md §Lifecycle: each kind at its point, in its namespaces."""

from __future__ import annotations

import json
import os
from pathlib import Path

from runtime.oci.hooks import DEFAULT_TIMEOUT_S
from tests.kernel.oci.case import Case, Refused, story
from tests.support.oci import Json, Oci
from tests.support.waiting import eventually

_HOOKS = "config.md §POSIX-platform Hooks"
_LIFECYCLE = "runtime.md §Lifecycle"

_EARLY = ("prestart", "createRuntime", "createContainer")
_INSIDE = "startContainer"
_KINDS = (*_EARLY, _INSIDE, "poststart", "poststop")


def _hook(script: str, **more: object) -> Json:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], **more}


def _write_all(oci: Oci, script: str, kinds: tuple[str, ...] = _KINDS) -> Path:
    """Give a hook of each kind that runs this script, with $K its kind and $OUT a directory both sides have."""
    out = oci.bundle / "rootfs/out"
    out.mkdir(mode=0o777)
    for kind in kinds:
        place = "/out" if kind == _INSIDE else str(out)
        oci.put({f"hooks.{kind}+": _hook(f"K={kind}; OUT={place}; {script}")})
    return out


@story(
    _HOOKS,
    "all six kinds are called in the order of the lifecycle, each kind's hooks in the listed order",
)
def _order(oci: Oci) -> None:
    out = _write_all(oci, "echo $K 1 >> $OUT/log")
    for kind in _KINDS:
        place = "/out" if kind == _INSIDE else str(out)
        oci.put({f"hooks.{kind}+": _hook(f"echo {kind} 2 >> {place}/log")})
    oci.run_args("sh", "-c", "echo program >> /out/log; sleep 600")
    oci.create()
    assert (out / "log").read_text() == "".join(f"{kind} 1\n{kind} 2\n" for kind in _EARLY)
    oci("start", "c1")
    eventually(lambda: "program" in (out / "log").read_text())
    told = (out / "log").read_text().splitlines()[6:]
    assert told[:2] == ["startContainer 1", "startContainer 2"]
    assert sorted(told[2:]) == ["poststart 1", "poststart 2", "program"]
    oci("kill", "c1", "KILL")
    eventually(lambda: oci.status() == "stopped")
    assert "poststop" not in (out / "log").read_text()
    oci("delete", "c1")
    assert (out / "log").read_text().splitlines()[11:] == ["poststop 1", "poststop 2"]


@story(
    _HOOKS,
    "the state on stdin: status creating, created, running, stopped; the container's pid while it has one",
)
def _state(oci: Oci) -> None:
    out = _write_all(oci, "cat > $OUT/$K")
    oci.put({"annotations": {"org.example.a": "b"}})
    pid = oci.start()
    oci("delete", "--force", "c1")
    statuses = {}
    for kind in _KINDS:
        state = json.loads((out / kind).read_text())
        statuses[kind] = state["status"]
        assert (state["id"], state["bundle"]) == ("c1", str(oci.bundle))
        assert state["annotations"] == {"org.example.a": "b"}
        assert state.get("pid", pid) == pid
        assert ("pid" in state) is (kind != "poststop")
    assert statuses == {**dict.fromkeys(_EARLY, "creating"), _INSIDE: "created", "poststart": "running",
                        "poststop": "stopped"}  # fmt: skip


@story(
    _HOOKS,
    "createContainer and startContainer run in the container's namespaces, the others in the runtime's",
)
def _namespaces(oci: Oci) -> None:
    out = _write_all(oci, "for n in net uts ipc mnt; do readlink /proc/self/ns/$n; done > $OUT/$K")
    # startContainer's program is the container's; it has readlink.
    pid = oci.start()
    oci("exec", "c1", "true")
    own = _links("self")
    inside = _links(pid)
    oci("delete", "--force", "c1")
    for kind in _KINDS:
        expected = inside if kind in ("createContainer", _INSIDE) else own
        assert (out / kind).read_text().split() == expected, kind


def _links(pid: int | str) -> list[str]:
    return [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "uts", "ipc", "mnt")]


@story(_HOOKS, "createContainer's path is the host's, startContainer's the container's")
def _paths(oci: Oci) -> None:
    out = _write_all(oci, "test -e /bin/busybox.only-here && echo inside > $OUT/$K || echo host > $OUT/$K",
                     ("createContainer", _INSIDE))  # fmt: skip
    (oci.bundle / "rootfs/bin/busybox.only-here").write_text("")
    oci.start()
    assert (out / "createContainer").read_text() == "host\n"
    assert (out / _INSIDE).read_text() == "inside\n"


@story(_HOOKS, "env is all of a hook's environment; without args its path is its only argument")
def _environment(oci: Oci) -> None:
    out = oci.bundle / "out"
    program = oci.bundle / "program"
    program.write_text(
        f'#!/bin/sh\necho "$0 $#" > {out}\n/usr/bin/env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= >> {out}\n'
    )
    program.chmod(0o755)
    oci.put({"hooks.createRuntime": [{"path": str(program), "env": ["ONLY=this"]}]})
    oci.create()
    assert out.read_text() == f"{program} 0\nONLY=this\n"


def _failing(kind: str) -> Case:
    @story(
        _LIFECYCLE,
        f"a failing {kind} hook is an error; the container is gone and poststop hooks have run",
    )
    def tell(oci: Oci) -> None:
        out = _write_all(oci, "echo ran > $OUT/$K", ("poststop",))
        oci.run_args("sh", "-c", "echo ran > /out/program; sleep 600")
        oci.put({f"hooks.{kind}": [_hook("echo no licence >&2; exit 3"), _hook("exit 4")]})
        said = oci.create(code=1)
        assert f"{kind} hook /bin/sh" in said
        assert "ended with code 3" in said
        assert not (out / "program").exists()
        assert (out / "poststop").read_text() == "ran\n"
        assert oci.bundles() == []
        assert oci.groups() == []

    return tell


@story(
    _LIFECYCLE,
    "a failing startContainer hook is an error; the program does not run, the container is stopped",
)
def _failing_start(oci: Oci) -> None:
    out = _write_all(oci, "echo ran > $OUT/$K", ("poststop",))
    oci.run_args("sh", "-c", "echo ran > /out/program; sleep 600")
    oci.put({"hooks.startContainer": [_hook("exit 3")]})
    oci.create()
    assert "startContainer hook /bin/sh" in oci("start", "c1", code=1).stderr
    eventually(lambda: oci.status() == "stopped")
    assert not (out / "program").exists()
    oci("delete", "c1")
    assert (out / "poststop").read_text() == "ran\n"


def _warned(kind: str, verb: str) -> Case:
    @story(_LIFECYCLE, f"a failing {kind} hook is warned about; the other hooks and the life go on")
    def tell(oci: Oci) -> None:
        out = _write_all(oci, "exit 3", (kind,))
        oci.put({f"hooks.{kind}+": _hook(f"echo ran > {out}/{kind}")})
        oci.create()
        said = oci("start", "c1").stderr
        assert oci.status() == "running"
        oci("kill", "c1", "KILL")
        eventually(lambda: oci.status() == "stopped")
        said = said if verb == "start" else oci("delete", "c1").stderr
        assert f"{kind} hook /bin/sh" in said
        assert (out / kind).read_text() == "ran\n"

    return tell


@story(_HOOKS, "a hook without a timeout has 60 s", differs="hook-timeout")
def _default_timeout(oci: Oci) -> None:
    assert DEFAULT_TIMEOUT_S == 60
    oci.put({"hooks.createRuntime": [_hook("sleep 0.2")]})
    oci.create()


@story(_HOOKS, "a hook that takes longer than its timeout is killed and has failed")
def _timeout(oci: Oci) -> None:
    oci.put({"hooks.createRuntime": [_hook("sleep 60", timeout=1)]})
    assert "it took longer than 1 s" in oci.create(code=1)


CASES: tuple[Case, ...] = (
    _order,
    _state,
    _namespaces,
    _paths,
    _environment,
    _timeout,
    _default_timeout,
    Refused(section=_HOOKS, demand="a path must be absolute", config={"hooks.poststop": [{"path": "bin/true"}]},
            says="hooks.poststop[0].path"),
    Refused(section=_HOOKS, demand="a timeout must be greater than 0",
            config={"hooks.prestart": [{"path": "/bin/true", "timeout": 0}]}, says="hooks.prestart[0].timeout"),
    Refused(section=_HOOKS, demand="a hook that is not there is an error",
            config={"hooks.createRuntime": [{"path": "/no/such"}]}, says="/no/such"),
    *map(_failing, _EARLY),
    _failing_start,
    _warned("poststart", "start"),
    _warned("poststop", "delete"),
)  # fmt: skip
