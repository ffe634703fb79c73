"""How much an archive may make us do. Hostile archives are bounded by these, honest ones never meet them."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one archive. Sizes in bytes, after decompression unless said otherwise."""

    entries: int = 2_000_000
    total_bytes: int = 64 * 1024 * _MIB
    path_bytes: int = 4095
    """PATH_MAX without its NUL."""
    name_bytes: int = 255
    """NAME_MAX."""
    meta_bytes: int = 1 * _MIB
    """One pax or GNU long name record."""
    ratio: int = 250
    """Decompressed to compressed bytes, once more than `ratio_floor_bytes` came out (deflate itself ends at 1032)."""
    ratio_floor_bytes: int = 256 * _MIB


DEFAULT_LIMITS = Limits()
