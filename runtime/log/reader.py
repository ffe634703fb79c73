"""Reading a container's log: lines in order, the last few of many, and following while it is written.

The reader only looks at files (runtime.log.format) and never talks to the keeper. Following waits by inotify on the
log's directory and on the container's: its exit report arrives there.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from types import TracebackType

from runtime.api import LogChunk, LogOptions
from runtime.linux.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, Watch
from runtime.log.files import Generation, inode_of, open_generations
from runtime.log.format import RAW
from runtime.log.lines import Batcher, Line, Passer, Splitter, is_wanted

TAIL_FIRST_BYTES = 64 * 1024
"""How much of the end is looked at first for the last lines; then four times as much, and so on."""

MANY_LINES = 10_000
"""Of more last lines than these none is held: they are counted first, and then read."""

ASK_MS = 1000
"""How often a follower asks whether the container still runs when nothing tells it."""
ASK_SOON_MS = 20
"""And how often right after something happened in the container's directory."""
ASK_SOON_S = 2.0


def read_log(log_dir: str, options: LogOptions, *, is_running: Callable[[], bool]) -> LogStream:
    """Return the log's lines, in the order in which they were completed, as an iterator that can be stopped.

    Without `follow` it ends with what is there now. With it, when `is_running()` is false and all is read. A line
    without its newline comes last, once nothing more can come. A directory that is not there is an empty log.
    """
    return LogStream(log_dir, options, is_running)


