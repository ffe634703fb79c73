"""The keeper's requests: one function each, over containers, stored descriptors and peers. Import-light.

Nothing here waits. A request that cannot be answered at once (start) is answered when its handshake is over. What a
peer sends is checked before it is used; what it gets wrong costs it its connection at most.
"""

from __future__ import annotations

import os
from time import monotonic, time_ns

from runtime.container.child import Given
from runtime.keeper import adopt
from runtime.keeper.container import Container
from runtime.keeper.execs import Execs
from runtime.keeper.handshake import StartFailed, reap_later
from runtime.keeper.loop import READ
from runtime.keeper.peers import Peers
from runtime.keeper.protocol import (
    MAX_FDS_OFFERED,
    VERSION,
    Peer,
    number_of,
    text_of,
)
from runtime.keeper.spawn import Launch, Spawner
from runtime.keeper.stdio import TERMINAL, Stdio
from runtime.keeper.store import Refused, Store
from runtime.keeper.strays import Strays
from runtime.linux import pidfd as process
from runtime.linux.memfd import is_sealed, runs_sealed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.keeper.loop import Loop
    from runtime.keeper.protocol import Message
    from runtime.keeper.supervise import Supervisor
    from runtime.linux.lightjson import Json

    Fds = tuple[int, ...]
    Request = Callable[[Peer, Message, Fds], "tuple[Message, Fds] | None"]

WRITE_AGAIN_S = 1.0
"""How long after a disk refused an exit report it is tried again."""
OFFER_S = 2.0
"""How long the exits of processes that died without a keeper wait for a manager that holds their pidfds."""
REAP_S = 10.0
"""How long a dead process that is not our child may wait for whoever should reap it; after that its status is lost."""
_MAX_SIGNAL = 64


