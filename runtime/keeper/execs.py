"""More processes in running containers: started by the keeper, so that it is their parent and knows how they end.

    manager                         keeper                              process
      │ ── exec + program ─────────► │ ── clone ───────────────────────► │ joins namespaces; goes on as another child
      │                              │ ◄── CHILD + pidfd ─────────────── │ of the keeper's, in the pid namespace
      │ ◄─ pidfd, streams ────────── │ ◄── handshake ───────────────────── │ execve
      │ ◄─ {"event":"exec-exit"} ─── │ ◄── pidfd ───────────────────────── │
Streams belong to the manager from the reply on; the keeper has the pidfd alone. Import-light.
"""

from __future__ import annotations

import os

from runtime.container import init
from runtime.container.child import Given
from runtime.keeper.handshake import Handshake, StartFailed, failed, prepare, reap_later
from runtime.keeper.protocol import number_of, text_of
from runtime.keeper.store import Refused
from runtime.linux import pidfd as process
from runtime.linux.fds import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.keeper.container import Container
    from runtime.keeper.loop import Loop
    from runtime.keeper.peers import Peers
    from runtime.keeper.protocol import Message, Peer
    from runtime.keeper.strays import Strays
    from runtime.linux.lightjson import Json

    Find = Callable[[str], "Container | None"]

MAX_EXECS = 4096
"""Each costs the keeper one descriptor (security.md row 23)."""
_SIGKILL = 9


class Exec:
    """One process, from its clone until its end is told. Owns its pidfd, and its streams until they are handed out."""

    __slots__ = (
        "container", "ends", "handshake", "id", "names", "number", "peer", "pid", "pidfd",
    )  # fmt: skip

    def __init__(self, identifier: str, container: str, peer: Peer, number: Json) -> None:
        self.id = identifier
        self.container = container
        self.peer = peer
        self.number = number
        self.names: list[str] = []
        self.ends: list[int] = []
        self.handshake: Handshake | None = None
        self.pid = 0
        self.pidfd = -1

    def let_streams_go(self) -> None:
        close_all(self.ends)
        self.ends = []


class Execs:
    """All execs of one keeper."""

    def __init__(self, loop: Loop, peers: Peers, null: int, find: Find, strays: Strays) -> None:
        self._loop = loop
        self._peers = peers
        self._null = null
        self._find = find
        self._strays = strays
        self._by_id: dict[str, Exec] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def pids(self) -> list[int]:
        return [entry.pid for entry in self._by_id.values()]

    def hear(self) -> None:
        """Take what the launched have to say by now."""
        for entry in list(self._by_id.values()):
            self._on_sync(entry)

    def start(self, peer: Peer, message: Message, fds: tuple[int, ...]) -> None:
        """Begin one; the reply follows when its program runs or cannot. Raises Refused, ValueError, StartFailed."""
        name = text_of(message, "exec")
        container = self._find(text_of(message, "container"))
        number_of(message, "id")
        if len(fds) != 1:
            raise ValueError("exec needs the launch program's memfd")
        if container is None or not container.is_alive or container.pidfd < 0:
            raise Refused("not running")
        if name in self._by_id:
            raise Refused("running already")
        if len(self._by_id) >= MAX_EXECS:
            raise Refused("one of too many at once")
        prepared = prepare(fds[0])
        entry = Exec(name, container.id, peer, message.get("id"))
        theirs: list[int] = []
        try:
            stdio = self._open_streams(entry, theirs, message)
            launched = init.launch(prepared, stdio, Given(target=container.pidfd))
        except OSError as error:
            entry.let_streams_go()
            raise failed("start a process in the container", error) from None
        finally:
            close_all(theirs)
        entry.pid, entry.pidfd = launched.pid, launched.pidfd
        entry.handshake = Handshake(prepared, launched)
        entry.handshake.follow = lambda pid, pidfd: self._follow(entry, pid, pidfd)
        self._by_id[name] = entry
        self._loop.watch_process(entry.handshake.fd, lambda _events: self._on_sync(entry))
        self._loop.watch_process(entry.pidfd, lambda _events: self._on_process(entry))

    def _open_streams(
        self, entry: Exec, theirs: list[int], message: Message
    ) -> tuple[int, int, int]:
        """Return the child's stdio; pipes to the manager where it wants them. A terminal comes from the child."""
        stdio = [self._null] * 3
        if message.get("tty") is True or message.get("detached") is True:
            wanted: tuple[int, ...] = ()
        else:
            wanted = (0, 1, 2) if message.get("stdin") is True else (1, 2)
        for number in wanted:
            reader, writer = os.pipe()
            stdio[number] = writer if number else reader
            theirs.append(stdio[number])
            entry.ends.append(reader if number else writer)
            entry.names.append(("stdin", "stdout", "stderr")[number])
        return stdio[0], stdio[1], stdio[2]

    def _on_sync(self, entry: Exec) -> None:
        handshake = entry.handshake
        if handshake is None:
            return
        handshake.read()
        if not handshake.is_over:
            return
        self._loop.forget(handshake.fd)
        if handshake.failure is not None:
            self._kill(entry)
            handshake.close()
            return
        terminal = handshake.take_terminal()
        if terminal >= 0:
            entry.ends.append(terminal)
            entry.names.append("terminal")
        handshake.close()
        entry.handshake = None
        self._answer(entry, {"ok": True, "pid": entry.pid, "fds": ["pidfd", *entry.names]})

    def _follow(self, entry: Exec, pid: int, pidfd: int) -> None:
        """Look after the process that goes on, and reap the one that it came from."""
        self._loop.forget(entry.pidfd)
        reap_later(self._loop, entry.pidfd)
        self._strays.leave(pid)
        entry.pid, entry.pidfd = pid, pidfd
        self._loop.watch_process(pidfd, lambda _events: self._on_process(entry))

    def _answer(self, entry: Exec, message: Message) -> None:
        """Reply once; streams that go out are not ours any more, those that cannot are closed."""
        fds = (entry.pidfd, *entry.ends) if message.get("ok") is True else ()
        self._peers.reply(entry.peer, {"id": entry.number, **message}, fds)
        entry.let_streams_go()

    def _kill(self, entry: Exec) -> None:
        try:
            process.send_signal(entry.pidfd, _SIGKILL)
        except ProcessLookupError:
            return

    def _on_process(self, entry: Exec) -> None:
        """It has ended: tell who asked for it, and forget it."""
        ended = entry.pidfd
        try:
            status = process.reap(entry.pidfd)
        except ChildProcessError:
            status = process.exit_status(entry.pidfd)
        else:
            if status is None:
                return
        self._on_sync(entry)
        if entry.pidfd != ended:
            return  # another goes on
        handshake, entry.handshake = entry.handshake, None
        self._loop.forget(entry.pidfd)
        del self._by_id[entry.id]
        if handshake is not None:
            if handshake.fd >= 0:
                self._loop.forget(handshake.fd)
            handshake.close()
            if handshake.may_have_gone_on:
                self._strays.look()
            failure = handshake.failure or StartFailed("start the process", 0, "it died")
            self._answer(entry, failure.reply())
        else:
            event: Message = {
                "event": "exec-exit",
                "exec": entry.id,
                "container": entry.container,
                "status": status,
            }
            self._peers.reply(entry.peer, event)
        os.close(entry.pidfd)
