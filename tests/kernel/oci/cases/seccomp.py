"""config-linux.md §Seccomp."""

from __future__ import annotations

from runtime.linux import syscalls
from tests.kernel.oci.case import Case, Refused, Says
from tests.support.oci import Json

_SECCOMP = "config-linux.md §Seccomp"


def _filter(*rules: Json, default: str = "SCMP_ACT_ALLOW", **more: object) -> Json:
    return {"linux.seccomp": {"defaultAction": default, "syscalls": list(rules), **more}}


def _rule(action: str, *names: str, **more: object) -> Json:
    return {"names": list(names), "action": action, **more}


def _mkdir(action: str, **more: object) -> Json:
    return _filter(_rule(action, "mkdir", "mkdirat", **more))


def _when(op: str, value: int, value_two: int = 0) -> Json:
    """Refuse kill(2) by its second argument: "kill -N $$" tells."""
    argument = {"index": 1, "value": value, "valueTwo": value_two, "op": op}
    return _filter(_rule("SCMP_ACT_ERRNO", "kill", errnoRet=38, args=[argument]))


def _signals(refused: str) -> str:
    return "".join(
        f"{number} {'no' if str(number) in refused.split() else 'yes'}\n"
        for number in (16, 17, 18, 28)
    )


_ALL_BUT_MKDIR = sorted(syscalls.known() - {"mkdir", "mkdirat"})
_ASK = "for s in 16 17 18 28; do kill -$s $$ 2>/dev/null && echo $s yes || echo $s no; done"

