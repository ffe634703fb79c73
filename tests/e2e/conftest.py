"""What scenarios start from: an instance of one's own, its command, and an image that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Trice, trice_in


@pytest.fixture
def trice(root_dir: Path) -> Iterator[Trice]:
    """An empty instance; its stack file lies beside its state."""
    folder = root_dir / "demo"
    folder.mkdir()
    with trice_in(root_dir, folder) as one:
        yield one


@pytest.fixture
def stack(trice: Trice) -> Trice:
    """The same with `busybox:test` in its store."""
    trice.load_image()
    return trice