class Keeper:
    """All containers of one instance. One thread, one loop; owns every descriptor that it is given."""

    def __init__(
        self,
        loop: Loop,
        *,
        run_containers: str,
        lib_containers: str,
        build: str,
        supervisor: Supervisor,
        say: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._build = build
        self._supervisor = supervisor
        self._say = say
        self._null = os.open("/dev/null", os.O_RDWR)
        self._began = monotonic()
        self._boot_id = adopt.boot_id()
        self._spawner = Spawner(loop, self._null, self._boot_id)
        self._containers: dict[str, Container] = {}
        self._launches: dict[str, tuple[Launch, Peer, Json]] = {}
        self.peers = Peers(loop, self)
        self._strays = Strays(loop, self._known, self._hear)
        self._execs = Execs(loop, self.peers, self._null, self._containers.get, self._strays)
        self._manager: Peer | None = None
        self._store = Store()
        self._dropped = 0
        self._tells_exits = False
        self._requests: dict[str, Request] = {
            "hello": self._hello,
            "start": self._start,
            "exec": self._exec,
            "signal": self._signal,
            "close-stdin": self._close_stdin,
            "lend": self._lend,
            "list": self._list,
            "hold": self._hold,
            "forget": self._forget,
            "put": self._put,
            "get": self._get,
            "drop": self._drop,
            "status": self._status,
            "leave": self._leave,
        }
        self._adopt(run_containers, lib_containers)

    def answer(self, peer: Peer, message: Message, fds: Fds) -> None:
        """Do what a frame asks for and reply, now or when it is done. Raises PeerGone."""
        name = message.get("do")
        handler = self._requests.get(name) if isinstance(name, str) else None
        try:
            if handler is None:
                raise Refused("unknown request")
            if not peer.is_greeted and name != "hello":
                raise Refused("say hello first")
            answer = handler(peer, message, fds)
        except (Refused, ValueError) as error:
            answer = {"ok": False, "error": str(error)}, ()
        except StartFailed as error:
            answer = error.reply(), ()
        except OSError as error:
            # No descriptors or no memory left: this request is not done, everything else goes on.
            answer = {"ok": False, "error": str(error)}, ()
        if answer is not None:
            reply, out = answer
            self.peers.send(peer, {"id": message.get("id"), "ok": True, **reply}, out)

    def gone(self, peer: Peer) -> None:
        """Hear that a connection has ended."""
        if self._manager is peer:
            self._manager = None

    # ------------------------------------------------------------------ requests

    def _hello(self, peer: Peer, message: Message, fds: Fds) -> tuple[Message, Fds]:
        if message.get("version") != VERSION:
            raise Refused(f"this keeper speaks version {VERSION}")
        peer.is_greeted = True
        if message.get("role") == "manager":
            self._take_manager(peer)
            self._take_offers(message.get("offers"), fds)
            self._finish_gone()
        reply: Message = {
            "version": VERSION,
            "build": self._build,
            "pid": os.getpid(),
            "containers": self._summaries(),
        }
        if peer.is_manager:
            self._loop.call_later(0, self._report_unreported)
        return reply, ()

    def _take_manager(self, peer: Peer) -> None:
        before = self._manager
        if before is not None and before is not peer:
            self.peers.let_go(before)
        peer.is_manager = True
        self._manager = peer
        self._supervisor.met(peer.pid)

    def _take_offers(self, offers: Json, fds: Fds) -> None:
        """Watch the processes that died between two keepers by the pidfds that the manager kept."""
        if not isinstance(offers, list):
            return
        for offer, fd in zip(offers[:MAX_FDS_OFFERED], fds, strict=False):
            if not isinstance(offer, dict) or not isinstance(offer.get("container"), str):
                continue
            container = self._containers.get(str(offer["container"]))
            if container is None or not container.is_alive or container.pidfd >= 0:
                continue
            if container.attempt == offer.get("attempt") and _is_pidfd(fd):
                container.pidfd = os.dup(fd)
                self._watch(container)

    def _summaries(self) -> list[Json]:
        return [
            container.summary() for container in self._containers.values() if container.is_alive
        ]

    def _list(self, _peer: Peer, _message: Message, _fds: Fds) -> tuple[Message, Fds]:
        return {"containers": self._summaries()}, ()

    def _start(self, peer: Peer, message: Message, fds: Fds) -> None:
        name = text_of(message, "container")
        attempt = number_of(message, "attempt")
        run_dir, lib_dir = text_of(message, "run_dir"), text_of(message, "lib_dir")
        if not run_dir.startswith("/") or not lib_dir.startswith("/"):
            raise ValueError("run_dir and lib_dir must be absolute paths")
        program, given = _given(message, fds)
        before = self._containers.get(name)
        if before is not None:
            if before.is_alive:
                raise Refused("already running")
            self._dispose(before)
        container = Container(name, attempt, run_dir, lib_dir, is_adopted=False)
        container.is_tty = message.get("tty") is True
        container.has_stdin = message.get("stdin") is True
        if "log_bytes" in message:
            container.log_bytes = number_of(message, "log_bytes") or container.log_bytes
        try:
            launch = self._spawner.begin(container, program, given)
        except StartFailed:
            self._strays.look()  # a launcher that was killed may have made somebody
            raise
        self._containers[name] = container
        self._follow(launch, peer, message.get("id"))

    def _exec(self, peer: Peer, message: Message, fds: Fds) -> None:
        self._execs.start(peer, message, fds)

    def _signal(self, _peer: Peer, message: Message, _fds: Fds) -> tuple[Message, Fds]:
        container = self._containers.get(text_of(message, "container"))
        number = number_of(message, "signal")
        if not 0 < number <= _MAX_SIGNAL:
            raise ValueError("signal must be 1 to 64")
        if container is None or not container.is_alive or container.pidfd < 0:
            raise Refused("not running")
        launching = self._launches.get(container.id)
        if launching is not None:
            launching[0].is_wanted = False
        try:
            process.send_signal(container.pidfd, number)
        except ProcessLookupError:
            raise Refused("not running") from None
        return {}, ()

    def _hold(self, _peer: Peer, message: Message, _fds: Fds) -> tuple[Message, Fds]:
        """Hand out pidfd and streams: held by the manager too, nothing is lost when the keeper dies."""
        container = self._containers.get(text_of(message, "container"))
        if container is None or not container.is_alive or container.pidfd < 0:
            raise Refused("not running")
        names, fds = _held(container)
        return {"attempt": container.attempt, "fds": names}, fds

    def _close_stdin(self, _peer: Peer, message: Message, _fds: Fds) -> tuple[Message, Fds]:
        container = self._containers.get(text_of(message, "container"))
        if container is not None and container.stdio is not None:
            container.stdio.close_stdin()
        return {}, ()

    def _lend(self, _peer: Peer, message: Message, fds: Fds) -> tuple[Message, Fds]:
        """Take back what the manager held while there was no keeper: a terminal, or the stdin that stays open."""
        container = self._containers.get(text_of(message, "container"))
        name = text_of(message, "name")
        if container is None or container.stdio is None or len(fds) != 1:
            raise Refused("not there")
        if container.attempt != message.get("attempt") or name not in container.stdio.lacks:
            raise Refused("not in want of it")
        give = container.stdio.give_terminal if name == TERMINAL else container.stdio.give_stdin
        give(os.dup(fds[0]))
        return {}, ()

    def _forget(self, _peer: Peer, message: Message, _fds: Fds) -> tuple[Message, Fds]:
        container = self._containers.get(text_of(message, "container"))
        if container is not None:
            if container.is_alive:
                raise Refused("it is running")
            self._dispose(container)
        return {}, ()

    def _put(self, _peer: Peer, message: Message, fds: Fds) -> tuple[Message, Fds]:
        self._store.put(text_of(message, "name"), fds)
        return {}, ()

    def _get(self, _peer: Peer, message: Message, _fds: Fds) -> tuple[Message, Fds]:
        return {}, self._store.get(text_of(message, "name"))

    def _drop(self, _peer: Peer, message: Message, _fds: Fds) -> tuple[Message, Fds]:
        self._store.drop(text_of(message, "name"))
        return {}, ()

    def _status(self, _peer: Peer, _message: Message, _fds: Fds) -> tuple[Message, Fds]:
        stdios = [entry.stdio for entry in self._containers.values() if entry.stdio is not None]
        return {
            "containers": len(self._summaries()),
            "fds": len(os.listdir("/proc/self/fd")) - 1,
            "dropped_log_bytes": self._dropped + sum(stdio.dropped for stdio in stdios),
            "uptime_s": round(monotonic() - self._began, 3),
            "manager_pid": self._supervisor.pid,
            "is_sealed": runs_sealed(),
            "launches": {**self._spawner.ways},
        }, ()

    def _leave(self, _peer: Peer, _message: Message, _fds: Fds) -> tuple[Message, Fds]:
        if len(self._execs) or any(entry.is_alive for entry in self._containers.values()):
            raise Refused("busy")
        self._supervisor.end()
        self._loop.stop()
        return {}, ()

    # ------------------------------------------------------------------ launches and ends

    def _follow(self, launch: Launch, peer: Peer, number: Json) -> None:
        container = launch.container
        self._launches[container.id] = launch, peer, number
        launch.handshake.follow = lambda pid, pidfd: self._go_on(container, pid, pidfd)
        self._loop.watch_process(launch.handshake.fd, lambda _events: self._on_sync(container))
        self._watch(container)
        if launch.handshake.is_over:
            self._on_sync(container)

    def _watch(self, container: Container) -> None:
        self._loop.watch_process(
            container.pidfd, lambda events: self._on_process(container, events)
        )

    def _go_on(self, container: Container, pid: int, pidfd: int) -> None:
        """Look after the process that goes on in a pid namespace that was there, and reap the one that it came from."""
        self._loop.forget(container.pidfd)
        reap_later(self._loop, container.pidfd)
        self._strays.leave(pid)
        container.pid, container.pidfd = pid, pidfd
        self._watch(container)
        self._spawner.note(self._launches[container.id][0])

    def _known(self) -> set[int]:
        return {each.pid for each in self._containers.values()}.union(self._execs.pids())

    def _hear(self) -> None:
        for name in list(self._launches):
            self._on_sync(self._containers[name])
        self._execs.hear()

    def _on_sync(self, container: Container) -> None:
        """Read the handshake; when it is over, answer who asked: at once if it runs, at its end if not."""
        entry = self._launches.get(container.id)
        if entry is None:
            return
        launch, peer, number = entry
        handshake = launch.handshake
        handshake.read()
        if not handshake.is_over:
            return
        if handshake.fd >= 0:
            self._loop.forget(handshake.fd)
        terminal = handshake.take_terminal()
        if terminal >= 0 and container.stdio is not None:
            container.stdio.give_terminal(terminal)
        handshake.close()
        if handshake.failure is not None:
            launch.abandon()
            return
        launch.close()
        del self._launches[container.id]
        names, fds = _held(container)
        reply: Message = {
            "id": number,
            "ok": True,
            "pid": container.pid,
            "started_at_ns": container.started_at_ns,
            "fds": names,
        }
        self.peers.reply(peer, reply, fds)

    def _on_process(self, container: Container, events: int) -> None:
        """A container's first process has ended (or, not being ours, was reaped)."""
        status: int | None
        ended = container.pidfd
        if container.is_adopted:
            status = process.exit_status(container.pidfd)
            if status is None and self._tells_exits and events & READ:
                # Dead and not reaped yet: the kernel tells after that, and HUP comes then.
                self._loop.expect(container.pidfd, 0)
                self._loop.call_later(REAP_S, lambda: self._end_unreaped(container))
                return
            if status is None and not process.has_ended(container.pidfd):
                return
        else:
            try:
                status = process.reap(container.pidfd)
            except ChildProcessError:
                status = process.exit_status(container.pidfd)
            else:
                if status is None:
                    return
        if container.id in self._launches:
            self._on_sync(container)
        if container.pidfd != ended:
            return  # another goes on
        self._loop.forget(container.pidfd)
        entry = self._launches.pop(container.id, None)
        if entry is not None:
            self._end_launch(container, status, *entry)
        else:
            self._end(container, status)

    def _end_launch(
        self, container: Container, status: int | None, launch: Launch, peer: Peer, number: Json
    ) -> None:
        """Go the plain way where a table did not do; else tell that it never ran: nothing of it is left here."""
        handshake = launch.handshake
        if handshake.fd >= 0:
            self._loop.forget(handshake.fd)
        if launch.may_go_again(status):
            try:
                self._follow(self._spawner.again(launch), peer, number)
            except StartFailed as error:
                handshake.failure = error
            else:
                handshake.close()
                return
        launch.close()
        container.is_alive = False
        container.unlink_process()
        self._dispose(container)
        if handshake.may_have_gone_on:
            self._strays.look()
        failure = handshake.failure or StartFailed("start the container", 0, "it died")
        self.peers.reply(peer, {"id": number, **failure.reply()})

    def _end(self, container: Container, status: int | None) -> None:
        """Its last words, its exit report, then the event: in this order, so that who hears of it can read both."""
        container.is_alive = False
        container.status = status
        container.at_ns = time_ns()
        if container.pidfd >= 0:
            os.close(container.pidfd)
            container.pidfd = -1
        if container.stdio is not None:
            container.stdio.drain()
        if not container.write_exit():
            self._loop.call_later(WRITE_AGAIN_S, lambda: self._write_again(container))
        self._report(container)

    def _end_unreaped(self, container: Container) -> None:
        """Wait no longer for a parent that does not reap (a pid 1 that is no init)."""
        if container.is_alive and self._containers.get(container.id) is container:
            self._loop.forget(container.pidfd)
            self._end(container, process.exit_status(container.pidfd))

    def _write_again(self, container: Container) -> None:
        if self._containers.get(container.id) is container and not container.write_exit():
            self._loop.call_later(WRITE_AGAIN_S, lambda: self._write_again(container))

    def _report(self, container: Container) -> None:
        if self._manager is not None and not container.is_reported:
            container.is_reported = self.peers.reply(self._manager, container.exit_event())

    def _report_unreported(self) -> None:
        for container in tuple(self._containers.values()):
            if not container.is_alive and not container.is_reported:
                self._report(container)

    def _dispose(self, container: Container) -> None:
        if container.stdio is not None:
            self._dropped += container.stdio.dropped
        container.close()
        if self._containers.get(container.id) is container:
            del self._containers[container.id]

    # ------------------------------------------------------------------ adoption

    def _adopt(self, run_containers: str, lib_containers: str) -> None:
        found = adopt.find(run_containers, lib_containers, self._boot_id)
        if not found:
            return
        self._tells_exits = process.has_exit_info()
        for container in found:
            self._containers[container.id] = container
            try:
                container.stdio = Stdio(self._loop, container, self._null)
            except OSError as error:
                self._say(f"cannot reopen the streams of {container.id}: {error}")
            if container.pidfd >= 0:
                self._watch(container)
        self._say(f"adopted {len(found)} containers")
        self._loop.call_later(OFFER_S, self._finish_gone)

    def _finish_gone(self) -> None:
        """End what died without a keeper and what nobody holds a pidfd of: how, nobody can know."""
        for container in tuple(self._containers.values()):
            if container.is_alive and container.pidfd < 0:
                self._end(container, None)


def _given(message: Message, fds: Fds) -> tuple[int, Given]:
    """Return the launch program's memfd, and what the first process is handed: named by "given", in this order."""
    names = message.get("given", [])
    if not isinstance(names, list) or len(fds) != 1 + len(names):
        raise ValueError(
            "start needs the launch program's memfd, and the descriptors that it names"
        )
    by_name = dict(zip(map(str, names), fds[1:], strict=True))
    if by_name.keys() - {"contents", "network"} or len(by_name) != len(names):
        raise ValueError("given are contents and network")
    given = Given(contents=by_name.get("contents", -1), network=by_name.get("network", -1))
    if given.contents >= 0 and not is_sealed(given.contents):
        raise ValueError("contents without seals could still change")
    return fds[0], given


def _held(container: Container) -> tuple[list[Json], Fds]:
    """Return the names of what a manager should hold too, and the descriptors; the pidfd first."""
    streams = container.stdio.held if container.stdio is not None else ()
    names: list[Json] = ["pidfd", *(name for name, _ in streams)]
    return names, (container.pidfd, *(fd for _, fd in streams))


def _is_pidfd(fd: int) -> bool:
    """Say whether it is one: an anonymous inode, or an inode of pidfs (6.9)."""
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False
    return target == "anon_inode:[pidfd]" or target.startswith("pidfd:")
