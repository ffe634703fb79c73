"""The loop's promises: control first, logs in turns, timers when they are due."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from runtime.keeper.loop import CONTROL_FRAMES, LOG_BUDGET, LOG_CHUNK, Loop


@dataclass
class Pipes:
    """Pipes whose reading ends are watched; everything is closed at the end."""

    loop: Loop = field(default_factory=Loop)
    trace: list[str] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)

    def pipe(self) -> tuple[int, int]:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.fds += (reader, writer)
        return reader, writer

    def control(self, name: str) -> int:
        reader, writer = self.pipe()

        def take(_events: int) -> None:
            os.read(reader, 1)
            self.trace.append(name)

        self.loop.watch_control(reader, take)
        return writer

    def process(self, name: str) -> int:
        reader, writer = self.pipe()

        def take(_events: int) -> None:
            os.read(reader, 1)
            self.trace.append(name)

        self.loop.watch_process(reader, take)
        return writer

    def log(self, name: str, *, pretend: int | None = None) -> int:
        """Watch a pipe as a log; `pretend` is how many bytes it says it took, having taken none."""
        reader, writer = self.pipe()

        def take(limit: int) -> int:
            self.trace.append(name)
            return min(pretend, limit) if pretend else len(os.read(reader, limit))

        self.loop.watch_log(reader, take)
        return writer


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    for fd in made.fds:
        os.close(fd)


def test_control_then_ends_then_logs(pipes: Pipes) -> None:
    for writer in (pipes.log("log"), pipes.process("end"), pipes.control("frame")):
        os.write(writer, b"x")
    pipes.loop.turn()
    assert pipes.trace == ["frame", "end", "log"]


def test_a_turn_takes_a_bounded_number_of_frames(pipes: Pipes) -> None:
    for number in range(CONTROL_FRAMES + 4):
        os.write(pipes.control(f"frame {number}"), b"x")
    os.write(pipes.log("log"), b"x")
    pipes.loop.turn()
    assert len(pipes.trace) == CONTROL_FRAMES + 1
    assert pipes.trace[-1] == "log"
    pipes.loop.turn()
    assert len(pipes.trace) == CONTROL_FRAMES + 5


def test_floods_are_served_in_turns_and_within_the_budget(pipes: Pipes) -> None:
    """Ten logs that never become empty: each turn serves four, and nobody twice before all others."""
    for number in range(10):
        os.write(pipes.log(str(number), pretend=LOG_CHUNK), b"x")
    a_turn = LOG_BUDGET // LOG_CHUNK
    for turn in range(5):
        pipes.loop.turn()
        assert len(pipes.trace) == (turn + 1) * a_turn
    assert sorted(pipes.trace) == sorted([str(number) for number in range(10)] * 2)
    assert sorted(pipes.trace[:10]) == [str(number) for number in range(10)]


def test_floods_do_not_keep_a_frame_waiting(pipes: Pipes) -> None:
    for number in range(200):
        os.write(pipes.log(f"log {number}", pretend=LOG_CHUNK), b"x")
    pipes.loop.turn()
    writer = pipes.control("frame")
    os.write(writer, b"x")
    pipes.trace.clear()
    pipes.loop.turn()
    assert pipes.trace[0] == "frame"


def test_timers_run_once_when_due_and_not_when_cancelled(pipes: Pipes) -> None:
    pipes.loop.call_later(0.01, lambda: pipes.trace.append("second"))
    pipes.loop.call_later(0, lambda: pipes.trace.append("first"))
    cancelled = pipes.loop.call_later(0, lambda: pipes.trace.append("never"))
    pipes.loop.cancel(cancelled)
    pipes.loop.turn()
    assert pipes.trace == ["first"]
    while len(pipes.trace) < 2:
        pipes.loop.turn()
    assert pipes.trace == ["first", "second"]


def test_what_a_handler_forgets_is_not_served_in_the_same_turn(pipes: Pipes) -> None:
    reader, writer = pipes.pipe()
    other, other_writer = pipes.pipe()

    def drop(_events: int) -> None:
        os.read(reader, 1)
        pipes.loop.forget(other)
        pipes.trace.append("dropped it")

    pipes.loop.watch_control(reader, drop)
    pipes.loop.watch_process(other, lambda _events: pipes.trace.append("served"))
    for fd in (writer, other_writer):
        os.write(fd, b"x")
    pipes.loop.turn()
    assert pipes.trace == ["dropped it"]
    pipes.loop.forget(other)


def test_little_pieces_that_follow_at_once_are_let_gather(pipes: Pipes) -> None:
    """The first is taken at once; in the pause after the second others are served, and what came is taken together."""
    log = pipes.log("log")
    for _ in range(2):
        os.write(log, b"x")
        pipes.loop.turn()
    assert pipes.trace == ["log", "log"]
    os.write(log, b"y" * 100)
    os.write(pipes.control("control"), b"c")
    pipes.loop.turn()
    assert pipes.trace == ["log", "log", "control"]
    while pipes.trace[-1] != "log":  # a turn ends with the pause, the next serves
        pipes.loop.turn()
    assert pipes.trace == ["log", "log", "control", "log"]


def test_large_pieces_are_not_kept_waiting(pipes: Pipes) -> None:
    log = pipes.log("log", pretend=LOG_CHUNK)
    os.write(log, b"x")
    for _ in range(3):
        pipes.loop.turn()
    assert len(pipes.trace) == 3 * LOG_BUDGET // LOG_CHUNK
