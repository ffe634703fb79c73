"""The handshake between a container's init and whoever launched it: one frame format, seven things to say.

    caller                                   child
      │ ◄── FAILED(step, errno, text) ──────── │   an op failed; it exits
      │ ◄── FDS + descriptor ───────────────── │   op "terminal": the master, by SCM_RIGHTS
      │ ◄── HOOKS ─────────────────────────── │   op "wait_hooks": the caller's turn, before the pivot
      │ ─── HOOKS ──────────────────────────► │   it may go on
      │ ◄── CHILD(pid) + pidfd ─────────────── │   op "enter_pids": who goes on from here; the sender leaves
      │ ◄── READY ─────────────────────────── │   op "ready": all is set up
      │ ◄── CHILD(pid) ─────────────────────── │   who goes on from here; the sender leaves
      │ ◄── BAIL(row, errno) ───────────────── │   a table did not go as it says; it exits
      │ ◄── end of file ──────────────────────│   execve succeeded: CLOEXEC closed the socket

Frames travel on a SOCK_SEQPACKET socket, so one read is one frame. Nothing else is ever sent to the child.
Import-light. Every byte is checked (security.md row 27): whoever holds the other end may be hostile.
"""

from __future__ import annotations

import _struct

READY = 1
FAILED = 2
FDS = 3
HOOKS = 4
CHILD = 5
BAIL = 6
MAX_FRAME = 4096

_HEADER = _struct.Struct("<BHi")
_SEPARATOR = "\0"


class ProtocolError(Exception):
    """The frame is not one of ours."""


def encode(tag: int, step: int = 0, errno: int = 0, reason: str = "", path: str = "") -> bytes:
    """Return one frame; text that does not fit is cut. `step` is the index of the op."""
    body = f"{reason}{_SEPARATOR}{path}" if reason or path else ""
    text = body.encode("utf-8", "backslashreplace")[: MAX_FRAME - _HEADER.size]
    # A cut may split a character: what is left of it goes too.
    return _HEADER.pack(tag, step, errno) + text.decode("utf-8", "ignore").encode()


def decode(frame: bytes) -> tuple[int, int, int, str]:
    """Return (tag, step, errno, text) of one frame. Raises ProtocolError for anything that `encode` cannot make."""
    if not _HEADER.size <= len(frame) <= MAX_FRAME:
        raise ProtocolError(f"{len(frame)} bytes are no frame")
    tag, step, errno = _HEADER.unpack_from(frame)
    if tag not in (READY, FAILED, FDS, HOOKS, CHILD, BAIL):
        raise ProtocolError(f"unknown tag {tag}")
    if errno < 0:
        raise ProtocolError(f"errno {errno}")
    try:
        text = frame[_HEADER.size :].decode()
    except UnicodeDecodeError:
        raise ProtocolError("text is not UTF-8") from None
    if tag == CHILD and (text or step or not errno):
        raise ProtocolError("CHILD carries a pid")
    if tag == BAIL and text:
        raise ProtocolError("BAIL carries no text")
    if tag not in (FAILED, CHILD, BAIL) and (text or step or errno):
        raise ProtocolError("only FAILED carries more than its tag")
    return tag, step, errno, text


def check_sender(sender: int, expected: int) -> None:
    """Raise ProtocolError unless the message is of the process that is launched (pids, here)."""
    if sender != expected:
        raise ProtocolError(f"process {sender} speaks for process {expected}")


def reason_and_path(text: str) -> tuple[str, str]:
    """Split a FAILED frame's text."""
    reason, _, path = text.partition(_SEPARATOR)
    return reason, path
