"""prctl(2): what a process says about itself. Import-light."""

from __future__ import annotations

from ctypes import c_int, c_ulong

from runtime.linux.libc import function

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

prctl = function("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)


def set_dumpable(*, dumpable: bool) -> None:
    """Let others of our uid look into us, or not: no ptrace, and /proc/self belongs to root (until the next exec)."""
    prctl(PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


def set_no_new_privileges() -> None:
    """From now on no exec gives more than we have: no setuid, no file capabilities. For good."""
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def set_keep_capabilities(*, keep: bool) -> None:
    """Keep the permitted capabilities across the change from uid 0 to another; exec clears the flag."""
    prctl(PR_SET_KEEPCAPS, int(keep), 0, 0, 0)
