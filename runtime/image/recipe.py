"""How mmdebstrap is run to make a root file system, and what its failures mean.

    setpriv --pdeathsig KILL        dies with the thread that waits for it
      unshare --mount --pid         no mount and no process can outlive it; nothing of it is seen outside
        sh: bind the work directory to /var/tmp, where apt's unprivileged downloader can reach it
          mmdebstrap --mode=root    /var/tmp/rootfs.tar, and what the hook notes: dates, applets

Output is a tar file and two lists; `bootstrap` makes an image of them.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path

from runtime.errors import ImageError

TIMEOUT_S = 3600.0
ROOT_TAR = "rootfs.tar"
_INSIDE = "/var/tmp"  # noqa: S108  the work directory is bound there, in a mount namespace of its own
_TOOLS = {"mmdebstrap": "mmdebstrap", "setpriv": "util-linux", "unshare": "util-linux"}
_KEPT_OPTIONS = re.compile(
    r"Acquire::(http|https|ftp|tor|socks|Retries|Check-Valid-Until|Check-Date|Max-FutureTime|ForceIPv[46]|"
    r"Max-ValidTime|Min-ValidTime|Proxy-Auto-Detect|By-Hash)\b",
    re.IGNORECASE,
)
_OWN_OPTIONS = """\
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
Acquire::Languages "none";
APT::Cmd::Pattern-Only "true";
"""
"""The host's passwords for mirrors; no translations; a package's name is a name and never a regular expression."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})
_SETUP_HOOK = f'cat {_INSIDE}/apt.conf >> "$MMDEBSTRAP_APT_CONFIG"'
_LAST_HOOK = f"""\
grep -h ^Date: "$1"/var/lib/apt/lists/*Release > {_INSIDE}/dates || true
for path in bin/busybox usr/bin/busybox; do
  if [ -x "$1/$path" ]; then chroot "$1" "/$path" --list-full > {_INSIDE}/applets; break; fi
done
"""
_START = f'mount --bind "$1" {_INSIDE}; shift; exec "$@"'
_KEPT_LINES = 200
_TOLD = (
    *("I: running apt-get update", "I: downloading", "I: extracting", "I: installing"),
    *("I: cleaning package lists", "I: creating tarball"),
)
"""What of its output is progress to people."""
_SILENCE_S = 2.0
_LEAST_SPACE = 1024 * 1024
_NO_SPACE = "no space left on the disk; free some, or remove images"
_SUCCESS = "exit status 0"

_FAILURES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"E: Unable to locate package (?P<what>\S+)"),
        "package {what!r} is not there; check its name, or add the component that has it to the host's apt sources",
    ),
    (
        re.compile(r"E: Package '?(?P<what>[^' ]+)'? has no installation candidate"),
        "package {what!r} cannot be installed; name one that provides it",
    ),
    (
        re.compile(r"(?P<what>No space left on device)"),
        _NO_SPACE,
    ),
    (
        re.compile(
            r"(?P<what>Temporary failure resolving '[^']*'|Could not resolve '[^']*'|Could not connect to [^ ]+|"
            r"Unable to connect to [^ ]+|Network is unreachable|Connection timed out|Connection refused)"
        ),
        "the package archive cannot be reached: {what}; check the network, and the proxy in apt's configuration",
    ),
    (
        re.compile(
            r"(?P<what>NO_PUBKEY \w+|EXPKEYSIG \w+|is not signed|BADSIG \w+|signature verification failed)"
        ),
        "the package archive's signature cannot be verified: {what}; install or update its keyring",
    ),
    (
        re.compile(r"The repository '(?P<what>[^']+)' does not have a Release file"),
        "there is no suite at {what}; check the suite and the host's apt sources",
    ),
    (
        re.compile(r"(?P<what>have unmet dependencies|you have held broken packages)"),
        "these packages cannot be installed together; try fewer",
    ),
)


