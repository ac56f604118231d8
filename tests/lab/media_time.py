"""When a segment begins on the time line of its initialisation segment, read from its first track."""

from __future__ import annotations


def timescale_of(init: bytes) -> int:
    """Units in a second of the first track, from its ``mdhd`` box (ISO/IEC 14496-12, 8.4.2); 0: there is none."""
    at = init.find(b"mdhd")
    if at < 0:
        return 0
    offset = at + (24 if init[at + 4] else 16)  # the box has times of 64 or of 32 bits before it
    return int.from_bytes(init[offset : offset + 4], "big")


def begin_of(segment: bytes, timescale: int) -> float | None:
    """The decode time of the first track's first sample in seconds, from ``tfdt`` (8.8.12)."""
    at = segment.find(b"tfdt")
    if at < 0 or not timescale:
        return None
    size = 8 if segment[at + 4] else 4
    return int.from_bytes(segment[at + 8 : at + 8 + size], "big") / timescale
