"""A seccomp profile as people write it (docker's and podman's JSON) made the specification's section. Pure.

Beside the specification's own keys a rule may have `name` for one call, and `includes`/`excludes`: conditions on
capabilities, architectures and the kernel under which it counts at all; `archMap` stands in place of `architectures`.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from msgspec import Struct

from runtime.errors import InvalidSpec
from runtime.spec.config import Seccomp, SeccompArgument, SeccompRule

WHERE = "security_opt: seccomp"


class Condition(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What a rule depends on: all of it to be included, none of it to be excluded."""

    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    min_kernel: str = ""


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What happens to these calls, if the rule counts and all of `args` hold."""

    names: tuple[str, ...] = ()
    action: str
    name: str = ""
    args: tuple[SeccompArgument, ...] | None = None
    errno_ret: int | None = None
    includes: Condition | None = None
    excludes: Condition | None = None


class Profile(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A whole document."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] | None = None
    flags: tuple[str, ...] | None = None
    listener_path: str = ""
    syscalls: tuple[Rule, ...] | None = None


msgspec.json.Decoder(Profile)


def decode_profile(
    text: str, *, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> Seccomp:
    """Return the profile for a container with these capabilities on this machine. Raises InvalidSpec."""
    try:
        profile = msgspec.json.decode(text, type=Profile)
    except msgspec.DecodeError as error:
        raise InvalidSpec(WHERE, f"not a seccomp profile: {error}") from None
    return settled(profile, capabilities=capabilities, architecture=architecture, kernel=kernel)


def settled(
    profile: Profile, *, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> Seccomp:
    """Return what of the profile counts for a container with these capabilities on this machine.

    Raises InvalidSpec for a rule that means nothing.
    """
    rules = []
    for index, rule in enumerate(profile.syscalls or ()):
        names = (*rule.names, *((rule.name,) if rule.name else ()))
        if not names:
            raise InvalidSpec(f"{WHERE}: syscalls[{index}]", "names no system call")
        if _counts(rule, capabilities, architecture, kernel):
            rules.append(
                SeccompRule(
                    names=names, action=rule.action, errno_ret=rule.errno_ret, args=rule.args or ()
                )
            )
    return Seccomp(
        default_action=profile.default_action,
        default_errno_ret=profile.default_errno_ret,
        architectures=profile.architectures or (),
        flags=profile.flags or (),
        listener_path=profile.listener_path,
        syscalls=tuple(rules),
    )


def _counts(rule: Rule, held: Collection[str], architecture: str, kernel: tuple[int, int]) -> bool:
    """Whether the rule's conditions hold: all capabilities to include, none to exclude, and so on."""
    wanted, unwanted = rule.includes or Condition(), rule.excludes or Condition()
    if not {*wanted.caps} <= {*held} or {*unwanted.caps} & {*held}:
        return False
    if (wanted.arches and architecture not in wanted.arches) or architecture in unwanted.arches:
        return False
    if wanted.min_kernel and kernel < _version(wanted.min_kernel):
        return False
    return not unwanted.min_kernel or kernel < _version(unwanted.min_kernel)


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not major.isdigit() or not minor.isdigit():
        raise InvalidSpec(WHERE, f"minKernel {text!r} is not MAJOR.MINOR")
    return int(major), int(minor)
