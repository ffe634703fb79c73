"""`python -m tests.bench.page FILE.json > docs/performance.md`: the page about speed, its figures from one run.

Without a file the figures are left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.bench.results import VERSION

HEAD = Path(__file__).with_suffix(".md")
"""What the page says before its figures."""


NOTHING = """\
## Figures

<!-- from here on: python -m tests.bench.page results.json -->

None are measured yet.
"""


def page(document: dict[str, object] | None) -> str:
    """Return the page with these figures, or without any. Raises ValueError for another version's."""
    return f"{HEAD.read_text()}\n{NOTHING if document is None else _figures(document)}"


def _figures(document: dict[str, object]) -> str:
    if document.get("version") != VERSION:
        raise ValueError(f"figures of version {document.get('version')!r}, not {VERSION}")
    machine, sections = document["machine"], document["sections"]
    assert isinstance(machine, dict)
    assert isinstance(sections, list)
    load = ", ".join(map(str, machine["load_average"]))
    lines = [
        "## Figures",
        "",
        "<!-- from here on: python -m tests.bench.page results.json -->",
        "",
        f"{machine['at']}: {machine['cpus']} CPUs ({machine['cpu'] or machine['architecture']}), "
        f"{machine['memory_mib']} MiB, Linux {machine['kernel']}, Python {machine['python']}; "
        f"load average at the end {load}.",
    ]
    for section in sections:
        lines += ["", f"### {section['title']}", ""]
        figures = [item for item in section["lines"] if "remark" not in item]
        if figures:
            lines += [
                "| what | median | min to max | n | beside | target |",
                "|---|---|---|---|---|---|",
            ]
            lines += map(_row, figures)
        lines += [f"\n{item['remark']}." for item in section["lines"] if "remark" in item]
    return "\n".join(lines) + "\n"


def _row(figure: dict[str, object]) -> str:
    low, high, ratio, target = (figure[name] for name in ("low", "high", "ratio", "target"))
    cells = (
        f"{figure['what']}" + (f" ({figure['note']})" if figure["note"] else ""),
        f"{figure['value']:.2f} {figure['unit']}",
        f"{low:.2f} to {high:.2f}" if low is not None else "",
        str(figure["count"]) if low is not None else "",
        f"{ratio:.2f}x of {figure['peer']}" if ratio is not None else "",
        f"{'at least' if figure['is_floor'] else 'at most'} {target:g}: {figure['verdict']}"
        if target is not None
        else "",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text()) if sys.argv[1:] else None))
