"""`trice convert`: the old name of `trice config`."""

from __future__ import annotations

from orchestrator.cli.config import command

__all__ = ["command"]
