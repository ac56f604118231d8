"""NAL units (ITU-T H.264 and H.265), behind start codes (Annex B) or behind their lengths, as MP4 and FLV have them."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

_LENGTH = Struct(">I")


def nal_units(data: bytes) -> Iterator[bytes]:
    """The units between start codes of three or of four bytes; zeros that trail a unit are not part of it."""
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


def mended_units(data: bytes, begin: int = 0) -> bytes | None:
    """
    What is sound of ``data`` from ``begin`` on, length-prefixed; ``None`` when all of it is.

    Some encoders write start codes where lengths belong, and some end a unit early: those that follow are lost.
    """
    at, end = begin, len(data)
    is_sound = True
    while at + 4 <= end:
        following = at + 4 + _LENGTH.unpack_from(data, at)[0]
        if following > end:
            break
        if following == at + 4:
            is_sound = False
        at = following
    if at == end and is_sound:
        return None
    if data.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01"), begin):
        return to_length_prefixed(data[begin:])
    return _without_empty_units(data[begin:at])


def _without_empty_units(data: bytes) -> bytes:
    at, kept = 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size:
            kept.append(data[at : at + 4 + size])
        at += 4 + size
    return b"".join(kept)
