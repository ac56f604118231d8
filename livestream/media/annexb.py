"""NAL units (ITU-T H.264 and H.265) with start codes (Annex B), or with length prefixes as in MP4 and FLV."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from struct import Struct

from livestream.media.errors import MediaError

FEW_UNITS = 64
UNIT_BYTES = 64
"""Beyond a few units, a frame may have one per this many bytes: no encoder uses smaller slices."""
_LENGTH = Struct(">I")


def max_units(size: int) -> int:
    """How many units a frame of ``size`` bytes may have, since each takes time to process."""
    return FEW_UNITS + size // UNIT_BYTES


def nal_units(data: bytes) -> Iterator[bytes]:
    """The units between start codes of three or four bytes; trailing zeros are not part of a unit."""
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        start += 3
        end = data.find(b"\x00\x00\x01", start)
        unit = data[start : end if end >= 0 else len(data)].rstrip(b"\x00")
        if unit:
            yield unit
        start = end


def units_of(body: bytes, at: int) -> Iterator[bytes]:
    """The units of a frame from ``at`` on, each behind its length of four bytes; at most as many as it may have."""
    for _ in range(max_units(len(body))):
        begin = at + 4
        if begin >= len(body):
            return
        at = begin + int.from_bytes(body[at:begin], "big")
        if at > begin:
            yield body[begin:at]


def to_length_prefixed(data: bytes) -> bytes:
    """
    Replace start codes by lengths of four bytes.

    :raises MediaError: there are too many units.
    """
    limit = max_units(len(data))
    units = list(islice(nal_units(data), limit + 1))
    _check_count(len(units), limit)
    prefixed = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    _check_count(len(units), max_units(len(prefixed)))  # since a relay checks it again
    return prefixed


def with_long_lengths(data: bytes, nal_bytes: int) -> bytes:
    """
    Replace lengths of ``nal_bytes`` by lengths of four bytes; a unit that is cut short is dropped.

    :raises MediaError: there are too many units.
    """
    units, at, count, limit = [], 0, 0, max_units(len(data))
    while at + nal_bytes <= len(data):
        count += 1
        _check_count(count, limit)
        size, at = int.from_bytes(data[at : at + nal_bytes], "big"), at + nal_bytes
        if size and at + size <= len(data):
            units.append(data[at : at + size])
        at += size
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def repair_units(data: bytes, begin: int = 0) -> bytes | None:
    """
    The intact units of ``data`` from ``begin`` on, length-prefixed; ``None`` if all are intact.

    Some encoders write start codes instead of lengths, and some truncate a unit, which loses those that follow.

    :raises MediaError: there are too many units.
    """
    at, end = begin, len(data)
    limit, count = max_units(end - begin), 0
    is_intact = True
    while at + 4 <= end and count <= limit:
        count += 1
        following = at + 4 + _LENGTH.unpack_from(data, at)[0]
        if following > end:
            break
        if following == at + 4:
            is_intact = False
        at = following
    _check_count(count, limit)
    if at == end and is_intact:
        return None
    if data.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01"), begin):
        return to_length_prefixed(data[begin:])
    return _without_empty_units(data[begin:at])


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        raise MediaError(f"a frame with more than {limit} NAL units")


def _without_empty_units(data: bytes) -> bytes:
    """Drop empty units. The limit applies to the result too, since a relay checks it again."""
    at, kept = 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size:
            kept.append(data[at : at + 4 + size])
        at += 4 + size
    repaired = b"".join(kept)
    _check_count(len(kept), max_units(len(repaired)))
    return repaired
