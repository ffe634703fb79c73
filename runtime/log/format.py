"""How a container's log lies on disk. Import-light: the keeper writes by this, the reader reads by it.

    <lib>/containers/<id>/log/
      raw      the bytes of both streams as they came
      index    24-byte records <Q q I B 3x>: offset in raw, ns since the epoch, length, stream; written after their data
      raw.1    the generation before (rotation)          index.1   and its index

The last record may still grow: pieces of one stream that come within COALESCE_NS share a record (up to COALESCE_BYTES).
Bytes that no record
covers (a crash between data and record) are stream 1, time 0. Stream 3 is trice's own word about the log; readers see
it as stderr.

Rotation is a row of single steps, and after each of them it is clear which index belongs to which data:
new raw.new, index.new · unlink index.1, raw.1 · raw → raw.1 · index → index.1 · raw.new → raw · index.new → index.
An `index` without `raw` is therefore that of raw.1; a raw.1 without `index.1` beside a raw is about to go.
"""

from __future__ import annotations

import _struct

RAW = "raw"
INDEX = "index"
OLD = ".1"
NEW = ".new"

RECORD = _struct.Struct("<QqIB3x")
MAX_RECORD_BYTES = 0xFFFFFFFF

STDOUT = 1
STDERR = 2
NOTE = 3

ROTATE_BYTES = 16 * 1024 * 1024
"""How long a generation is where nothing else is asked for: a log takes at most twice that, and its indexes."""
GENERATIONS = 2
INDEX_SHARE = 4
"""Rotated, too, when the index has that part of a generation: many tiny pieces must not make it the larger file."""
COALESCE_NS = 10_000_000
COALESCE_BYTES = 64 * 1024
"""A record no longer than that can be gone to by its number, and the end of a log read without the rest."""
