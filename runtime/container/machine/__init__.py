"""The table machine's program, built from `machine.c` by .ci/build-machine for each architecture. Import-light."""

from __future__ import annotations

import os

from runtime.linux.memfd import sealed_copy


def sealed_image(otherwise: int) -> int:
    """Return a sealed memfd with the machine for this processor, the caller's; `otherwise` where none was built."""
    path = f"{os.path.dirname(__file__)}/machine.{os.uname().machine}"
    try:
        return sealed_copy("trice-init", path)
    except OSError:
        return otherwise
