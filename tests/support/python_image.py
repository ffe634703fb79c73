"""Debian's python for images of tests: programs inside a container that ask the kernel more than busybox can.

With `-I -S` it needs its libraries, the encodings, and ctypes for bare system calls: no standard library beside that.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

PYTHON = Path("/usr/bin/python3").resolve()
COMMAND = ("/bin/python3", "-I", "-S")
"""What runs a program in the image; its file or `-c` and its text follow."""
_MODULES = (
    "encodings/__init__.py", "encodings/aliases.py", "encodings/utf_8.py", "encodings/ascii.py",
    "encodings/latin_1.py", "ctypes/__init__.py", "ctypes/_endian.py", "os.py", "struct.py", "types.py",
)  # fmt: skip


@cache
def python_files() -> dict[str, bytes]:
    """Return the files, by path without a leading slash: `busybox_archive(…, extra=python_files() | …)`."""
    library = Path(_ask("import os; print(os.path.dirname(os.__file__))"))
    extension = Path(_ask("import _ctypes; print(_ctypes.__file__)"))
    files = {str(library / name).lstrip("/"): (library / name).read_bytes() for name in _MODULES}
    files[str(extension).lstrip("/")] = extension.read_bytes()
    for path in {*_libraries(PYTHON), *_libraries(extension)}:
        files[path.lstrip("/")] = Path(path).read_bytes()
    return files | {"bin/python3": PYTHON.read_bytes()}


def _ask(program: str) -> str:
    done = subprocess.run(
        [PYTHON, "-I", "-S", "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        timeout=20,
    )  # fmt: skip
    return done.stdout.strip()


def _libraries(program: Path) -> list[str]:
    """Return the shared objects that a program is loaded with, its loader among them."""
    done = subprocess.run(
        ["ldd", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=20
    )  # fmt: skip
    return re.findall(r"(?:=> |^\t)(/\S+)", done.stdout, re.MULTILINE)
