"""What a request says of privileges, joined to `profile`: capabilities, filter, paths, devices. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from runtime.api import ContainerRequest, HostFacts
from runtime.container import profile
from runtime.container.seccomp_default import default_seccomp
from runtime.container.seccomp_document import decode_profile
from runtime.errors import InvalidSpec
from runtime.linux import caps
from runtime.spec.config import DeviceRule, OciConfig, Seccomp

UNCONFINED = "unconfined"
ALL = "ALL"
_RULE = re.compile(r"([abc]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")


def capabilities(request: ContainerRequest) -> tuple[str, ...]:
    """Return the capabilities of the container, in the kernel's order (compose-format §12.7).

    ALL to drop leaves what is added, ALL to add takes what is dropped off; privileged has all.
    Raises InvalidSpec for one that is unknown.
    """
    added = _names(request.cap_add, "cap_add")
    dropped = _names(request.cap_drop, "cap_drop")
    everything = {f"CAP_{name}" for name in caps.NAMES}
    if request.privileged:
        chosen = everything
    elif ALL in added:
        chosen = everything - dropped
    elif ALL in dropped:
        chosen = added
    else:
        chosen = ({*profile.DEFAULT_CAPABILITIES} - dropped) | added
    return tuple(f"CAP_{name}" for name in caps.NAMES if f"CAP_{name}" in chosen)


def _names(given: Sequence[str], where: str) -> set[str]:
    found = set()
    for name in given:
        short = name.upper().removeprefix("CAP_")
        if short != ALL and short not in caps.NAMES:
            raise InvalidSpec(where, f"{name!r} is no capability")
        found.add(ALL if short == ALL else f"CAP_{short}")
    return found


def seccomp(
    request: ContainerRequest, held: Sequence[str], facts: HostFacts | None
) -> Seccomp | None:
    """Return the system call filter; None is none. Raises InvalidSpec for a profile that cannot be read."""
    wanted = request.security.seccomp
    if wanted == UNCONFINED or (request.privileged and wanted is None):
        return None
    if wanted is None:
        may_make = bool(request.device_cgroup_rules)
        return default_seccomp(held, may_make_devices=may_make)
    architecture, kernel = (facts.architecture, facts.kernel) if facts else ("amd64", (6, 1))
    return decode_profile(wanted, capabilities=held, architecture=architecture, kernel=kernel)


def hidden_paths(request: ContainerRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (masked, read-only) paths."""
    security = request.security
    opened = {*security.unmasked}
    if request.privileged or security.systempaths_unconfined or ALL in opened:
        return security.masked, ()
    masked = tuple(path for path in profile.MASKED_PATHS if path not in opened)
    extra = tuple(path for path in security.masked if path not in masked)
    return (*masked, *extra), tuple(path for path in profile.READONLY_PATHS if path not in opened)


def device_rules(request: ContainerRequest) -> tuple[DeviceRule, ...]:
    """Return what devices it may use, in the order of evaluation; those of `devices` come at the start."""
    if request.privileged:
        return (DeviceRule(allow=True, access="rwm"),)
    return (
        *profile.DEFAULT_DEVICE_RULES,
        *(parse_device_rule(text) for text in request.device_cgroup_rules),
    )


def may_mount(config: OciConfig) -> bool:
    """Whether it may mount cgroups itself: then no hierarchy may have it anywhere but in a group of its own."""
    process = config.process
    return bool(
        process and process.capabilities and "CAP_SYS_ADMIN" in process.capabilities.bounding
    )


def bundle_device_rules(given: Sequence[DeviceRule]) -> tuple[DeviceRule, ...]:
    """Return a bundle's rules, and after them what every container may use (config-linux.md §Default Devices)."""
    defaults = profile.DEFAULT_DEVICE_RULES
    if not given:
        return defaults
    return (*given, *(rule for rule in defaults if rule.allow and rule.access == "rwm"))


def parse_device_rule(text: str) -> DeviceRule:
    """Return the rule that "c 1:3 rwm" is. Raises InvalidSpec."""
    found = _RULE.fullmatch(text)
    if not found:
        raise InvalidSpec("device_cgroup_rules", f"{text!r} is no rule such as 'c 1:3 rwm'")
    kind, major, minor, access = found.groups()
    return DeviceRule(
        allow=True,
        type=kind,
        major=None if major == "*" else int(major),
        minor=None if minor == "*" else int(minor),
        access=access,
    )
