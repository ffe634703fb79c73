"""The images of the real runtime: `runtime.api.Images` over the store, telling everybody of what is new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime.announcing import Announcer
from runtime.api import BootstrapRequest, ImageState
from runtime.image.bootstrap import bootstrap
from runtime.image.store import ImageStore
from runtime.records import Records


class LocalImages:
    """The part of `LocalRuntime` that needs neither keeper nor cgroups; what it works with is made there."""

    _store: ImageStore
    _announcer: Announcer
    _records: Records

    def images(self) -> tuple[ImageState, ...]:
        return self._store.images()

    def resolve(self, reference: str) -> ImageState:
        return self._store.resolve(reference)

    def load(self, archive: Path) -> tuple[ImageState, ...]:
        images = self._store.load(archive)
        for image in images:
            self._announcer.image("load", image)
        return images

    def bootstrap(
        self, request: BootstrapRequest, *, progress: Callable[[str], None] | None = None
    ) -> ImageState:
        image = bootstrap(self._store, request, progress)
        self._announcer.image("build", image)
        return image

    def remove_image(self, reference: str) -> None:
        in_use = frozenset(record.request.image for record in self._records)
        self._store.remove(reference, in_use=in_use)
