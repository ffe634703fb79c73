"""config-linux.md §Devices and §Default Devices, runtime-linux.md §Dev symbolic links, §Standard streams."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.kernel.oci.case import Case, Refused, Says, story
from tests.support.oci import Json, Oci

_DEVICES = "config-linux.md §Devices"
_DEFAULTS = "config-linux.md §Default Devices"
_ALLOWED = "config-linux.md §Allowed Device list"
_LINKS = "runtime-linux.md §Dev symbolic links"
_FDS = "runtime-linux.md §File descriptors"


def _device(path: str, kind: str = "c", major: int = 1, minor: int = 5, **more: object) -> Json:
    return {"linux.devices+": {"path": path, "type": kind, "major": major, "minor": minor, **more}}


_ALL = {"linux.resources.devices": [{"allow": True, "access": "rwm"}]}
_STAT = "stat -c '%F %t:%T %a %u:%g'"


@story(
    _DEVICES,
    "a fifo needs no numbers",
    config={"linux.devices": [{"path": "/dev/pipe", "type": "p"}]},
)
def _fifo(oci: Oci) -> None:
    pid = oci.start()
    assert stat.S_ISFIFO(Path(f"/proc/{pid}/root/dev/pipe").stat().st_mode)


@story(_DEVICES, "the host has no new node", config=_device("/dev/trice-test"))
def _not_on_host(oci: Oci) -> None:
    oci.start()
    assert not Path("/dev/trice-test").exists()
    assert not (oci.bundle / "rootfs/dev/trice-test").exists()


@story(_FDS, "only stdin, stdout and stderr are open")
def _descriptors(oci: Oci) -> None:
    inherited = os.open("/", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        oci.run_args("sh", "-c", "ls /proc/$$/fd; :")
        # What the shell has opened for itself is above 9.
        assert [fd for fd in oci.run().split() if int(fd) < 10] == ["0", "1", "2"]
    finally:
        os.close(inherited)


CASES: tuple[Case, ...] = (
    Says(section=_DEFAULTS, demand="null zero full random urandom tty are there for everybody",
         script=f"for n in null zero full random urandom tty; do {_STAT} /dev/$n; done",
         expected="".join(f"character special file {n} 666 0:0\n" for n in ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0")),
         is_for_vm=True),
    Says(section=_DEFAULTS, demand="they can be used", config={"process.user": {"uid": 1000, "gid": 1000}},
         script="echo x > /dev/null; head -c 2 /dev/zero | od -An -tx1; head -c 1 /dev/urandom | wc -c; "
                "echo x 2>/dev/null > /dev/full || echo full",
         expected=" 00 00\n1\nfull\n"),
    Says(section=_DEFAULTS, demand="ptmx is that of the container's own devpts", script="readlink /dev/ptmx",
         expected="pts/ptmx\n"),
    Says(section=_DEFAULTS, demand="without a terminal there is no /dev/console",
         script="test -e /dev/console || echo none", expected="none\n"),
    Says(section=_LINKS, demand="fd, stdin, stdout, stderr lead to /proc/self/fd",
         script="for n in fd stdin stdout stderr; do readlink /dev/$n; done",
         expected="/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n"),
    _descriptors,
    Says(section=_DEVICES, demand="type, numbers, mode and owner are as asked for",
         config=_device("/dev/mine", fileMode=0o640, uid=7, gid=8), script=f"{_STAT} /dev/mine",
         expected="character special file 1:5 640 7:8\n"),
    Says(section=_DEVICES, demand="u is an unbuffered character device", config=_device("/dev/mine", "u"),
         script=f"{_STAT} /dev/mine", expected="character special file 1:5 666 0:0\n"),
    Says(section=_DEVICES, demand="a block device", config=_device("/dev/mine", "b", 7, 200),
         script=f"{_STAT} /dev/mine", expected="block special file 7:c8 666 0:0\n"),
    Says(section=_DEVICES, demand="a directory below /dev is made", config=_device("/dev/a/b/mine"),
         script="head -c 1 /dev/a/b/mine | wc -c", expected="1\n"),
    Says(section=_DEVICES, demand="a path outside of /dev", config=_device("/opt/devices/mine"),
         script=f"{_STAT} /opt/devices/mine; head -c 1 /opt/devices/mine | wc -c",
         expected="character special file 1:5 666 0:0\n1\n"),
    _fifo,
    _not_on_host,
    Says(section=_DEVICES, demand="a default device that is asked for again has the mode that is asked for",
         config=_device("/dev/null", minor=3, fileMode=0o600), script=f"{_STAT} /dev/null",
         expected="character special file 1:3 600 0:0\n"),
    Says(section=_DEVICES, demand="/dev/ptmx asked for as a device is the one that is there",
         config=_device("/dev/ptmx", major=5, minor=2), script="readlink /dev/ptmx", expected="pts/ptmx\n"),
    Refused(section=_DEVICES, demand="a file of that name that is no such device is an error",
            config=_device("/dev/null", minor=5), says="/dev/null"),
    Refused(section=_DEVICES, demand="a file of the image of that name is an error", config=_device("/etc/passwd"),
            says="/etc/passwd"),
    Refused(section=_DEVICES, demand="an unknown type is refused", config=_device("/dev/mine", "x"),
            says="linux.devices[0].type"),
    Refused(section=_DEVICES, demand="a relative path is refused", config=_device("mine"),
            says="linux.devices[0].path"),
    Says(section=_ALLOWED, demand="nothing but the default devices may be used unless it is allowed",
         config=_device("/dev/mine", "c", 10, 229), script="cat /dev/mine 2>/dev/null || echo refused",
         expected="refused\n", differs="default-device-list", is_for_vm=True),
    Says(section=_ALLOWED, demand="entries apply in the listed order: the last has the last word",
         config={**_device("/dev/mine", "c", 10, 229),
                 "linux.resources.devices": [
                     {"allow": False, "access": "rwm"},
                     {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
                     {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "w"}]},
         script="dd if=/dev/mine of=/dev/null bs=1 count=0 2>/dev/null && echo read; "
                "echo x 2>/dev/null >/dev/mine || echo refused",
         expected="read\nrefused\n"),
    Says(section=_ALLOWED, demand="all may be allowed", config={**_device("/dev/mine", "c", 10, 229), **_ALL},
         script="dd if=/dev/mine of=/dev/null bs=1 count=0 2>/dev/null && echo read", expected="read\n"),
    Refused(section=_ALLOWED, demand="an unknown access is refused",
            config={"linux.resources.devices": [{"allow": True, "access": "rx"}]}, says="access 'rx'"),
)  # fmt: skip
