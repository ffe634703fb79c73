"""What a keeper does that a service manager started: say when it is ready, end when it is told to. Import-light.

Told to end, it ends its manager too and leaves; containers go on, and the next keeper adopts them. (A keeper that
nobody manages dies of SIGTERM at once, and its manager starts another.)
"""

from __future__ import annotations

import _socket

from runtime.linux.signals import signal_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from runtime.keeper.loop import Loop
    from runtime.keeper.supervise import Supervisor
else:
    import _signal  # without the enums of `signal`


def tell_ready(address: str) -> None:
    """Tell the service manager that the keeper answers (sd_notify(3)); without an address nobody wants to know."""
    if not address:
        return
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(b"READY=1")
    finally:
        sock.close()


def leave_on_term(loop: Loop, supervisor: Supervisor, say: Callable[[str], None]) -> None:
    """End the manager and then the loop when SIGTERM comes. It reaches this process alone, never what it forks."""
    descriptor = signal_descriptor(_signal.SIGTERM)

    def leave(_events: int) -> None:
        loop.forget(descriptor)
        say("told to end: the manager ends too, containers go on")
        supervisor.stop(loop.stop)

    loop.watch_control(descriptor, leave)
