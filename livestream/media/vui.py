"""
Video usability information: what a sequence parameter set says of the shape, colour and rate of its pictures.

It is optional, and many encoders write it badly: where it is cut short or makes no sense, the defaults hold.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from livestream.media.bits import BitReader
from livestream.media.errors import MediaError

UNSPECIFIED = 2
"""The code point of ISO/IEC 23091-2 where a colour's primaries, transfer or matrix are not told."""
MAX_ASPECT = 4
"""A sample more than so many times as wide as high, or as high as wide, is not believed."""
MIN_FPS, MAX_FPS = 0.1, 300.0
"""A frame rate outside is that of a clock, and not of pictures."""

_EXTENDED = 255
_ASPECTS = (
    *((1, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11)),
    *((80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1)),
)
"""By aspect_ratio_idc (ITU-T H.264, table E-1)."""
_PRIMARIES = frozenset((1, *range(4, 13), 22))
_TRANSFERS = frozenset((1, *range(4, 19)))
_MATRICES = frozenset((0, 1, *range(4, 15)))
_IDENTITY = 0
_MAX_REFERENCE_SETS, _MAX_REFERENCES, _MAX_LONG_TERM = 64, 16, 32


@frozen
class Colour:
    """The code points of a picture's colours (ISO/IEC 23091-2, 8.1 to 8.3), and whether it uses the full range."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    is_full_range: bool = False

    @property
    def is_told(self) -> bool:
        """Whether anything is known of it."""
        return self != UNTOLD

    @property
    def video_range(self) -> str:
        """The dynamic range as a multivariant playlist has it (RFC 8216bis, 4.4.6.2): SDR, HLG or PQ."""
        return {16: "PQ", 18: "HLG"}.get(self.transfer, "SDR")


UNTOLD = Colour()


@frozen
class Vui:
    """``sample_aspect`` is a sample's width and height, ``frame_rate`` in pictures per second, or 0 if not told."""

    sample_aspect: tuple[int, int] = (1, 1)
    colour: Colour = UNTOLD
    frame_rate: float = 0.0
    has_fields: bool = False


NO_VUI = Vui()


def colour_of(primaries: int, transfer: int, matrix: int, *, is_full_range: bool, is_subsampled: bool = True) -> Colour:
    """A colour from what a bitstream says; what is reserved, or cannot be, is not told."""
    if matrix == _IDENTITY and is_subsampled:
        matrix = UNSPECIFIED
    return Colour(
        primaries if primaries in _PRIMARIES else UNSPECIFIED,
        transfer if transfer in _TRANSFERS else UNSPECIFIED,
        matrix if matrix in _MATRICES else UNSPECIFIED,
        is_full_range,
    )


def frame_rate_of(time_scale: int, ticks: int) -> float:
    """Pictures per second that last so many ticks each; 0 if that cannot be."""
    return time_scale / ticks if ticks and MIN_FPS <= time_scale / ticks <= MAX_FPS else 0.0


def read_or_default(parse: Callable[[], Vui]) -> Vui:
    """What ``parse`` returns, or the defaults if it is malformed."""
    try:
        return parse()
    except MediaError:
        return NO_VUI


def avc_vui(bits: BitReader, chroma: int) -> Vui:
    """
    Parse what follows a sequence parameter set's cropping (ITU-T H.264, 7.3.2.1.1 and E.1.1), up to the timing.

    :raises MediaError: it is cut short.
    """
    if not bits.flag():
        return NO_VUI
    aspect, colour = _aspect(bits), _colour(bits, chroma)
    rate = 0.0
    if bits.flag():
        ticks, time_scale = bits.bits(32), bits.bits(32)
        rate = frame_rate_of(time_scale, 2 * ticks)
    return Vui(aspect, colour, rate)


def hevc_vui(bits: BitReader, chroma: int, order_bits: int) -> Vui:
    """
    Parse what follows a sequence parameter set's picture buffer sizes (ITU-T H.265, 7.3.2.2.1 and E.2.1).

    ``order_bits`` is the length of a picture order count.

    :raises MediaError: it is malformed or cut short.
    """
    for _ in range(6):
        bits.ue()
    if bits.flag() and bits.flag():
        _skip_scaling_lists(bits)
    bits.bits(2)
    if bits.flag():
        bits.bits(8)
        bits.ue()
        bits.ue()
        bits.flag()
    _skip_reference_sets(bits)
    if bits.flag():
        for _ in range(_at_most(bits.ue(), _MAX_LONG_TERM)):
            bits.bits(order_bits + 1)
    bits.bits(2)
    if not bits.flag():
        return NO_VUI
    aspect, colour = _aspect(bits), _colour(bits, chroma)
    bits.flag()
    has_fields = bits.flag()
    bits.flag()
    if bits.flag():
        for _ in range(4):
            bits.ue()
    rate = 0.0
    if bits.flag():
        ticks, time_scale = bits.bits(32), bits.bits(32)
        rate = frame_rate_of(time_scale, ticks)
    return Vui(aspect, colour, rate, has_fields)


def _aspect(bits: BitReader) -> tuple[int, int]:
    if not bits.flag():
        return 1, 1
    index = bits.bits(8)
    if index == _EXTENDED:
        width, height = bits.bits(16), bits.bits(16)
        is_believed = 0 < width <= MAX_ASPECT * height and height <= MAX_ASPECT * width
        return (width, height) if is_believed else (1, 1)
    return _ASPECTS[index] if index < len(_ASPECTS) else (1, 1)


def _colour(bits: BitReader, chroma: int) -> Colour:
    """Parse what stands between the aspect ratio and the timing in both codecs."""
    if bits.flag():
        bits.flag()
    colour = UNTOLD
    if bits.flag():
        bits.bits(3)
        is_full_range = bits.flag()
        points = (bits.bits(8), bits.bits(8), bits.bits(8)) if bits.flag() else (UNSPECIFIED,) * 3
        colour = colour_of(*points, is_full_range=is_full_range, is_subsampled=chroma != 3)
    if bits.flag():
        bits.ue()
        bits.ue()
    return colour


def _at_most(number: int, limit: int) -> int:
    if number > limit:
        raise MediaError(f"a parameter set with {number} entries where {limit} are allowed")
    return number


def _skip_scaling_lists(bits: BitReader) -> None:
    """ITU-T H.265, 7.3.4."""
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.flag():
                bits.ue()
                continue
            for _ in range(min(64, 16 << 2 * size) + (size > 1)):
                bits.ue()


def _skip_reference_sets(bits: BitReader) -> None:
    """The short-term reference picture sets (ITU-T H.265, 7.3.7)."""
    pictures = 0
    for index in range(_at_most(bits.ue(), _MAX_REFERENCE_SETS)):
        if index and bits.flag():
            bits.flag()
            bits.ue()
            kept = [bits.flag() or bits.flag() for _ in range(pictures + 1)]
            pictures = _at_most(sum(kept), _MAX_REFERENCES)
        else:
            pictures = _at_most(bits.ue() + bits.ue(), _MAX_REFERENCES)
            for _ in range(pictures):
                bits.ue()
                bits.flag()