class LogStream(Iterator[LogChunk]):
    """Lines of one log. Use `with`, or `close`; both may be done while another thread waits for the next line."""

    def __init__(self, log_dir: str, options: LogOptions, is_running: Callable[[], bool]) -> None:
        self._directory = log_dir
        self._options = options
        self._is_running = is_running
        self._is_stopped = False
        self._reading = threading.Lock()
        self._generations: list[Generation] = []
        self._watches: list[Watch] = []
        self._ask_soon_until = 0.0
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lines = self._read()

    def __iter__(self) -> LogStream:
        return self

    def __next__(self) -> LogChunk:
        with self._reading:
            if self._is_stopped:
                raise StopIteration
            try:
                return next(self._lines)
            except StopIteration:
                self._is_stopped = True
                self._release()
                raise

    def __enter__(self) -> LogStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._is_stopped = True
        self._release()

    def close(self) -> None:
        """End it: whoever waits for a line gets the end. From any thread; idempotent."""
        self._is_stopped = True
        wake = self._wake
        if wake >= 0:
            os.eventfd_write(wake, 1)
        with self._reading:
            self._lines.close()
            self._release()

    stop = close

    def _release(self) -> None:
        for generation in self._generations:
            generation.close()
        self._generations = []
        for watch in self._watches:
            watch.close()
        self._watches = []
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1

    # ------------------------------------------------------------------ reading

    def _read(self) -> Generator[LogChunk, None, None]:
        if self._options.follow:
            self._start_watching()
        is_last = not self._is_running()
        self._generations = open_generations(self._directory)
        splitter = self._splitter(is_at_beginning=True)
        if self._options.tail is None:
            yield from self._wanted(self._take(splitter, with_tail=is_last))
        else:
            splitter, chunks = self._last_lines(self._options.tail, with_tail=is_last)
            yield from chunks
        if self._options.follow:
            yield from self._follow(splitter)
        yield from self._wanted(splitter.rest())

    def _splitter(self, *, is_at_beginning: bool) -> Splitter | Passer:
        if self._options.raw:
            return Passer()
        if self._options.batched and self._options.tail is None:
            return Batcher(is_at_beginning=is_at_beginning)
        return Splitter(is_at_beginning=is_at_beginning)

    def _take(self, splitter: Splitter | Passer, *, with_tail: bool) -> Iterator[Line]:
        """Read all that is there, generation by generation; keep the newest open."""
        while self._generations:
            generation = self._generations[0]
            is_newest = len(self._generations) == 1
            for piece in generation.take(with_tail=with_tail or not is_newest):
                yield from splitter.feed(piece)
            if is_newest:
                return
            del self._generations[0]
            generation.close()

    def _wanted(self, lines: Iterator[Line]) -> Iterator[LogChunk]:
        return (line.chunk for line in lines if is_wanted(line.chunk, self._options))

    def _last_lines(
        self, count: int, *, with_tail: bool
    ) -> tuple[Splitter | Passer, Iterable[LogChunk]]:
        """Return the last lines and the splitter to go on with, from as little of the end as will do.

        When the log does not go on, what has no newline yet counts as a line.
        """
        if count > MANY_LINES:
            return self._many_last_lines(count, with_tail=with_tail)
        wanted_bytes = TAIL_FIRST_BYTES
        while True:
            splitter, lines, is_all = self._try_tail(count, wanted_bytes, with_tail=with_tail)
            is_enough = len(lines) == count and all(line.is_whole for line in lines)
            if is_all or (is_enough and splitter.is_whole):
                return splitter, [line.chunk for line in lines]
            wanted_bytes *= 4
            for generation in self._generations:
                generation.close()
            self._generations = open_generations(self._directory)

    def _many_last_lines(
        self, count: int, *, with_tail: bool
    ) -> tuple[Splitter | Passer, Iterator[LogChunk]]:
        """The same in two passes over all that is kept. What is written between them comes in addition.

        Where not even every byte can be a line one pass is enough.
        """
        if count >= sum(generation.size for generation in self._generations):
            splitter = self._splitter(is_at_beginning=True)
            return splitter, self._wanted(self._take(splitter, with_tail=with_tail))
        counted = self._splitter(is_at_beginning=True)
        total = sum(1 for _ in self._wanted(self._take(counted, with_tail=with_tail)))
        if not self._options.follow:
            total += sum(1 for _ in self._wanted(counted.rest()))
        for generation in self._generations:
            generation.close()
        self._generations = open_generations(self._directory)
        splitter = self._splitter(is_at_beginning=True)
        lines = self._wanted(self._take(splitter, with_tail=with_tail))
        return splitter, islice(lines, max(0, total - count), None)

    def _try_tail(
        self, count: int, wanted_bytes: int, *, with_tail: bool
    ) -> tuple[Splitter | Passer, list[Line], bool]:
        is_all = self._rewind(wanted_bytes)
        splitter = self._splitter(is_at_beginning=is_all)
        last: deque[Line] = deque(maxlen=count)
        for line in self._take(splitter, with_tail=with_tail):
            if is_wanted(line.chunk, self._options):
                last.append(line)
        if not self._options.follow:
            last.extend(line for line in splitter.rest() if is_wanted(line.chunk, self._options))
        return splitter, list(last), is_all

    def _rewind(self, wanted_bytes: int) -> bool:
        """Go back by so many bytes, over generations; say whether that is the beginning of all that is kept."""
        first = len(self._generations)
        is_beginning = True
        while is_beginning and first > 0:
            first -= 1
            generation = self._generations[first]
            is_beginning = generation.rewind_to(wanted_bytes)
            wanted_bytes = max(0, wanted_bytes - generation.size)
        for older in self._generations[:first]:
            older.close()
        del self._generations[:first]
        return is_beginning

    # ------------------------------------------------------------------ following

    def _follow(self, splitter: Splitter | Passer) -> Iterator[LogChunk]:
        """Yield what comes, until the container has ended and all is read."""
        while not self._is_stopped and not self._is_past_until():
            is_last = not self._is_running()
            self._open_newer()
            yield from self._wanted(self._take(splitter, with_tail=is_last))
            if is_last:
                return
            self._wait()

    def _open_newer(self) -> None:
        """After a rotation, have the generations that came since behind the one that is open."""
        current = inode_of(self._directory, RAW)
        if current is None or (self._generations and self._generations[-1].inode == current):
            return
        known = {generation.inode for generation in self._generations}
        for generation in open_generations(self._directory):
            if generation.inode in known:
                generation.close()
            else:
                self._generations.append(generation)

    def _is_past_until(self) -> bool:
        until = self._options.until_ns
        return until is not None and time.time_ns() > until

    def _start_watching(self) -> None:
        """Watch the log's directory and the container's. One that is not there is not watched; asking still works."""
        for path, mask in (
            (self._directory, IN_MODIFY | IN_CREATE | IN_MOVED_TO),
            (os.path.dirname(self._directory), IN_CREATE | IN_MOVED_TO),
        ):
            watch = Watch()
            self._watches.append(watch)
            try:
                watch.add(path, mask)
            except OSError:
                continue

    def _wait(self) -> None:
        """Wait until there may be news: something was written, the container ended, `close` was called."""
        now = time.monotonic()
        timeout = ASK_SOON_MS if now < self._ask_soon_until else ASK_MS
        if self._options.until_ns is not None:
            left_ms = (self._options.until_ns - time.time_ns()) // 1_000_000 + 1
            timeout = max(0, min(timeout, left_ms))
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        for watch in self._watches:
            poller.register(watch.fd, select.POLLIN)
        poller.poll(timeout)
        has_news = [watch.drain() > 0 for watch in self._watches]
        if has_news[-1]:
            self._ask_soon_until = now + ASK_SOON_S
