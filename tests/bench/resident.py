"""The resident processes' memory, what a further container adds, and what the command line takes."""

from __future__ import annotations

from pathlib import Path

from tests.bench import execs, ours
from tests.bench.results import Figure, Results
from tests.support.busybox import busybox_archive

TARGET_FURTHER_KIB = 300
NOTES = {
    ("ps",): "",
    ("up", "-d"): "nothing to do",
    ("stats", "--no-stream"): "a second of it is between two samples",
}
"""Commands that are timed."""


def report(results: Results, root: Path, *, count: int) -> None:
    """Bring up a stack with the installed command, and look at what is there."""
    folder = root / "stack"
    ours.stack(folder, 1)
    commands = ours.Commands(root, folder)
    archive = busybox_archive(root / "busybox.tar", reference=ours.IMAGE)
    commands.run("image", "load", str(archive))
    try:
        found = ours.memory(commands, root, folder)
        results.section("memory, PSS")
        for key, what, value, target in (
            ("keeper", "keeper", found.keeper, None),
            ("manager", "manager", found.manager, None),
            ("further", "each further container", found.further, TARGET_FURTHER_KIB),
            ("payload", "of it the payload", found.further_payload, None),
        ):
            results.add(
                Figure(key=f"memory.{key}", what=what, unit="KiB", value=value, target=target)
            )
        results.section(f"commands, {1 + ours.FURTHER} containers running")
        floor = execs.interpreter(folder, count)
        results.times("command.python", "an interpreter's start", floor)
        for words, note in NOTES.items():
            taken = commands.times(*words, count=count)
            results.times(
                f"command.{words[0]}",
                f"trice {' '.join(words)}",
                taken,
                peer=("an interpreter's start", floor),
                note=note,
            )
        execs.command(results, commands, folder, count=count)
    finally:
        commands.run("system", "stop")
