"""Parameter sets within a video stream: what a decoder would allocate memory for, before it gets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct

from attrs import define, field

from livestream.media.annexb import max_units
from livestream.media.errors import MediaError
from livestream.media.pictures import (
    PREFIX_BYTES,
    PictureFormat,
    av1_format,
    avc_format,
    checked,
    hevc_format,
    vp9_format,
)
from livestream.model.frames import Codec, Frame

MAX_IN_FRAME = 16
"""No encoder sends more in one frame; each different one takes time to parse."""
MAX_KEPT = 32
_LENGTH = Struct(">I")


def is_avc_set(unit: bytes) -> bool:
    """Whether a NAL unit is a sequence parameter set (ITU-T H.264, table 7-1)."""
    return len(unit) >= 4 and unit[0] & 31 == 7


def is_hevc_set(unit: bytes) -> bool:
    """Whether a NAL unit is a sequence parameter set of the base layer, which is decoded (ITU-T H.265, table 7-1)."""
    return len(unit) >= 3 and unit[0] & 0x7F == 33 << 1 and unit[1] >> 3 == 0


@define(eq=False)
class ParameterSets:
    """
    Parses the parameter sets within one video track, each different one once.

    Encoders repeat those of the configuration record there, and may announce a new size only there.
    """

    known: dict[bytes, PictureFormat] = field(factory=dict, init=False)
    reads: int = field(default=0, init=False)
    """How many were parsed; looking up a known one costs next to nothing."""

    def before_slices(self, frame: Frame) -> PictureFormat | None:
        """
        The format in the parameter sets before the first slice of ``frame``, where encoders put them; ``None`` without.

        :raises MediaError: there are too many, or one is malformed.
        :raises OversizedPicture: a decoder would need too much memory.
        """
        return self._read(frame, False)

    def anywhere(self, frame: Frame) -> PictureFormat | None:
        """The format in all parameter sets of ``frame``, wherever they are, as a decoder reads them."""
        return self._read(frame, True)

    def _read(self, frame: Frame, everything: bool) -> PictureFormat | None:
        if frame.codec is Codec.VP9:
            key = vp9_format(bytes(frame.data[:24])) if frame.is_key else None
            return None if key is None else checked(key)
        walk, read = _READERS[frame.codec]
        found, count = None, 0
        try:
            for unit in walk(frame.body, frame.data_offset, everything):
                count += 1
                if count > MAX_IN_FRAME:
                    raise MediaError(f"a frame with more than {MAX_IN_FRAME} parameter sets")
                pictures = self.known.get(unit) or self._parse(unit, read)
                found = pictures if found is None else found.with_room_for(pictures)
        except IndexError:
            raise MediaError("a frame is cut short in its parameter sets") from None
        return found

    def _parse(self, unit: bytes, read: Callable[[bytes], PictureFormat]) -> PictureFormat:
        self.reads += 1
        pictures = checked(read(unit))
        if len(self.known) == MAX_KEPT:
            self.known.clear()
        self.known[unit] = pictures
        return pictures


def first_sequence_header(frame: Frame) -> bytes | None:
    """The first sequence header OBU of an AV1 frame."""
    return next(_av1_sets(frame.body, frame.data_offset, False), None)


def _avc_sets(body: bytes, at: int, everything: bool) -> Iterator[bytes]:
    while at + 4 < len(body):
        begin = at + 4
        at = begin + _LENGTH.unpack_from(body, at)[0]
        kind = body[begin] & 31
        if kind == 7:
            yield body[begin : min(at, begin + PREFIX_BYTES)]
        elif 1 <= kind <= 5 and not everything:
            return


def _hevc_sets(body: bytes, at: int, everything: bool) -> Iterator[bytes]:
    while at + 5 < len(body):
        begin = at + 4
        at = begin + _LENGTH.unpack_from(body, at)[0]
        kind = body[begin] >> 1 & 63
        if kind == 33 and is_hevc_set(body[begin : begin + 3]):
            yield body[begin : min(at, begin + PREFIX_BYTES)]
        elif kind < 32 and not everything:
            return


def _av1_sets(body: bytes, at: int, everything: bool) -> Iterator[bytes]:
    """Sequence header OBUs (AV1 bitstream specification, 5.3)."""
    limit, count = max_units(len(body)), 0
    while at < len(body):
        count += 1
        if count > limit:
            raise MediaError(f"a frame with more than {limit} OBUs")
        begin, head = at, body[at]
        kind, has_extension, has_size = head >> 3 & 15, head >> 2 & 1, head >> 1 & 1
        at += 1 + has_extension
        size = len(body) - at
        if has_size:
            size, at = _leb128(body, at)
        if kind == 1:
            yield body[begin : min(at + size, begin + PREFIX_BYTES)]
        elif kind in (3, 4, 6) and not everything:
            return
        at += size


def _leb128(body: bytes, at: int) -> tuple[int, int]:
    """A leb128 number, and where it ends (AV1 bitstream specification, 4.10.5)."""
    number = shift = 0
    while body[at] & 0x80 and shift < 49:
        number |= (body[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | (body[at] & 0x7F) << shift, at + 1


_READERS: dict[Codec, tuple[Callable[[bytes, int, bool], Iterator[bytes]], Callable[[bytes], PictureFormat]]] = {
    Codec.H264: (_avc_sets, avc_format),
    Codec.HEVC: (_hevc_sets, hevc_format),
    Codec.AV1: (_av1_sets, av1_format),
}
