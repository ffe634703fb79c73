"""`trice images`: what `trice image ls` prints."""

from __future__ import annotations

from orchestrator.cli.image import list_images

command = list_images
