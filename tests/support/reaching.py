"""A program that tries from inside a container to get at services of the host: what rows 21 and 30 attack with.

    python REACH '{"tcp": [[address, port], …], "udp": […], "abstract": [name, …], "paths": [path, …], "forge": bool}'

It prints a JSON list of what answered with MARK or let itself be connected to. `paths` are tried as they are and
through /proc/PID/root and /proc/PID/cwd of every process that there is. `forge` first does what CAP_NET_ADMIN allows to
get packets to the host: addresses, routes, route_localnet, rules, links of every kind.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

MARK = b"the host's own service"
HTTP = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"

REACH = r"""
import os, sys, _socket
asked = eval(sys.argv[1], {"true": True, "false": False})
reached = []

def talk(family, kind, address, what):
    sock = _socket.socket(family, kind)
    sock.settimeout(1)
    try:
        sock.connect(address)
    except OSError:
        return
    answer = b""
    try:
        sock.send(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = sock.recv(1000)
    except OSError:
        pass
    if kind != _socket.SOCK_DGRAM or answer:
        reached.append(what)
    sock.close()

def shell(*commands):
    for command in commands:
        os.system(command + " >/dev/null 2>&1")

if asked.get("forge"):
    hosts = sorted({address for address, _ in asked["tcp"]})
    shell(
        "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet", "echo 1 > /proc/sys/net/ipv4/conf/lo/route_localnet",
        "mount -o remount,rw /proc/sys", "ip link set lo up",
        *("ip link add x%d type %s" % (i, kind) for i, kind in enumerate(("dummy", "bridge", "ipip", "sit", "gre",
          "tun", "ip6tnl", "veth", "vxlan id 7 dstport 4789", "vlan", "macvlan", "ipvlan"))),
        "ip link add x99 type veth peer name x98", "ip link set x98 netns 1", "ip link set x99 up",
        "ip link add x97 type veth peer name x96 netns 1", "ip link set x97 up", "ip tuntap add x95 mode tap",
        "ip addr add 10.99.0.2/24 dev x99", "ip addr add 169.254.1.2/16 dev x99",
        "ip route add default via 10.99.0.1", "ip route add default dev x99", "ip -6 route add default dev x99",
        *("ip route add %s dev x99" % host for host in hosts if ":" not in host),
        *("ip route replace table local unicast %s dev x99" % host for host in hosts if ":" not in host),
        "ip route del table local local 127.0.0.0/8 dev lo", "ip route add 127.0.0.0/8 via 10.99.0.1 dev x99 onlink",
        "ip rule del pref 0",
    )
for host, port in asked.get("tcp", []):
    talk(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_STREAM, (host, port), ["tcp", host, port])
for host, port in asked.get("udp", []):
    talk(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_DGRAM, (host, port), ["udp", host, port])
for name in asked.get("abstract", []):
    for kind in (_socket.SOCK_STREAM, _socket.SOCK_SEQPACKET, _socket.SOCK_DGRAM):
        talk(_socket.AF_UNIX, kind, b"\0" + name.encode(), ["abstract", name])

def ways(path):
    yield path
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            yield f"/proc/{pid}/root{path}"
            yield f"/proc/{pid}/cwd{path}"
            yield f"/proc/{pid}/cwd/{path.rpartition('/')[2]}"

def short(path):
    # Longer than an address: through a descriptor of the directory.
    folder, _, name = path.rpartition("/")
    fd = os.open(folder, os.O_PATH)
    return f"/proc/self/fd/{fd}/{name}"

for path in asked.get("paths", []):
    for way in ways(path):
        try:
            os.lstat(way)
            address = short(way)
        except OSError:
            continue
        for kind in (_socket.SOCK_STREAM, _socket.SOCK_SEQPACKET):
            talk(_socket.AF_UNIX, kind, address, ["path", way])
print("REACHED", reached)
"""


def asked(
    *,
    tcp: object = (),
    udp: object = (),
    abstract: object = (),
    paths: object = (),
    forge: bool = False,
) -> str:
    """Return the program's argument."""
    return json.dumps(
        {"tcp": tcp, "udp": udp, "abstract": abstract, "paths": paths, "forge": forge}
    )


def reached(output: str) -> list[list[object]]:
    """Return what the program has reached. Raises AssertionError when it did not come to its end."""
    lines = [line for line in output.splitlines() if line.startswith("REACHED ")]
    assert len(lines) == 1, output
    found: list[list[object]] = json.loads(lines[0].removeprefix("REACHED ").replace("'", '"'))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What listens on the host: one service each way."""

    port: int
    abstract: str

    def everything(self) -> Mapping[str, object]:
        """Return every address by which a process on the host itself reaches them."""
        addresses = [*host_addresses(), "0.0.0.0", "::"]
        everywhere = [[address, self.port] for address in addresses]
        return {"tcp": everywhere, "udp": everywhere, "abstract": [self.abstract]}


def host_addresses() -> tuple[str, ...]:
    """Return all addresses of the host, its loopback's among them, as the kernel has them."""
    v4 = Path("/proc/net/fib_trie").read_text()
    lines = v4.splitlines()
    found = {line.split()[-1] for line, after in pairwise(lines) if "/32 host LOCAL" in after}
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            raw = line.split()[0]
            address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(raw))
            if not address.startswith("fe80"):
                found.add(address)
    return tuple(sorted(found))


@contextmanager
def services(name: str) -> Iterator[Services]:
    """Listen as a careless service of the host does: on its loopback, on everything else, and by an abstract name."""
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
        tcp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        tcp.bind(("::", 0))
        port = tcp.getsockname()[1]
        udp = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.bind(("::", port))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        abstract.bind(f"\0{name}")
        for listener in (tcp, abstract):
            listener.listen(64)
            stack.enter_context(_serving(listener, _answer_stream))
        stack.enter_context(_serving(udp, _answer_datagram))
        yield Services(port=port, abstract=name)


@contextmanager
def _serving(sock: socket.socket, answer: object) -> Iterator[None]:
    end = threading.Event()
    sock.settimeout(0.1)

    def serve() -> None:
        while not end.is_set():
            with suppress(TimeoutError, ConnectionError):
                answer(sock)  # type: ignore[operator]

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _answer_stream(sock: socket.socket) -> None:
    taken, _ = sock.accept()
    with taken:
        taken.settimeout(1)
        taken.recv(1000)
        taken.sendall(MARK)


def _answer_datagram(sock: socket.socket) -> None:
    _, peer = sock.recvfrom(1000)
    sock.sendto(MARK, peer)


def route_localnet() -> dict[str, str]:
    """Return what the host's kernel says of it, by interface."""
    return {
        path.parent.name: path.read_text().strip()
        for path in Path("/proc/sys/net/ipv4/conf").glob("*/route_localnet")
    }


def listening(pids: frozenset[int]) -> list[str]:
    """Return what these processes listen on or are bound to, as the kernel's tables say: TCP, UDP and abstract names.

    Unix sockets without a name, or with a path, are not in it.
    """
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            if line.split()[9] in inodes:
                found.append(f"{table} {line.split()[1]}")
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        columns = line.split(maxsplit=7)
        if columns[6] in inodes and len(columns) > 7 and columns[7].startswith("@"):
            found.append(f"abstract {columns[7]}")
    return found


def _sockets(pid: int) -> Iterator[str]:
    """Yield the inodes of the sockets that a process has open."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = os.readlink(entry)
            if target.startswith("socket:["):
                yield target[8:-1]