CASES: tuple[Case, ...] = (
    Says(section=_SECCOMP, demand="the filter is in force", config=_mkdir("SCMP_ACT_ERRNO"),
         script="grep Seccomp: /proc/self/status; mkdir /x 2>&1", code=1,
         expected="Seccomp:\t2\nmkdir: can't create directory '/x': Operation not permitted\n", is_for_vm=True),
    Says(section=_SECCOMP, demand="without a section there is none", script="grep Seccomp: /proc/self/status",
         expected="Seccomp:\t0\n"),
    Says(section=_SECCOMP, demand="errnoRet is what the call returns", config=_mkdir("SCMP_ACT_ERRNO", errnoRet=28),
         script="mkdir /x 2>&1", code=1, expected="mkdir: can't create directory '/x': No space left on device\n"),
    Says(section=_SECCOMP, demand="defaultErrnoRet is for all that no rule names",
         config=_filter(_rule("SCMP_ACT_ALLOW", *_ALL_BUT_MKDIR), default="SCMP_ACT_ERRNO", defaultErrnoRet=28),
         script="mkdir /x 2>&1", code=1, expected="mkdir: can't create directory '/x': No space left on device\n"),
    Says(section=_SECCOMP, demand="KILL_PROCESS ends the process by SIGSYS", config=_mkdir("SCMP_ACT_KILL_PROCESS"),
         script="mkdir /x; echo $?", expected="159\n"),
    Says(section=_SECCOMP, demand="KILL is KILL_THREAD", config=_mkdir("SCMP_ACT_KILL"), script="mkdir /x; echo $?",
         expected="159\n"),
    Says(section=_SECCOMP, demand="KILL_THREAD", config=_mkdir("SCMP_ACT_KILL_THREAD"), script="mkdir /x; echo $?",
         expected="159\n"),
    Says(section=_SECCOMP, demand="TRAP sends SIGSYS", config=_mkdir("SCMP_ACT_TRAP"), script="mkdir /x; echo $?",
         expected="159\n"),
    Says(section=_SECCOMP, demand="TRACE without a tracer is ENOSYS", config=_mkdir("SCMP_ACT_TRACE"),
         script="mkdir /x 2>&1", code=1, expected="mkdir: can't create directory '/x': Function not implemented\n"),
    Says(section=_SECCOMP, demand="LOG and ALLOW let it through",
         config=_filter(_rule("SCMP_ACT_LOG", "mkdir", "mkdirat"), _rule("SCMP_ACT_ALLOW", "chmod")),
         script="mkdir /x && chmod 700 /x && echo made", expected="made\n"),
    Says(section=_SECCOMP, demand="SCMP_CMP_EQ", config=_when("SCMP_CMP_EQ", 17), script=_ASK, expected=_signals("17")),
    Says(section=_SECCOMP, demand="SCMP_CMP_NE", config=_when("SCMP_CMP_NE", 17), script=_ASK,
         expected=_signals("16 18 28")),
    Says(section=_SECCOMP, demand="SCMP_CMP_LT", config=_when("SCMP_CMP_LT", 17), script=_ASK, expected=_signals("16")),
    Says(section=_SECCOMP, demand="SCMP_CMP_LE", config=_when("SCMP_CMP_LE", 17), script=_ASK,
         expected=_signals("16 17")),
    Says(section=_SECCOMP, demand="SCMP_CMP_GT", config=_when("SCMP_CMP_GT", 18), script=_ASK, expected=_signals("28")),
    Says(section=_SECCOMP, demand="SCMP_CMP_GE", config=_when("SCMP_CMP_GE", 18), script=_ASK,
         expected=_signals("18 28")),
    Says(section=_SECCOMP, demand="SCMP_CMP_MASKED_EQ: value is the mask, valueTwo what it must give",
         config=_when("SCMP_CMP_MASKED_EQ", 0x18, 0x18), script=_ASK, expected=_signals("28")),
    Refused(section=_SECCOMP, demand="an unknown operator is refused", config=_when("SCMP_CMP_FANCY", 1),
            says="SCMP_CMP_FANCY"),
    Refused(section=_SECCOMP, demand="an argument that no call has is refused",
            config=_filter(_rule("SCMP_ACT_ERRNO", "kill", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])),
            says="argument 6"),
    Refused(section=_SECCOMP, demand="an unknown action is refused", config=_mkdir("SCMP_ACT_FANCY"),
            says="SCMP_ACT_FANCY"),
    Refused(section=_SECCOMP, demand="names must have an entry", config=_filter(_rule("SCMP_ACT_ERRNO")),
            says="linux.seccomp.syscalls[0].names"),
    Refused(section=_SECCOMP, demand="an errnoRet with an action that has none is an error",
            config=_mkdir("SCMP_ACT_KILL", errnoRet=1), says="errnoRet"),
    Refused(section=_SECCOMP, demand="a defaultErrnoRet with an action that has none is an error",
            config=_filter(defaultErrnoRet=1), says="defaultErrnoRet"),
    Refused(section=_SECCOMP, demand="a call that does not exist is an error where the default allows",
            config=_filter(_rule("SCMP_ACT_ERRNO", "no_such_call")), says="no_such_call"),
    Says(section=_SECCOMP, demand="architectures with this machine's are taken",
         config={**_mkdir("SCMP_ACT_ERRNO"),
                 "linux.seccomp.architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
                                                 "SCMP_ARCH_AARCH64"]},
         script="mkdir /x 2>/dev/null || echo refused", expected="refused\n"),
    Refused(section=_SECCOMP, demand="without this machine's architecture it is refused",
            config={**_mkdir("SCMP_ACT_ERRNO"), "linux.seccomp.architectures": ["SCMP_ARCH_S390X"]},
            says="linux.seccomp.architectures"),
    Refused(section=_SECCOMP, demand="an unknown architecture is refused",
            config={**_mkdir("SCMP_ACT_ERRNO"),
                    "linux.seccomp.architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_FANCY"]},
            says="SCMP_ARCH_FANCY"),
    Says(section=_SECCOMP, demand="flags LOG, SPEC_ALLOW and TSYNC",
         config={**_mkdir("SCMP_ACT_ERRNO"),
                 "linux.seccomp.flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                                         "SECCOMP_FILTER_FLAG_TSYNC"]},
         script="mkdir /x 2>/dev/null || echo refused", expected="refused\n"),
    Refused(section=_SECCOMP, demand="an unknown flag is refused",
            config={**_mkdir("SCMP_ACT_ERRNO"), "linux.seccomp.flags": ["SECCOMP_FILTER_FLAG_FANCY"]},
            says="SECCOMP_FILTER_FLAG_FANCY"),
    Refused(section=_SECCOMP, demand="SCMP_ACT_NOTIFY is refused", config=_mkdir("SCMP_ACT_NOTIFY"),
            says="SCMP_ACT_NOTIFY", differs="seccomp-notify"),
    Says(section=_SECCOMP, demand="listenerPath is ignored when nothing notifies",
         config={**_mkdir("SCMP_ACT_ERRNO"), "linux.seccomp.listenerPath": "/no/such",
                 "linux.seccomp.listenerMetadata": "x"},
         script="mkdir /x 2>/dev/null || echo refused", expected="refused\n"),
    Refused(section=_SECCOMP, demand="listenerMetadata needs a listenerPath",
            config={**_mkdir("SCMP_ACT_ERRNO"), "linux.seccomp.listenerMetadata": "x"}, says="listenerMetadata"),
    Says(section=_SECCOMP, demand="with noNewPrivileges and without capabilities it is in force, too",
         config={**_mkdir("SCMP_ACT_ERRNO"), "process.noNewPrivileges": True, "process.capabilities": {},
                 "process.user": {"uid": 1000, "gid": 1000}},
         script="mkdir /tmp/x 2>/dev/null || echo refused", expected="refused\n"),
)  # fmt: skip
