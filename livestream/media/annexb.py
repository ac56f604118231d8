"""H.264 and HEVC byte streams (ITU-T H.264, Annex B) made into the length-prefixed NAL units of MP4 and FLV."""

from __future__ import annotations

from collections.abc import Iterator


def nal_units(data: bytes) -> Iterator[bytes]:
    """The NAL units between start codes of three or of four bytes; zeros that trail a unit are not part of it."""
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        start += 3
        end = data.find(b"\x00\x00\x01", start)
        unit = data[start : end if end >= 0 else len(data)].rstrip(b"\x00")
        if unit:
            yield unit
        start = end


def to_length_prefixed(data: bytes) -> bytes:
    """The same units, each behind its length in four bytes."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in nal_units(data))
