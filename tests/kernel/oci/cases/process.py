"""config.md: version, root, process, user, hostname."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from tests.kernel.oci.case import Case, Refused, Says, namespaces, story
from tests.support.oci import Oci, status_field

_VERSION = "config.md §Specification version"
_ROOT = "config.md §Root"
_PROCESS = "config.md §Process"
_RLIMITS = "config.md §POSIX process: rlimits"
_LINUX = "config.md §Linux Process"
_USER = "config.md §User"
_NAMES = "config.md §Hostname and domainname"
_CAPABILITIES = "config.md §Linux Process: capabilities"
_OPEN = "config.md §Extensibility, Valid values"
_NOTES = "config.md §Annotations"

_IDS = "id -u; id -g; id -G; umask"


def _capabilities(**sets: list[str]) -> dict[str, object]:
    return {"process.capabilities": sets}


def _rlimit(kind: str, soft: int, hard: int) -> dict[str, object]:
    return {"type": kind, "soft": soft, "hard": hard}


@story(_LINUX, "oomScoreAdj is left alone when it is not set")
def _no_oom_score(oci: Oci) -> None:
    pid = oci.start()
    own = Path("/proc/self/oom_score_adj").read_text()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == own


@story(_LINUX, "capabilities that are not given are in no set", config=_capabilities())
def _no_capabilities(oci: Oci) -> None:
    pid = oci.start()
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status_field(pid, name), 16) == 0, name


@story(
    _RLIMITS,
    "more than this host lets us give is as much as it does, and that is told",
    config={"process.rlimits": [_rlimit("RLIMIT_NOFILE", 100, 1 << 19)]},
    differs="rlimit",
)
def _too_much(oci: Oci) -> None:
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    may_raise = int(status_field(os.getpid(), "CapEff"), 16) >> 24 & 1
    said = oci.create()
    assert ("RLIMIT_NOFILE" in said) is not (bool(may_raise) or own >= 1 << 19)
    given = resource.prlimit(oci.pid(), resource.RLIMIT_NOFILE)
    assert given == (100, 1 << 19 if may_raise else min(own, 1 << 19))


@story(
    _CAPABILITIES,
    "what this host cannot grant is warned about and does not fail",
    config=_capabilities(
        bounding=["CAP_KILL", "CAP_SYS_RESOURCE"],
        effective=["CAP_KILL", "CAP_SYS_RESOURCE"],
        permitted=["CAP_KILL", "CAP_SYS_RESOURCE"],
    ),
)
def _not_grantable(oci: Oci) -> None:
    has_it = int(status_field(os.getpid(), "CapBnd"), 16) >> 24 & 1
    said = oci.create()
    assert ("CAP_SYS_RESOURCE" in said) is not bool(has_it)
    assert said.count("\n") == (0 if has_it else 1)
    assert int(status_field(oci.pid(), "CapBnd"), 16) == (1 << 24 if has_it else 0) | 1 << 5


@story(_ROOT, "readonly is about the container's view: the directory itself is as it was",
       config={"root.readonly": True})  # fmt: skip
def _host_root(oci: Oci) -> None:
    oci.start()
    (oci.bundle / "rootfs/made-by-host").write_text("")


CASES: tuple[Case, ...] = (
    Says(section=_VERSION, demand="1.0.0 to 1.2.0 are taken", config={"ociVersion": "1.0.0"},
         script="echo ran", expected="ran\n"),
    Says(section=_VERSION, demand="a version with a pre-release part is one", config={"ociVersion": "1.1.0-rc.1+dev"},
         script="echo ran", expected="ran\n"),
    Refused(section=_VERSION, demand="another major version is refused", config={"ociVersion": "2.0.0"},
            says="ociVersion"),
    Refused(section=_VERSION, demand="what is no version is refused", config={"ociVersion": "1.x"}, says="ociVersion"),
    Refused(section=_VERSION, demand="a missing version is refused", config={"ociVersion": None}, says="ociVersion"),
    Refused(section=_ROOT, demand="a root is required", config={"root": None}, says="root"),
    Refused(section=_ROOT, demand="the directory must exist", config={"root.path": "nothere"}, says="nothere"),
    Refused(section=_ROOT, demand="it must be a directory", config={"root.path": "config.json"}, says="config.json"),
    Says(section=_ROOT, demand="readonly makes the root read-only", config={"root.readonly": True},
         script="touch /x 2>/dev/null || echo refused; touch /dev/x && echo made", expected="refused\nmade\n",
         is_for_vm=True),
    Says(section=_ROOT, demand="it can be written without readonly", script="touch /x && echo made", expected="made\n"),
    _host_root,
    Says(section=_PROCESS, demand="args are the argument vector, each as it is",
         config={"process.args": ["sh", "-c", 'printf "[%s]" "$@"', "sh", "a b", "", "*"]},
         script="", expected="[a b][][*]"),
    Refused(section=_PROCESS, demand="args must have an entry", config={"process.args": []}, says="process.args"),
    Refused(section=_PROCESS, demand="process is required", config={"process": None}, says="process",
            differs="process-at-create"),
    Refused(section=_PROCESS, demand="a program that is not there is an error",
            config={"process.args": ["/no/such"]}, says="/no/such"),
    Says(section=_PROCESS, demand="env is the environment, and nothing of ours is",
         config={"process.env": ["PATH=/bin", "A=b=c", "EMPTY="]},
         script="env | grep -v -e ^PWD= -e ^SHLVL= -e ^HOME= | sort", expected="A=b=c\nEMPTY=\nPATH=/bin\n"),
    Refused(section=_PROCESS, demand="an entry of env is name=value", config={"process.env": ["PATH=/bin", "A"]},
            says="process.env[1]"),
    Says(section=_PROCESS, demand="cwd is where it begins", config={"process.cwd": "/tmp"}, script="pwd",
         expected="/tmp\n"),
    Refused(section=_PROCESS, demand="cwd must be absolute", config={"process.cwd": "tmp"}, says="process.cwd"),
    Says(section=_PROCESS, demand="a cwd that is missing is made", config={"process.cwd": "/new/dir"}, script="pwd",
         expected="/new/dir\n"),
    Says(section=_PROCESS, demand="consoleSize without terminal is ignored",
         config={"process.consoleSize": {"height": 25, "width": 80}}, script="test -t 0 || echo none",
         expected="none\n"),
    Refused(section=_PROCESS, demand="a terminal needs somebody to take it", config={"process.terminal": True},
            says="--console-socket"),
    Says(section=_RLIMITS, demand="soft and hard limits match what is configured",
         config={"process.rlimits": [_rlimit("RLIMIT_NOFILE", 100, 200), _rlimit("RLIMIT_CORE", 0, 4096),
                                     _rlimit("RLIMIT_STACK", 1 << 20, 1 << 21)]},
         script="ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc; ulimit -s; ulimit -Hs",
         expected="100\n200\n0\n8\n1024\n2048\n"),
    Refused(section=_RLIMITS, demand="an unknown type is refused",
            config={"process.rlimits": [_rlimit("RLIMIT_FANCY", 1, 1)]}, says="process.rlimits[0]"),
    Refused(section=_RLIMITS, demand="a type that is there twice is refused",
            config={"process.rlimits": [_rlimit("RLIMIT_CORE", 1, 1), _rlimit("RLIMIT_CORE", 2, 2)]},
            says="process.rlimits[1]"),
    Refused(section=_RLIMITS, demand="soft may not be more than hard",
            config={"process.rlimits": [_rlimit("RLIMIT_CORE", 2, 1)]}, says="process.rlimits[0]"),
    Refused(section=_RLIMITS, demand="a limit that no kernel takes is an error",
            config={"process.rlimits": [_rlimit("RLIMIT_NOFILE", 1, -1)]}, says="process.rlimits[0]"),
    _too_much,
    Says(section=_LINUX, demand="oomScoreAdj is set", config={"process.oomScoreAdj": 321},
         script="cat /proc/self/oom_score_adj", expected="321\n"),
    Refused(section=_LINUX, demand="an oomScoreAdj out of range is an error", config={"process.oomScoreAdj": 5000},
            says="oom_score_adj"),
    _no_oom_score,
    Says(section=_LINUX, demand="noNewPrivileges is set", config={"process.noNewPrivileges": True},
         script="grep NoNewPrivs /proc/self/status", expected="NoNewPrivs:\t1\n"),
    Says(section=_LINUX, demand="noNewPrivileges is off when it is not asked for",
         script="grep NoNewPrivs /proc/self/status", expected="NoNewPrivs:\t0\n"),
    Refused(section=_LINUX, demand="an AppArmor profile is refused",
            config={"process.apparmorProfile": "p"}, says="process.apparmorProfile", differs="labels"),
    Refused(section=_LINUX, demand="an SELinux label is refused", config={"process.selinuxLabel": "a:b:c:s0"},
            says="process.selinuxLabel", differs="labels"),
    Says(section=_LINUX, demand="scheduler sets policy and nice",
         config={"process.scheduler": {"policy": "SCHED_BATCH", "nice": 7}},
         script="cut -d' ' -f19,41 /proc/self/stat", expected="7 3\n"),
    Refused(section=_LINUX, demand="an unknown scheduler policy is refused",
            config={"process.scheduler": {"policy": "SCHED_FANCY"}}, says="process.scheduler"),
    Says(section=_LINUX, demand="ioPriority sets class and priority",
         config={"process.ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}},
         script="ionice -p $$", expected="best-effort: prio 6\n"),
    Refused(section=_LINUX, demand="an unknown class of ioPriority is refused",
            config={"process.ioPriority": {"class": "IOPRIO_CLASS_FANCY", "priority": 1}}, says="process.ioPriority"),
    Refused(section=_LINUX, demand="execCPUAffinity is refused",
            config={"process.execCPUAffinity": {"initial": "0"}}, says="process.execCPUAffinity",
            differs="exec-affinity"),
    Says(section=_CAPABILITIES, demand="each set is what is asked for",
         config=_capabilities(bounding=["CAP_KILL", "CAP_CHOWN", "CAP_SETUID"], permitted=["CAP_KILL", "CAP_CHOWN"],
                              effective=["CAP_KILL"], inheritable=["CAP_CHOWN"], ambient=["CAP_CHOWN"]),
         # Executing as root gives the permitted set what is in the bounding one, as capabilities(7) has it.
         script="grep -e CapInh -e CapBnd -e CapAmb /proc/self/status",
         expected="CapInh:\t0000000000000001\nCapBnd:\t00000000000000a1\nCapAmb:\t0000000000000001\n"),
    Says(section=_CAPABILITIES, demand="a user other than root has the ambient ones and no other",
         config={"process.user": {"uid": 1000, "gid": 1000},
                 **_capabilities(bounding=["CAP_KILL", "CAP_CHOWN"], permitted=["CAP_KILL", "CAP_CHOWN"],
                                 effective=["CAP_KILL", "CAP_CHOWN"], inheritable=["CAP_CHOWN"],
                                 ambient=["CAP_CHOWN"])},
         script="grep -e CapPrm -e CapEff /proc/self/status",
         expected="CapPrm:\t0000000000000001\nCapEff:\t0000000000000001\n"),
    _no_capabilities,
    _not_grantable,
    Refused(section=_CAPABILITIES, demand="an unknown name is refused",
            config=_capabilities(bounding=["CAP_FLY"]), says="'FLY'", differs="unknown-capability"),
    Says(section=_USER, demand="uid, gid, additionalGids and umask",
         config={"process.user": {"uid": 1234, "gid": 2345, "additionalGids": [7, 9], "umask": 0o27}},
         script=_IDS, expected="1234\n2345\n2345 7 9\n0027\n", is_for_vm=True),
    Says(section=_USER, demand="no groups of ours are left", script="grep Groups: /proc/self/status",
         expected="Groups:\t0 \n"),
    Says(section=_USER, demand="umask is 0022 when it is not set", script="umask", expected="0022\n"),
    Refused(section=_USER, demand="a uid that is none is refused",
            config={"process.user": {"uid": 1 << 32, "gid": 0}}, says="process.user.uid"),
    Refused(section=_USER, demand="a negative gid is refused",
            config={"process.user": {"uid": 0, "gid": -1}}, says="process.user.gid"),
    Says(section=_NAMES, demand="both are the container's own",
         config={"hostname": "box", "domainname": "example.org"},
         script="hostname; cat /proc/sys/kernel/domainname", expected="box\nexample.org\n", is_for_vm=True),
    Refused(section=_NAMES, demand="a hostname needs a uts namespace of its own",
            config={"linux.namespaces": namespaces(uts=None)}, says="hostname"),
    Refused(section=_NAMES, demand="a domainname needs a uts namespace of its own",
            config={"hostname": None, "domainname": "d", "linux.namespaces": namespaces(uts=None)}, says="domainname"),
    Refused(section=_NAMES, demand="a name longer than the kernel takes is refused",
            config={"hostname": "x" * 65}, says="hostname"),
    Says(section=_OPEN, demand="properties that are unknown are ignored, wherever they are",
         config={"x": {"y": 1}, "process.x": 1, "root.x": 1, "linux.x": [], "linux.resources.x": 1,
                 "linux.resources.memory": {"x": 1}, "hooks.x": [{"path": "/bin/false"}]},
         script="echo ran", expected="ran\n"),
    Says(section=_OPEN, demand="sections of other platforms are ignored",
         config={"windows": {"layerFolders": []}, "solaris": {}, "zos": {}},
         script="echo ran", expected="ran\n"),
    Refused(section=_OPEN, demand="a value of a wrong type is refused", config={"process.cwd": 7}, says="cwd"),
    Says(section=_NOTES, demand="unknown keys are no error", config={"annotations": {"org.example.any": "thing"}},
         script="echo ran", expected="ran\n"),
    Refused(section=_NOTES, demand="a value must be a string", config={"annotations": {"a": 1}}, says="annotations"),
    Refused(section=_NOTES, demand="a key must not be empty", config={"annotations": {"": "x"}}, says="annotations"),
)  # fmt: skip
