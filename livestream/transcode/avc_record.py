"""The configuration record of an H.264 encoder (ISO/IEC 14496-15, 5.3.3.1)."""

from __future__ import annotations

from livestream.media.annexb import nal_units

_SPS, _PPS = 7, 8
_WITH_FORMAT = (100, 110, 122, 144)


def avc_record(extradata: bytes) -> bytes:
    """
    The record of an 8 bit 4:2:0 encoder, from its parameter sets with start codes.

    :raises ValueError: there are no parameter sets.
    """
    units = list(nal_units(extradata))
    sets = [unit for unit in units if unit[0] & 31 == _SPS], [unit for unit in units if unit[0] & 31 == _PPS]
    if not all(sets):
        raise ValueError("an encoder without parameter sets")
    sps = sets[0][0]
    record = bytearray(b"\x01" + sps[1:4] + b"\xff")
    for reserved, several in zip((0xE0, 0), sets, strict=True):
        record.append(reserved | len(several))
        for unit in several:
            record += len(unit).to_bytes(2, "big") + unit
    if sps[1] in _WITH_FORMAT:
        record += b"\xfd\xf8\xf8\x00"
    return bytes(record)
