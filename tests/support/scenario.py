"""End-to-end tests that read as a story: an intent, and steps that are a sentence, a command and checks.

    story = Scenario("a stack comes up and goes", root=root_dir, folder=stack)
    story.step("it comes up", "trice up -d", exits(0), shows("Started"))
    story.until("the web server answers", "trice ps", shows("healthy"))

When a step fails, the whole story so far is in the error, with the keeper's and the manager's log; with
TRICE_ARTIFACTS=/some/dir it is written there too.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tests.support.sandbox import paths_of
from tests.support.waiting import eventually, slow_factor

BIN = Path(sys.executable).parent
TAIL = 4000
"""So many characters of each log are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command gave."""

    command: str
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.out}{self.err}(exit {self.code})"


Check = Callable[[Result], None]
"""Raises AssertionError when the result is not as it should be."""


def exits(code: int) -> Check:
    def check(result: Result) -> None:
        assert result.code == code, f"exit {result.code}, not {code}"

    return check


def shows(pattern: str, *, times: int | None = None) -> Check:
    """Check that stdout or stderr has the regular expression somewhere (so many times)."""

    def check(result: Result) -> None:
        found = len(re.findall(pattern, result.out + result.err, re.MULTILINE))
        assert found if times is None else found == times, f"{pattern!r} is there {found} times"

    return check


def lacks(pattern: str) -> Check:
    def check(result: Result) -> None:
        text = result.out + result.err
        assert not re.search(pattern, text, re.MULTILINE), f"{pattern!r} is there"

    return check


def one_line_error(pattern: str) -> Check:
    """Check that stderr is one line, with this in it: what a person gets for a mistake."""

    def check(result: Result) -> None:
        lines = result.err.splitlines()
        assert len(lines) == 1, f"{len(lines)} lines of error, not one"
        assert re.search(pattern, lines[0]), f"{pattern!r} is not in {lines[0]!r}"

    return check


@dataclass(slots=True)
class Scenario:
    """One story in one instance. `trice` and `trice-runtime` are those of this virtual environment."""

    intent: str
    root: Path
    """TRICE_ROOT."""
    folder: Path
    """Where commands run."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """More variables."""
    told: list[str] = field(default_factory=list)

    def step(
        self, sentence: str, command: str, *checks: Check, timeout_s: float = 20.0, stdin: str = ""
    ) -> Result:
        """Run the command (shell words; no shell) and check what it gave."""
        result = self._run(command, timeout_s, stdin)
        self._judge(sentence, result, checks)
        return result

    def until(self, sentence: str, command: str, *checks: Check, timeout_s: float = 10.0) -> Result:
        """Run the command again and again until every check holds, at most so long."""
        last: list[Result] = []

        def holds() -> Result:
            last[:] = [self._run(command, timeout_s, "")]
            for check in checks:
                check(last[0])
            return last[0]

        try:
            result = eventually(holds, timeout_s=timeout_s, every_s=0.05)
        except AssertionError:
            self._judge(sentence, last[0], checks)
            raise
        self.told.append(f"# {sentence}\n{result}")
        return result

    def stop(self) -> None:
        """Stop everything of the instance and check that it says so; nothing to do when no keeper runs."""
        if paths_of(self.root).keeper_socket.exists():
            self.step("the instance stops", "trice system stop", exits(0), timeout_s=60)

    def _run(self, command: str, timeout_s: float, stdin: str) -> Result:
        words = shlex.split(command)
        if (BIN / words[0]).exists():
            words[0] = str(BIN / words[0])
        try:
            done = subprocess.run(
                words,
                cwd=self.folder,
                env={**os.environ, "TRICE_ROOT": str(self.root), **self.environment},
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout_s * slow_factor(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            out, err = _text(error.stdout), _text(error.stderr)
            self._fail(
                "the command did not end", Result(command=command, code=-1, out=out, err=err)
            )
        return Result(command=command, code=done.returncode, out=done.stdout, err=done.stderr)

    def _judge(self, sentence: str, result: Result, checks: tuple[Check, ...]) -> None:
        for check in checks:
            try:
                check(result)
            except AssertionError as error:
                self._fail(f"{sentence}: {error}", result)
        self.told.append(f"# {sentence}\n{result}")

    def _fail(self, why: str, result: Result) -> NoReturn:
        paths = paths_of(self.root)
        logs = [
            f"--- {path.name}\n{path.read_text(errors='replace')[-TAIL:]}"
            for path in (paths.keeper_log, paths.manager_log)
            if path.exists()
        ]
        story = "\n".join(
            [f"intent: {self.intent}", *self.told, f"# FAILED {why}", str(result), *logs]
        )
        if place := os.environ.get("TRICE_ARTIFACTS"):
            folder = Path(place)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{re.sub(r'[^a-z0-9]+', '-', self.intent.lower())}.txt").write_text(story)
        raise AssertionError(story)


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
