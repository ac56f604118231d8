"""Which of the frames that are flagged as key frames a decoder can begin with, whatever follows."""

from __future__ import annotations

from livestream.model.frames import Codec, Frame

_MAX_UNITS = 32
"""How many NAL units before the first slice are looked at; encoders write a few."""


def is_sync(frame: Frame) -> bool:
    """
    Whether a key frame is a sync sample (ISO/IEC 14496-12, 8.6.2).

    A recovery point of H.264 with an open GOP is flagged as a key frame, but what follows refers to frames before it;
    only an IDR picture (ITU-T H.264, 7.4.1.2.4) or, in HEVC, an IRAP picture (ITU-T H.265, 3.74) is a sync sample.
    """
    if not frame.is_key:
        return False
    if frame.codec is Codec.H264:
        kind = _first_slice(frame, 0x1F, 1, 5)
        return kind in (5, None)
    if frame.codec is Codec.HEVC:
        kind = _first_slice(frame, 0x7E, 0, 63)
        return kind is None or 16 <= kind >> 1 <= 23
    return True


def _first_slice(frame: Frame, mask: int, first: int, last: int) -> int | None:
    """The masked first byte of the first unit whose type is that of a slice; ``None`` without one."""
    body, at = frame.body, frame.data_offset
    for _ in range(_MAX_UNITS):
        begin = at + 4
        if begin >= len(body):
            break
        kind = body[begin] & mask
        if first <= kind <= last:
            return kind
        at = begin + int.from_bytes(body[at:begin], "big")
    return None