def make_root(
    work: Path,
    *,
    suite: str,
    variant: str,
    packages: Sequence[str],
    sources: str,
    environment: Mapping[str, str],
    progress: Callable[[str], None],
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Make `work/rootfs.tar` of the suite's packages. All arguments have been checked.

    Raises ImageError with what is wrong and what to do; what is left in `work` is the caller's to remove.
    """
    fixed = _environment(environment)
    _check_tools(fixed["PATH"])
    work.chmod(0o711)  # the downloader is another user; the directories above are closed to all
    (work / "apt.sources").write_text(sources)
    (work / "apt.conf").write_text(_host_options() + _OWN_OPTIONS)
    (work / "apt.sources").chmod(0o644)
    last_hook = "--extract-hook" if variant == "extract" else "--customize-hook"
    command = [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL"),
        *("--mount-proc", "sh", "-euc", _START, "sh", str(work)),
        *("mmdebstrap", "--mode=root", "--format=tar", f"--variant={variant}"),
        *("--skip=output/dev", f"--setup-hook={_SETUP_HOOK}", f"{last_hook}={_LAST_HOOK}"),
        *([f"--include={','.join(packages)}"] if packages else []),
        *("--", suite, f"{_INSIDE}/{ROOT_TAR}", f"{_INSIDE}/apt.sources"),
    ]
    last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with closing(_run(command, fixed, work, timeout_s=timeout_s)) as lines:
        for line in lines:
            last_lines.append(line)
            if line.startswith(_TOLD):
                progress(line.removeprefix("I: ").rstrip("."))
    if last_lines[-1] != _SUCCESS or not (work / ROOT_TAR).is_file():
        raise ImageError(explain(last_lines))


def newest_release(work: Path) -> int:
    """Return the date of the newest Release file that packages came from, in seconds since the epoch; 0 if none."""
    dates = [line.partition(":")[2].strip() for line in _noted(work / "dates")]
    return max((int(parsedate_to_datetime(date).timestamp()) for date in dates), default=0)


def applets(work: Path) -> tuple[str, ...]:
    """Return the paths under which the image's busybox wants to be found, without the leading slash; sorted."""
    return tuple(sorted(line.strip().lstrip("/") for line in _noted(work / "applets")))


def explain(lines: Sequence[str] | deque[str]) -> str:
    """Return why mmdebstrap failed and what to do, from its last lines of output."""
    for pattern, message in _FAILURES:
        for line in lines:
            if match := pattern.search(line):
                return message.format(what=match["what"])
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return f"mmdebstrap failed: {(errors or list(lines)[-1:] or ['no output'])[0]}"


def _noted(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []


def _check_tools(path: str) -> None:
    for tool, package in _TOOLS.items():
        if shutil.which(tool, path=path) is None:
            raise ImageError(f"{tool} is not installed; apt install {package}")


def _host_options() -> str:
    """Return the host's apt options for reaching archives (proxies, certificates, clocks), never for trusting them."""
    dump = subprocess.run(
        ["apt-config", "dump"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=30,
    )
    lines = dump.stdout.decode("utf-8", "replace").splitlines()
    return "".join(f"{line}\n" for line in lines if _KEPT_OPTIONS.match(line))


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    proxies = {k: v for k, v in environment.items() if k.lower() in _PROXIES}
    path = environment.get("PATH", _PATH)
    own = {
        "TMPDIR": _INSIDE,
        "LC_ALL": "C.UTF-8",
        "HOME": "/root",
        "PATH": f"{path}:/usr/sbin:/sbin",
    }
    return {**proxies, **own}


def _run(
    command: list[str], environment: dict[str, str], work: Path, *, timeout_s: float
) -> Generator[str, None, None]:
    """Yield the lines of its output, and `exit status N` last. It is killed when the caller stops early.

    apt waits for ever when the disk is full while it unpacks a package list, so silence makes us look at the disk.
    """
    deadline = time.monotonic() + timeout_s
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        try:
            selector.register(process.stdout, selectors.EVENT_READ)
            yield from _lines(process.stdout.fileno(), selector, work, deadline)
            status = process.wait(timeout=max(1.0, deadline - time.monotonic()))
            yield f"exit status {status}"
        finally:
            process.kill()
            while os.read(process.stdout.fileno(), 65536):
                pass  # the end comes when the last process that was started here is gone


def _lines(fd: int, selector: selectors.BaseSelector, work: Path, deadline: float) -> Iterator[str]:
    rest = b""
    while True:
        while not selector.select(timeout=_SILENCE_S):
            _check_going_on(work, deadline)
        data = os.read(fd, 65536)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.rpartition(b"\r")[2].decode("utf-8", "replace").rstrip()
        if not data:
            if rest:
                yield rest.decode("utf-8", "replace")
            return


def _check_going_on(work: Path, deadline: float) -> None:
    """Raise ImageError when waiting longer makes no sense."""
    space = os.statvfs(work)
    if space.f_bfree * space.f_frsize < _LEAST_SPACE or (space.f_files and not space.f_ffree):
        raise ImageError(_NO_SPACE)
    if time.monotonic() > deadline:
        raise ImageError("mmdebstrap does not come to an end; check the network")
