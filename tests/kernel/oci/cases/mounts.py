"""config.md §Mounts, config-linux.md: default filesystems, masked and read-only paths, propagation of the root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel.oci.case import Case, Refused, Says, story
from tests.support.oci import Oci

_MOUNTS = "config.md §Mounts"
_OPTIONS = "config.md §Linux mount options"
_DEFAULTS = "config-linux.md §Default Filesystems"
_PROPAGATION = "config-linux.md §Rootfs Mount Propagation"
_MASKED = "config-linux.md §Masked Paths"
_READ_ONLY = "config-linux.md §Readonly Paths"
_LABEL = "config-linux.md §Mount Label"


def _mount(
    destination: str, *options: str, kind: str = "tmpfs", source: str = "tmpfs"
) -> dict[str, object]:
    return {
        "mounts+": {
            "destination": destination,
            "type": kind,
            "source": source,
            "options": list(options),
        }
    }


def _bind(destination: str, *options: str, source: str = "data") -> dict[str, object]:
    return _mount(destination, "bind", *options, kind="bind", source=source)


def _flags(path: str) -> str:
    """Return a script that prints the attributes of the mount at `path`, one a line, but for the access times."""
    return f"awk '$5 == \"{path}\" {{print $6}}' /proc/self/mountinfo | tr , '\\n' | grep -v -e relatime"


def _shown(path: str) -> str:
    """Return a script that prints attributes and propagation of the mount at `path`."""
    return (
        f'awk \'$5 == "{path}" {{t = ""; for (i = 7; $i != "-"; i++) {{sub(/:.*/, "", $i); t = t " " $i}}; '
        "print $6 t}' /proc/self/mountinfo"
    )


@contextmanager
def _host_mount(place: Path, propagation: str) -> Iterator[Path]:
    """Give a tmpfs of the host at `place`."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
    subprocess.run(["mount", f"--make-{propagation}", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-R", "-l", str(place)], check=True)


def _mount_on_host(place: Path) -> None:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", str(place)], check=True)


def _mountinfo(pid: int) -> list[list[str]]:
    return [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]


def _points(pid: int) -> set[str]:
    return {fields[4] for fields in _mountinfo(pid)}


@story(
    _MOUNTS,
    "a source is relative to the bundle; a missing destination is made",
    config=_bind("/made/for/it"),
)
def _relative_source(oci: Oci) -> None:
    (oci.bundle / "data").mkdir()
    (oci.bundle / "data/file").write_text("from the bundle\n")
    oci.run_args("cat", "/made/for/it/file")
    assert oci.run() == "from the bundle\n"


@story(_MOUNTS, "a file can be bound", config=_bind("/etc/one", source="file"))
def _file(oci: Oci) -> None:
    (oci.bundle / "file").write_text("one\n")
    oci.run_args("cat", "/etc/one")
    assert oci.run() == "one\n"


@story(_MOUNTS, "the host sees none of the container's mounts")
def _unseen(oci: Oci) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    oci.start()
    assert Path("/proc/self/mountinfo").read_text() == before


@story(
    _OPTIONS,
    "ro on a bind is for that bind alone: the host's file stays writable",
    config=_bind("/data", "ro"),
)
def _ro_is_its_own(oci: Oci) -> None:
    (oci.bundle / "data").mkdir()
    oci.run_args("sh", "-c", "touch /data/x 2>/dev/null || echo refused")
    assert oci.run() == "refused\n"
    (oci.bundle / "data/host").write_text("")


def _nested(option: str, expected: str) -> Callable[[Oci], None]:
    """Bind a tree with a mount inside it; ask whether the top and the inner one can be written."""
    script = "for d in /data /data/inner; do touch $d/x 2>/dev/null && echo yes || echo no; done"

    def tell(oci: Oci) -> None:
        with _host_mount(oci.bundle / "data", "private") as data:
            _mount_on_host(data / "inner")
            oci.put(_mount("/data", "rbind", option, kind="bind", source="data"))
            oci.run_args("sh", "-c", script)
            assert oci.run() == expected

    return tell


@story(_OPTIONS, "bind without r does not take what is mounted below")
def _single(oci: Oci) -> None:
    with _host_mount(oci.bundle / "data", "private") as data:
        _mount_on_host(data / "inner")
        (data / "inner/file").write_text("")
        oci.put(_bind("/data"))
        oci.run_args("ls", "/data/inner")
        assert oci.run() == ""


@story(_OPTIONS, "suid, dev, exec and rw take away what the source's mount has")
def _cleared(oci: Oci) -> None:
    with _host_mount(oci.bundle / "data", "private") as data:
        subprocess.run(
            ["mount", "-o", "remount,bind,nosuid,nodev,noexec,ro", str(data)], check=True
        )
        oci.put(_bind("/data", "suid", "dev", "exec", "rw"))
        oci.run_args("sh", "-c", _flags("/data"))
        assert oci.run() == "rw\n"


@story(_OPTIONS, "rslave: what the host mounts later comes in, and nothing goes out")
def _slave(oci: Oci) -> None:
    with _host_mount(oci.bundle / "data", "shared") as data:
        oci.put(_bind("/data", "rslave"))
        pid = oci.start()
        _mount_on_host(data / "later")
        assert "/data/later" in _points(pid)
        _mount_inside(pid, "/data/mine")
        assert str(data / "mine") not in _points(os.getpid())


@story(_OPTIONS, "rshared: mounts go both ways")
def _shared(oci: Oci) -> None:
    with _host_mount(oci.bundle / "data", "shared") as data:
        oci.put(_bind("/data", "rshared"))
        pid = oci.start()
        _mount_on_host(data / "later")
        assert "/data/later" in _points(pid)
        _mount_inside(pid, "/data/mine")
        assert str(data / "mine") in _points(os.getpid())


@story(_OPTIONS, "rprivate, and nothing said: mounts go neither way")
def _private(oci: Oci) -> None:
    with _host_mount(oci.bundle / "data", "shared") as data:
        oci.put(_bind("/data"))
        pid = oci.start()
        _mount_on_host(data / "later")
        assert "/data/later" not in _points(pid)
        _mount_inside(pid, "/data/mine")
        assert str(data / "mine") not in _points(os.getpid())


def _mount_inside(pid: int, place: str) -> None:
    """Mount a tmpfs in a container, as a process of it with all capabilities would."""
    entered = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", f"--root=/proc/{pid}/root"]
    script = f"mkdir -p {place} && mount -t tmpfs t {place}"
    subprocess.run([*entered, "/bin/sh", "-c", script], check=True)


def _root_propagation(pid: int) -> set[str]:
    fields = next(fields for fields in _mountinfo(pid) if fields[4] == "/")
    return {word.partition(":")[0] for word in fields[6 : fields.index("-")]}


@story(_PROPAGATION, "private: no events come in", config={"linux.rootfsPropagation": "private"})
def _root_private(oci: Oci) -> None:
    assert _root_propagation(oci.start()) == set()


@story(
    _PROPAGATION,
    "shared: the root is in a peer group of its own",
    config={"linux.rootfsPropagation": "shared"},
)
def _root_shared(oci: Oci) -> None:
    assert _root_propagation(oci.start()) == {"shared"}


@story(_PROPAGATION, "slave: what the host mounts below the root appears inside, and nothing goes out",
       config={"linux.rootfsPropagation": "slave", "root.path": "mounted"})  # fmt: skip
def _root_slave(oci: Oci) -> None:
    with _host_mount(oci.bundle / "mounted", "shared") as root:
        subprocess.run(["cp", "-a", f"{oci.bundle}/rootfs/.", str(root)], check=True)
        pid = oci.start()
        _mount_on_host(root / "later")
        assert "/later" in _points(pid)
        _mount_inside(pid, "/mine")
        assert str(root / "mine") not in _points(os.getpid())
        oci("delete", "--force", "c1")


@story(
    _PROPAGATION,
    "unbindable: the root cannot be bound",
    config={"linux.rootfsPropagation": "unbindable"},
)
def _root_unbindable(oci: Oci) -> None:
    assert _root_propagation(oci.start()) == {"unbindable"}


@story(_MOUNTS, "entries are mounted in the listed order")
def _order(oci: Oci) -> None:
    for name in ("/a", "/a/b", "/a/b/c", "/a"):
        oci.put(_mount(name))
    oci.run_args("sh", "-c", "awk '$5 ~ /^\\/a/ {print $5}' /proc/self/mountinfo; ls /a")
    assert oci.run() == "/a\n/a/b\n/a/b/c\n/a\n"


CASES: tuple[Case, ...] = (
    _order,
    _relative_source,
    _file,
    _unseen,
    Refused(section=_MOUNTS, demand="a relative destination is refused", config=_mount("data"),
            says="mounts[5].destination", differs="relative-destination"),
    Refused(section=_MOUNTS, demand="a destination with .. is refused", config=_mount("/a/../b"),
            says="mounts[5].destination"),
    Refused(section=_MOUNTS, demand="a source that is not there is an error", config=_bind("/data", source="nothere"),
            says="nothere"),
    Refused(section=_MOUNTS, demand="a type that the kernel does not know is an error",
            config=_mount("/data", kind="fancyfs"), says="fancyfs"),
    Says(section=_MOUNTS, demand="any file system of the kernel can be mounted",
         config=_mount("/data", "mode=700", kind="ramfs", source="none"),
         script="awk '$5 == \"/data\" {print $(NF-2)}' /proc/self/mountinfo; stat -c %a /data",
         expected="ramfs\n700\n"),
    Refused(section=_MOUNTS, demand="proc in another place than /proc is refused",
            config=_mount("/other", kind="proc", source="proc"), says="mounted at /proc only", differs="proc-place"),
    Refused(section=_MOUNTS, demand="nothing is mounted over /proc", config=_mount("/proc/sys"), says="/proc",
            differs="over-proc"),
    Refused(section=_MOUNTS, demand="uidMappings of a mount are refused",
            config={"mounts+": {"destination": "/data", "type": "bind", "source": "rootfs", "options": ["bind"],
                                "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}]}},
            says="mounts[5].uidMappings", differs="idmap"),
    Refused(section=_OPTIONS, demand="idmap is refused", config=_bind("/data", "idmap", source="rootfs"),
            says="'idmap'", differs="idmap"),
    Refused(section=_OPTIONS, demand="remount is refused", config=_mount("/dev", "remount"), says="'remount'",
            differs="remount"),
    Says(section=_OPTIONS, demand="attributes: ro nosuid nodev noexec noatime nodiratime nosymfollow",
         config=_mount("/data", "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"),
         script=_flags("/data"), expected="ro\nnosuid\nnodev\nnoexec\nnoatime\nnodiratime\nnosymfollow\n",
         is_for_vm=True),
    Says(section=_OPTIONS, demand="strictatime", config=_mount("/data", "strictatime"), script=_flags("/data"),
         expected="rw\n"),
    Says(section=_OPTIONS, demand="the last of two options that contradict one another counts",
         config=_mount("/data", "ro", "rw", "suid", "nosuid", "noexec", "exec"), script=_flags("/data"),
         expected="rw\nnosuid\n"),
    Says(section=_OPTIONS, demand="options that say the default, and those that change nothing, are taken",
         config=_mount("/data", "defaults", "rw", "suid", "dev", "exec", "async", "atime", "diratime", "relatime",
                       "norelatime", "nostrictatime", "nolazytime", "nomand", "noiversion", "loud", "symfollow",
                       "private"),
         script=_flags("/data"), expected="rw\n"),
    Says(section=_OPTIONS, demand="sync, dirsync and lazytime are the file system's",
         config=_mount("/data", "sync", "dirsync", "lazytime"),
         script="awk '$5 == \"/data\" {print $NF}' /proc/self/mountinfo | tr , '\\n' | grep -e sync -e lazytime",
         expected="sync\ndirsync\nlazytime\n"),
    Refused(section=_OPTIONS, demand="sync of a bind is refused: its file system has been mounted before",
            config=_bind("/data", "sync", source="rootfs"), says="'sync'"),
    Says(section=_OPTIONS, demand="options of the file system are handed on",
         config=_mount("/data", "mode=1711", "size=64k"),
         script="stat -c %a /data; df -k /data | tail -1 | tr -s ' ' | cut -d' ' -f2", expected="1711\n64\n"),
    Refused(section=_OPTIONS, demand="an option that the file system does not know is an error",
            config=_mount("/data", "fancy=1"), says="fancy"),
    Refused(section=_OPTIONS, demand="an option that a bind does not know is an error",
            config=_bind("/data", "size=64k", source="rootfs"), says="size=64k"),
    Says(section=_OPTIONS, demand="tmpcopyup begins with what the image has there",
         config=_mount("/etc", "tmpcopyup"), script="grep -c . /etc/passwd; touch /etc/x", expected="2\n"),
    Says(section=_OPTIONS, demand="a bind has the attributes that it is given",
         config=_bind("/data", "ro", "nosuid", "nodev", "noexec", "noatime", source="rootfs"),
         script=_flags("/data"), expected="ro\nnosuid\nnodev\nnoexec\nnoatime\n"),
    _ro_is_its_own,
    _single,
    _cleared,
    story(_OPTIONS, "rro is for all that is mounted below, too")(_nested("rro", "no\nno\n")),
    story(_OPTIONS, "ro of an rbind is for all that is mounted below, too", differs="recursive-ro")(
        _nested("ro", "no\nno\n")
    ),
    _private,
    _slave,
    _shared,
    Says(section=_OPTIONS, demand="shared of a new file system is a peer group of its own",
         config=_mount("/data", "shared"), script=_shown("/data"), expected="rw,relatime shared\n"),
    Says(section=_OPTIONS, demand="unbindable", config=_mount("/data", "unbindable"), script=_shown("/data"),
         expected="rw,relatime unbindable\n"),
    Says(section=_DEFAULTS, demand="/proc, /sys, /dev/pts and /dev/shm are of their types",
         script="awk '$5 ~ /^\\/(proc|sys|dev\\/pts|dev\\/shm)$/ {print $5, $(NF-2)}' /proc/self/mountinfo",
         expected="/proc proc\n/dev/pts devpts\n/dev/shm tmpfs\n/sys sysfs\n"),
    Says(section=_DEFAULTS, demand="a bundle that mounts nothing has a /dev and nothing else", config={"mounts": []},
         script="ls /dev; ls /proc /sys", expected=(
             "fd\nfull\nnull\nptmx\nrandom\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n/proc:\n\n/sys:\n"),
         differs="default-filesystems"),
    Says(section=_MASKED, demand="a file shows nothing, a directory is empty, what is missing is no error",
         config={"linux.maskedPaths": ["/etc/passwd", "/etc", "/bin/nosuch", "/proc/uptime"]},
         script="ls /etc; cat /proc/uptime", expected=""),
    Says(section=_MASKED, demand="what is masked cannot be written", config={"linux.maskedPaths": ["/etc"]},
         script="touch /etc/x 2>/dev/null || echo refused", expected="refused\n"),
    Refused(section=_MASKED, demand="paths are absolute", config={"linux.maskedPaths": ["proc/kcore"]},
            says="linux.maskedPaths[0]"),
    Says(section=_READ_ONLY, demand="they can be read and not be written",
         config={"linux.readonlyPaths": ["/etc", "/proc/sys", "/nosuch"]},
         script="touch /etc/x 2>/dev/null || echo refused; echo 1 2>/dev/null > /proc/sys/net/ipv4/ip_forward || "
                "echo refused; grep -c . /etc/passwd", expected="refused\nrefused\n2\n"),
    Refused(section=_READ_ONLY, demand="paths are absolute", config={"linux.readonlyPaths": ["etc"]},
            says="linux.readonlyPaths[0]"),
    Refused(section=_LABEL, demand="a mount label is refused", config={"linux.mountLabel": "a:b:c:s0"},
            says="linux.mountLabel", differs="labels"),
    _root_private,
    _root_shared,
    _root_slave,
    _root_unbindable,
    Refused(section=_PROPAGATION, demand="another word is refused", config={"linux.rootfsPropagation": "fancy"},
            says="linux.rootfsPropagation"),
)  # fmt: skip
