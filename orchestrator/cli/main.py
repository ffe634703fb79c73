"""`trice`: its first lines. Ctrl-C while the rest is still being imported ends it without a word.

Nothing is imported at the top but what the interpreter has anyway.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)  # nothing has been begun


def main() -> int:
    """Run the command line; return the exit code."""
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:  # where it is ignored, as in the background of a shell script, it stays so
        signal.signal(signal.SIGINT, _leave)
    from orchestrator.cli.verbs import run  # [lazy] only once Ctrl-C cannot hurt

    try:
        if is_heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if is_heard:
            signal.signal(signal.SIGINT, _leave)


if __name__ == "__main__":
    sys.exit(main())
