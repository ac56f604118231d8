"""NAL units (ITU-T H.264 and H.265), behind start codes (Annex B) or behind their lengths, as MP4 and FLV have them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from struct import Struct

from livestream.media.errors import MediaError

FEW_UNITS = 64
UNIT_BYTES = 64
"""A frame of more than a few units has one for so many bytes at most: no encoder cuts its pictures smaller."""
_LENGTH = Struct(">I")


def most_units(size: int) -> int:
    """How many units a frame of so many bytes may have: to look at each takes time."""
    return FEW_UNITS + size // UNIT_BYTES


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
    """
    The same units, each behind its length in four bytes.

    :raises MediaError: there are too many.
    """
    most = most_units(len(data))
    units = list(islice(nal_units(data), most + 1))
    _check_count(len(units), most)
    prefixed = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    _check_count(len(units), most_units(len(prefixed)))  # for a relay checks it again
    return prefixed


def mended_units(data: bytes, begin: int = 0) -> bytes | None:
    """
    What is sound of ``data`` from ``begin`` on, length-prefixed; ``None`` when all of it is.

    Some encoders write start codes where lengths belong, and some end a unit early: those that follow are lost.

    :raises MediaError: there are too many units.
    """
    at, end = begin, len(data)
    most, count = most_units(end - begin), 0
    is_sound = True
    while at + 4 <= end and count <= most:
        count += 1
        following = at + 4 + _LENGTH.unpack_from(data, at)[0]
        if following > end:
            break
        if following == at + 4:
            is_sound = False
        at = following
    _check_count(count, most)
    if at == end and is_sound:
        return None
    if data.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01"), begin):
        return to_length_prefixed(data[begin:])
    return _without_empty_units(data[begin:at])


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise MediaError(f"a frame with more than {most} NAL units")


def _without_empty_units(data: bytes) -> bytes:
    """Drop empty units. The limit holds for the result too, for a relay checks it again."""
    at, kept = 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size:
            kept.append(data[at : at + 4 + size])
        at += 4 + size
    mended = b"".join(kept)
    _check_count(len(kept), most_units(len(mended)))
    return mended
