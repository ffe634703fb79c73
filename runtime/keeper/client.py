"""The manager's end of the keeper's socket: requests from any thread, events in a thread of their own.

    caller threads ──requests──► socket ──► keeper
                   ◄──replies─── reader thread ──events──► teller thread ──► on_exit, on_lost

Replies and events have different threads, so a callback may make requests. For each running container the client holds
what must not go with the keeper: its pidfd (an exit status can be asked for as long as somebody holds one) and the
reading ends of its streams (what a dying container has written stays in the pipe).
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from runtime.errors import InvalidState, KeeperGone, KeeperSilent, RuntimeFault
from runtime.keeper.connect import connect
from runtime.keeper.protocol import (
    MAX_FDS_OFFERED,
    MAX_FRAME,
    VERSION,
    Malformed,
    decode,
    encode,
    peer_of,
)
from runtime.keeper.replies import Execed, ExitReport, Held, Living, Reply, Started, number
from runtime.linux.fds import close_all, receive_with_fds, send_with_fds
from runtime.linux.memfd import sealed
from runtime.linux.pidfd import wait_ended
from runtime.paths import Paths

if TYPE_CHECKING:
    from runtime.keeper.protocol import Message
    from runtime.linux.lightjson import Json

__all__ = ["Execed", "ExitReport", "KeeperClient", "Living", "Started"]

log = logging.getLogger(__name__)

REPLY_S = 5.0
"""How long the keeper may take to answer what it can answer at once."""
START_S = 60.0
"""And for a start: mounting may wait for a slow disk."""
LEAVE_S = 5.0


class KeeperClient:
    """A connection to the instance's keeper. Thread-safe.

    `on_exit` is called once a container that ends, `on_lost` once a lost connection, after all exits that came before
    it; both from the client's own thread. `connect` may be called from `on_lost`.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        on_exit: Callable[[ExitReport], None],
        on_lost: Callable[[], None],
        role: str = "manager",
        build: str = "",
    ) -> None:
        self._paths = paths
        self._on_exit = on_exit
        self._on_lost = on_lost
        self._role = role
        self._build = build
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._last_id = 0
        self._waiting: dict[int, queue.SimpleQueue[Reply | None]] = {}
        self._held: dict[str, Held] = {}
        self._ended: dict[str, int] = {}
        """Attempts whose end was told before `start` had taken what is to be held of them."""
        self._execs: dict[str, Callable[[int | None], None]] = {}
        self._is_leaving = False
        self._is_open = False
        self._greeter = 0
        self._keeper_pid = 0
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._teller: threading.Thread | None = None

    # ------------------------------------------------------------------ connection

    @property
    def keeper_pid(self) -> int:
        """The pid of the keeper that was last connected to; 0 before the first time."""
        return self._keeper_pid

    @property
    def is_open(self) -> bool:
        """Whether a keeper was greeted, and is there as far as we know."""
        return self._is_open

    def connect(
        self, *, meet: Callable[[tuple[Living, ...]], None] = lambda _living: None
    ) -> tuple[Living, ...]:
        """Say hello and return what is alive. Exits that nobody was told of follow as events.

        `meet` hears what is alive before any other thread's request is let through: what was started afterwards is
        never taken for missing. Raises KeeperGone when none answers, RuntimeFault for one of another version.
        """
        self._disconnect()
        try:
            sock = connect(self._paths.keeper_socket)
        except OSError as error:
            raise KeeperGone(
                f"no keeper answers at {self._paths.keeper_socket}: {error.strerror}"
            ) from error
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(REPLY_S), 0))
        with self._lock:
            self._sock = sock
            self._is_leaving = False
            self._keeper_pid = peer_of(sock)[0]
            if self._teller is None:
                self._teller = threading.Thread(
                    target=self._tell, name="keeper-events", daemon=True
                )
                self._teller.start()
        threading.Thread(target=self._read, args=(sock,), name="keeper-reader", daemon=True).start()
        self._greeter = threading.get_ident()
        try:
            living = self._hello()
            meet(living)
            with self._lock:
                self._is_open = self._sock is sock
        finally:
            self._greeter = 0
        return living

    def _hello(self) -> tuple[Living, ...]:
        offered = list(self._held.items())[:MAX_FDS_OFFERED]
        offers: list[Json] = [
            {"container": name, "attempt": held.attempt} for name, held in offered
        ]
        reply = self._request(
            {
                "do": "hello",
                "version": VERSION,
                "role": self._role,
                "build": self._build,
                "offers": offers,
            },
            fds=[held.fds["pidfd"] for _, held in offered],
        )
        if not reply.is_ok:
            reply.close()
            raise RuntimeFault(f"cannot use the keeper: {reply.text('error')}")
        living = reply.living()
        for entry in living:
            self._hold(entry)
        for name in set(self._held) - {entry.container for entry in living}:
            self._release(name)
        return living

    def _hold(self, entry: Living) -> None:
        held = self._held.get(entry.container)
        if self._role != "manager":
            return
        if held is not None and held.attempt == entry.attempt:
            self._lend(entry, held)
            return
        reply = self._request({"do": "hold", "container": entry.container})
        if reply.is_ok and reply.fds:
            self._keep(entry.container, entry.attempt, reply.take_fds())
        else:
            reply.close()

    def _lend(self, entry: Living, held: Held) -> None:
        """Give a new keeper the terminal or stdin that only we have held since the last one died."""
        for name in entry.lacks:
            if name in held.fds:
                message: Message = {
                    "do": "lend",
                    "container": entry.container,
                    "attempt": entry.attempt,
                    "name": name,
                }
                self._request(message, fds=(held.fds[name],)).close()

    def close(self) -> None:
        """Let go of the keeper and of all descriptors; no callback comes any more. Containers go on. Idempotent."""
        self._is_leaving = True
        self._disconnect()
        self._events.put(None)
        with self._lock:
            teller, self._teller = self._teller, None
        if teller is not None and teller is not threading.current_thread():
            teller.join()
        for name in tuple(self._held):
            self._release(name)

    def _disconnect(self) -> None:
        with self._lock:
            self._is_open = False
            sock, self._sock = self._sock, None
            if sock is not None:
                # Wakes the reader, which closes it; under the lock, so it cannot have done so yet.
                sock.shutdown(socket.SHUT_RDWR)

    # ------------------------------------------------------------------ requests

    def start(
        self,
        container: str,
        *,
        attempt: int,
        run_dir: str,
        lib_dir: str,
        program: bytes,
        contents: bytes | None = None,
        network: int | None = None,
        tty: bool = False,
        stdin: bool = False,
        log_bytes: int = 0,
        patience_s: float = START_S,
    ) -> Started:
        """Have the keeper run a launch program; return when the container's own program is executing.

        That may take `patience_s`: as long as what the program copies. After it, KeeperGone.
        `contents` is what the program's files hold; the keeper itself never reads it. `network` is the namespace that
        it joins, which stays the caller's. `log_bytes` is how long a generation of its log is, 0 as usual.
        Raises LaunchFailed, InvalidState when it is running already, KeeperGone.
        """
        memfds = [sealed("trice-program", program)]
        given: list[Json] = []
        try:
            if contents is not None:
                memfds.append(sealed("trice-contents", contents))
                given.append("contents")
            if network is not None:
                given.append("network")
            reply = self._request(
                {
                    "do": "start",
                    "container": container,
                    "attempt": attempt,
                    "run_dir": run_dir,
                    "lib_dir": lib_dir,
                    "tty": tty,
                    "stdin": stdin,
                    "log_bytes": log_bytes,
                    "given": given,
                },
                fds=memfds if network is None else [*memfds, network],
                timeout_s=patience_s,
            )
        finally:
            close_all(memfds)
        if not reply.is_ok:
            raise self._not_started(reply, container, "start")
        fds = reply.take_fds()
        is_held = self._keep(container, attempt, fds)
        return Started(
            pid=reply.number("pid"),
            started_at_ns=reply.number("started_at_ns"),
            pidfd=fds["pidfd"] if is_held else -1,
        )

    def _not_started(self, reply: Reply, container: str, verb: str) -> RuntimeFault:
        reply.close()
        state = InvalidState(f"container {container[:12]}", reply.text("error"), verb)
        return reply.launch_failed() or state

    def exec(
        self,
        container: str,
        *,
        exec_id: str,
        program: bytes,
        tty: bool,
        stdin: bool,
        detached: bool,
        on_exit: Callable[[int | None], None],
    ) -> Execed:
        """Have the keeper run one more process in a container; return when its program is executing.

        `on_exit` is called once with its wait status, unless the keeper is lost before (its pidfd tells then): from
        the client's own thread, maybe before this returns. Raises LaunchFailed, InvalidState, KeeperGone.
        """
        memfd = sealed("trice-program", program)
        self._execs[exec_id] = on_exit
        try:
            reply = self._request(
                {
                    "do": "exec",
                    "exec": exec_id,
                    "container": container,
                    "tty": tty,
                    "stdin": stdin,
                    "detached": detached,
                },
                fds=(memfd,),
                timeout_s=START_S,
            )
            if not reply.is_ok:
                raise self._not_started(reply, container, "execute a process in")
        except BaseException:
            self._execs.pop(exec_id, None)
            raise
        finally:
            os.close(memfd)
        return Execed(pid=reply.number("pid"), fds=reply.take_fds())

    def forget_exec(self, exec_id: str) -> None:
        """Be told of its end no more. Idempotent."""
        self._execs.pop(exec_id, None)

    def held(self, container: str, name: str) -> int | None:
        """Return a duplicate (the caller's) of what is held for a running container, None when there is none."""
        with self._lock:
            held = self._held.get(container)
            fd = held.fds.get(name) if held is not None else None
            return None if fd is None else os.dup(fd)

    def close_stdin(self, container: str) -> None:
        """Let a container read the end of its stdin. Idempotent."""
        self._do({"do": "close-stdin", "container": container}, "close the stdin of")
        with self._lock:
            held = self._held.get(container)
            if held is not None and "stdin" in held.fds:
                rest = {name: fd for name, fd in held.fds.items() if name != "stdin"}
                self._held[container] = Held(held.attempt, rest)
                os.close(held.fds["stdin"])

    def signal(self, container: str, number: int) -> None:
        """Send a signal to its first process. Raises InvalidState when it is not running."""
        self._do({"do": "signal", "container": container, "signal": number}, "signal")

    def list(self) -> tuple[Living, ...]:
        """Return what is alive."""
        return self._do({"do": "list"}, "list").living()

    def forget(self, container: str) -> None:
        """Have the keeper close streams and log of one that has ended. Idempotent; InvalidState while it runs."""
        self._do({"do": "forget", "container": container}, "forget")
        with self._lock:
            self._ended.pop(container, None)

    def put(self, name: str, fds: Sequence[int]) -> None:
        """Store descriptors under a name, in place of what was there; the caller keeps its own."""
        self._do({"do": "put", "name": name}, "store", fds)

    def get(self, name: str) -> tuple[int, ...]:
        """Return duplicates of what is stored under the name: the caller's; empty when there is nothing."""
        reply = self._request({"do": "get", "name": name})
        return reply.fds if reply.is_ok else ()

    def drop(self, name: str) -> None:
        """Forget what is stored under the name. Idempotent."""
        self._do({"do": "drop", "name": name}, "drop")

    def status(self) -> Message:
        """Return the keeper's counters."""
        return self._do({"do": "status"}, "status").message

    def leave(self) -> bool:
        """Have the keeper end and start no manager any more; False while containers live.

        True is said when its process is gone: nothing of it is in a cgroup then.
        """
        pidfd = _open_pidfd(self._keeper_pid)
        try:
            self._is_leaving = True
            reply = self._request({"do": "leave"})
            reply.close()
            if not reply.is_ok:
                self._is_leaving = False
                return False
            return pidfd is None or wait_ended(pidfd, int(LEAVE_S * 1000))
        except BaseException:
            self._is_leaving = False
            raise
        finally:
            if pidfd is not None:
                os.close(pidfd)

    def _do(self, message: Message, verb: str, fds: Sequence[int] = ()) -> Reply:
        reply = self._request(message, fds=fds)
        reply.close()
        if not reply.is_ok:
            what = message.get("container", message.get("name", "keeper"))
            raise InvalidState(f"container {str(what)[:12]}", reply.text("error"), verb)
        return reply

    def _request(
        self, message: Message, *, fds: Sequence[int] = (), timeout_s: float = REPLY_S
    ) -> Reply:
        """Send a request and wait for its reply, whose descriptors are the caller's. Raises KeeperGone.

        Until the greeting is over only the thread that greets may ask.
        """
        inbox: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        with self._lock:
            sock = self._sock
            self._last_id += 1
            request_id = self._last_id
            if sock is None or not (self._is_open or self._greeter == threading.get_ident()):
                raise KeeperGone("not connected to a keeper")
            self._waiting[request_id] = inbox
        data, owned = encode({"id": request_id, **message}, fds)
        try:
            send_with_fds(sock, data, owned)
            reply = inbox.get(timeout=timeout_s)
        except OSError as error:
            raise KeeperGone(f"the keeper is gone: {error.strerror}") from error
        except queue.Empty:
            raise KeeperSilent(
                f"the keeper did not answer {message.get('do')} within {timeout_s:.0f} s"
            ) from None
        finally:
            close_all(owned)
            with self._lock:
                self._waiting.pop(request_id, None)
        if reply is None:
            raise KeeperGone("the keeper is gone")
        return reply

    # ------------------------------------------------------------------ what comes

    def _read(self, sock: socket.socket) -> None:
        """Take in frames until the connection ends. The reader's thread; owns the socket."""
        while True:
            try:
                data, fds = receive_with_fds(sock, MAX_FRAME)
                if not data:
                    break
                message, fds = decode(data, fds)
            except (OSError, Malformed) as error:
                log.debug("keeper connection: %s", error)
                break
            self._take(message, fds)
        with self._lock:
            is_current = self._sock is sock
            if is_current:
                self._sock = None
                self._is_open = False
            waiting = tuple(self._waiting.values()) if is_current else ()
            sock.close()
        for inbox in waiting:
            inbox.put(None)
        if is_current and not self._is_leaving:
            self._events.put(self._on_lost)

    def _take(self, message: Message, fds: tuple[int, ...]) -> None:
        if message.get("event") == "exit":
            close_all(fds)
            status = message.get("status")
            report = ExitReport(
                container=str(message.get("container")),
                attempt=number(message.get("attempt")),
                status=status if isinstance(status, int) else None,
                at_ns=number(message.get("at_ns")),
            )
            self._events.put(lambda: self._tell_exit(report))
            return
        if message.get("event") == "exec-exit":
            close_all(fds)
            self._take_exec_exit(message)
            return
        with self._lock:
            inbox = self._waiting.pop(number(message.get("id")), None)
        if inbox is None:
            close_all(fds)  # who asked gave up
            return
        inbox.put(Reply(message, fds))

    def _take_exec_exit(self, message: Message) -> None:
        on_exit = self._execs.pop(str(message.get("exec")), None)
        status = message.get("status")
        if on_exit is not None:
            self._events.put(lambda: on_exit(status if isinstance(status, int) else None))

    def _tell(self) -> None:
        """Call the callbacks, one after the other. The teller's thread."""
        while True:
            event = self._events.get()
            if event is None:
                return
            event()

    def _tell_exit(self, report: ExitReport) -> None:
        with self._lock:
            held = self._held.get(report.container)
            is_held = held is not None and held.attempt == report.attempt
            if not is_held:
                self._ended[report.container] = report.attempt
        if is_held:
            self._release(report.container)
        self._on_exit(report)

    # ------------------------------------------------------------------ held descriptors

    def _keep(self, container: str, attempt: int, fds: Mapping[str, int]) -> bool:
        """Hold what belongs to a running attempt; False: it has ended already, and all is closed."""
        self._release(container)
        with self._lock:
            is_over = self._ended.pop(container, 0) == attempt
            if not is_over:
                self._held[container] = Held(attempt, fds)
        if is_over:
            close_all(fds.values())
        return not is_over

    def _release(self, container: str) -> None:
        with self._lock:
            held = self._held.pop(container, None)
        if held is not None:
            close_all(held.fds.values())


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
