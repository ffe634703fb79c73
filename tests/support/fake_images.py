"""The images of the in-memory runtime: names and configs. Layers there are none."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from runtime.api import (
    BootstrapRequest,
    ContainerId,
    ContainerState,
    Digest,
    ImageConfig,
    ImageState,
    NotFound,
    ReferenceInvalid,
    RuntimeEvent,
)
from tests.support.fake_archive import normalised, read_archive


class FakeImages:
    """The Images protocol in memory."""

    _now_ns: Callable[[], int]
    _verb: Callable[[str, str], AbstractContextManager[None]]
    _tell: Callable[[RuntimeEvent], None]
    _lock: threading.RLock
    _containers: dict[ContainerId, ContainerState]

    def __init__(self) -> None:
        super().__init__()
        self._images: dict[Digest, ImageState] = {}

    def add_image(
        self, reference: str, *, config: ImageConfig | None = None, salt: str = ""
    ) -> ImageState:
        """Put an image in the store; another salt moves the name to a new image."""
        return self._put_image(
            reference, config or ImageConfig(command=("sleep", "inf")), reference + "\0" + salt
        )

    def images(self) -> tuple[ImageState, ...]:
        with self._lock:
            return tuple(self._images.values())

    def resolve(self, reference: str) -> ImageState:
        if not reference or reference != reference.lower() or " " in reference:
            raise ReferenceInvalid(f'invalid reference "{reference}"')
        name = normalised(reference)
        with self._lock:
            for image in self._images.values():
                is_named = name in image.references or image.id == reference
                if is_named or image.id.removeprefix("sha256:").startswith(reference):
                    return image
        raise NotFound(f"there is no image {reference} here")

    def load(self, archive: Path) -> tuple[ImageState, ...]:
        with self._verb("load", archive.name):
            return tuple(
                self._put_image(reference, config, identity)
                for reference, config, identity in read_archive(archive)
            )

    def bootstrap(
        self, request: BootstrapRequest, *, progress: Callable[[str], None] | None = None
    ) -> ImageState:
        with self._verb("build", request.reference):
            if progress is not None:
                progress(f"{request.distribution} {request.suite}")
            packages = ",".join(request.packages)
            identity = f"{request.distribution}/{request.suite}/{request.variant}/{packages}"
            config = ImageConfig(command=("sh",), labels=dict(request.labels))
            return self._put_image(request.reference, config, identity)

    def remove_image(self, reference: str) -> None:
        with self._verb("remove-image", reference), self._lock:
            image = self.resolve(reference)
            named = normalised(reference)
            left = tuple(each for each in image.references if each != named)
            left = left if named in image.references else ()
            is_used = any(each.image == image.id for each in self._containers.values())
            if left or is_used:
                self._images[image.id] = replace(image, references=left)
            else:
                del self._images[image.id]

    def _put_image(self, reference: str, config: ImageConfig, identity: str) -> ImageState:
        text = json.dumps([identity, sorted(config.labels.items()), config.command])
        image_id = Digest("sha256:" + hashlib.sha256(text.encode()).hexdigest())
        name = normalised(reference)
        with self._lock:
            for other in list(self._images.values()):
                kept = tuple(known for known in other.references if known != name)
                self._images[other.id] = replace(other, references=kept)
            known = self._images.get(image_id)
            references = tuple(sorted({name, *(known.references if known else ())}))
            self._images[image_id] = ImageState(
                id=image_id,
                references=references,
                config=config,
                size_bytes=1,
                created_at_ns=self._now_ns(),
            )
            image = self._images[image_id]
        self._tell(
            RuntimeEvent(action="tag", kind="image", id=image_id, name=name, at_ns=self._now_ns())
        )
        return image
