"""What becomes of a container's group when its launch fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.cgroup.interface import Group
from runtime.errors import KeeperGone, KeeperSilent, LaunchFailed, RuntimeFault


@contextmanager
def cleared_on_failure(group: Group) -> Iterator[None]:
    """Surround a launch into `group`: when it fails nobody is left in there, and the group is gone.

    When the keeper has died it may run all the same, and the next keeper knows; when it is there and does not answer,
    nobody waits any more for what that launch hangs on.
    """
    try:
        yield
    except KeeperSilent:
        group.kill()
        raise
    except KeeperGone:
        raise
    except RuntimeFault as error:
        try:
            if isinstance(error, LaunchFailed):
                group.kill()  # a launcher that was killed may have left somebody
            group.remove()
        except RuntimeFault as second:
            error.add_note(f"and then: {second}")
        raise
