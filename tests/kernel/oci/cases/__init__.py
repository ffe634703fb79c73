"""All cases, in the order of the specification."""

from __future__ import annotations

from tests.kernel.oci.case import Case
from tests.kernel.oci.cases import (
    commands,
    devices,
    groups,
    hooks,
    lifecycle,
    mounts,
    namespaces,
    process,
    seccomp,
)

CASES: tuple[Case, ...] = (
    *process.CASES,
    *mounts.CASES,
    *hooks.CASES,
    *namespaces.CASES,
    *devices.CASES,
    *groups.CASES,
    *seccomp.CASES,
    *lifecycle.CASES,
    *commands.CASES,
)
