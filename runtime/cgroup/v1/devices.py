"""The devices controller of v1: used where no eBPF program can be put on a unified twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.cgroup import files

if TYPE_CHECKING:
    from runtime.spec.config import DeviceRule


def set_rules(group: str, rules: Sequence[DeviceRule]) -> None:
    """Let the group use what these rules allow, in their order, and nothing else. Raises KernelRefused."""
    files.write(f"{group}/devices.deny", "a")
    for rule in rules:
        name = "devices.allow" if rule.allow else "devices.deny"
        files.write(f"{group}/{name}", entry(rule))


def entry(rule: DeviceRule) -> str:
    """Return the rule as the kernel writes it: "c 1:3 rwm", "a" (cgroup-v1/devices.rst)."""
    access = rule.access or "rwm"
    if rule.type in (None, "a"):
        # The kernel has no wildcard of both types that names a device or an access.
        return "a"
    numbers = (
        "*" if number is None or number < 0 else str(number) for number in (rule.major, rule.minor)
    )
    return f"{rule.type} {':'.join(numbers)} {access}"
