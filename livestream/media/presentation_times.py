"""Decoding times for a publisher whose timestamps are presentation times."""

from __future__ import annotations

from bisect import insort

from attrs import define, field

from livestream.media.bits import BitReader, without_emulation
from livestream.media.errors import MediaError
from livestream.model.frames import Codec, Frame

MAX_DEPTH = 16
"""ITU-T H.264, A.3.1: no more pictures are reordered than a decoder keeps."""
_HEADER_BYTES = 16
_SLICES = (1, 5)
_MAX_UNITS = 32


@define(eq=False)
class PresentationTimes:
    """
    Makes decoding times of presentation times: the same ones, sorted, and later by as many pictures as are reordered.

    The depth of reordering is found from the pictures themselves.
    """

    _depth: int = field(default=2, init=False)
    _pending: list[int] = field(factory=list, init=False)

    def decoded_at(self, shown_ms: int, newest_ms: int) -> int:
        """The decoding time of the next picture, which is shown at ``shown_ms``; that of the one before is given."""
        insort(self._pending, shown_ms)
        dts_ms = newest_ms + 1
        if len(self._pending) > self._depth:
            dts_ms = max(dts_ms, self._pending.pop(0))
        if dts_ms > shown_ms and self._depth < MAX_DEPTH:
            self._depth += 1
        return dts_ms


def is_b_frame(frame: Frame) -> bool:
    """Whether the first slice of a picture is a B slice (ITU-T H.264, table 7-6); of HEVC, that is assumed."""
    if frame.codec is not Codec.H264:
        return frame.codec is Codec.HEVC
    body, at = frame.body, frame.data_offset
    for _ in range(_MAX_UNITS):
        begin = at + 4
        if begin >= len(body):
            break
        if body[begin] & 31 in _SLICES:
            try:
                bits = BitReader(without_emulation(body[begin + 1 : begin + _HEADER_BYTES]))
                bits.ue()
                return bits.ue() % 5 == 1
            except MediaError:
                return False
        at = begin + int.from_bytes(body[at:begin], "big")
    return False
