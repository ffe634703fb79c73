"""The version of trice: what all parts of it say; a test holds pyproject.toml to it."""

from __future__ import annotations

VERSION = "0.1.0"
