"""AAC with ADTS headers (ISO/IEC 13818-7, 6.2), which some encoders send where FLV wants raw AAC."""

from __future__ import annotations

from livestream.media.errors import MediaError

MAX_FRAMES = 16
"""How many frames one tag may have."""
_HEADER, _WITH_CRC = 7, 9
_NO_PROTECTION = 1


def has_adts(data: bytes | memoryview) -> bool:
    """Whether an audio frame begins with a syncword and layer 0, as no raw frame does."""
    return len(data) >= _HEADER and data[0] == 0xFF and data[1] & 0xF6 == 0xF0


def split_adts(data: bytes) -> tuple[bytes, list[bytes]]:
    """
    The AudioSpecificConfig that the first header describes, and the raw frames.

    :raises MediaError: a frame is cut short, or there are too many.
    """
    frames: list[bytes] = []
    at = 0
    while at < len(data):
        is_header = has_adts(memoryview(data)[at : at + _HEADER]) and len(frames) < MAX_FRAMES
        size = _length(data, at) if is_header else 0
        if not _HEADER <= size <= len(data) - at:
            raise MediaError("AAC with malformed ADTS headers")
        begin = at + (_HEADER if data[at + 1] & _NO_PROTECTION else _WITH_CRC)
        if begin < at + size:
            frames.append(data[begin : at + size])
        at += size
    kind, rate, channels = (data[2] >> 6) + 1, data[2] >> 2 & 15, (data[2] & 1) << 2 | data[3] >> 6
    return (kind << 11 | rate << 7 | channels << 3).to_bytes(2, "big"), frames


def _length(data: bytes | memoryview, at: int) -> int:
    return (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
