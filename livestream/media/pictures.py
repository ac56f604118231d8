"""The format of a stream's pictures, parsed from each codec's own headers."""

from __future__ import annotations

from attrs import evolve, frozen

from livestream.media.bits import BitReader, without_emulation
from livestream.media.errors import MediaError, OversizedPicture
from livestream.media.vui import (
    NO_VUI,
    UNSPECIFIED,
    UNTOLD,
    Colour,
    Vui,
    avc_vui,
    colour_of,
    frame_rate_of,
    hevc_vui,
    read_or_default,
)

MAX_WIDTH, MAX_HEIGHT = 4096, 2304
"""The largest coded size accepted: a small parameter set could make a decoder allocate gigabytes."""
MAX_DEPTH = 12
MAX_REFERENCES = 16
"""ITU-T H.264, A.3.1 and H.265, A.4.2: no decoded picture buffer has more."""
PREFIX_BYTES = 1024
"""How much of a parameter set is parsed: its size comes before this, and a crafted one may be slow to parse."""

_AV1_SAMPLES = {0: (1, 10), 1: (3, 10)}
"""The largest chroma format and bit depth of a profile; (3, 12) for the others."""
_SRGB = (1, 13, 0)
"""Colours whose range AV1 does not tell, since it is full (AV1 bitstream specification, 5.5.2)."""
_VP9_MATRICES = (2, 5, 1, 6, 7, 9, 2, 0)
"""The matrix of a color_space (VP9 bitstream specification, 7.2.2)."""
_HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


@frozen
class PictureFormat:
    """
    The pictures of a sequence. ``width`` and ``height`` are the size after cropping, ``coded_width`` and
    ``coded_height`` what a decoder allocates, before it; all in luma samples. ``chroma`` is a ``chroma_format_idc``
    (1: 4:2:0, 3: 4:4:4), ``depth`` the bits per sample, ``references`` how many pictures a decoder keeps besides the
    current one.

    ``sample_aspect`` is the width and height of a sample, which need not be square. ``frame_rate`` is in pictures per
    second, 0 if the bitstream does not tell it. With ``may_be_interlaced`` a picture may consist of two fields.
    """

    width: int
    height: int
    coded_width: int
    coded_height: int
    chroma: int = 1
    depth: int = 8
    references: int = 8
    sample_aspect: tuple[int, int] = (1, 1)
    colour: Colour = UNTOLD
    frame_rate: float = 0.0
    may_be_interlaced: bool = False

    @property
    def shown_width(self) -> int:
        """The width at which a player shows ``height`` lines, in square pixels."""
        across, down = self.sample_aspect
        return (2 * self.width * across + down) // (2 * down)

    @property
    def coded_pixels(self) -> int:
        return self.coded_width * self.coded_height

    def with_room_for(self, other: PictureFormat) -> PictureFormat:
        """The same format, with room in the decoder for ``other`` too, which may have another orientation."""
        larger = max(self, other, key=lambda pictures: pictures.coded_pixels)
        return evolve(
            self,
            coded_width=larger.coded_width,
            coded_height=larger.coded_height,
            chroma=max(self.chroma, other.chroma),
            depth=max(self.depth, other.depth),
            references=max(self.references, other.references),
        )


UNKNOWN = PictureFormat(0, 0, 0, 0)
"""The format of a track whose configuration record does not have it."""


def checked(pictures: PictureFormat) -> PictureFormat:
    """
    The same format, if it can be served.

    :raises MediaError: it is invalid.
    :raises OversizedPicture: a decoder would need too much memory for it.
    """
    width, height = pictures.coded_width, pictures.coded_height
    if pictures.width < 2 or pictures.height < 2 or pictures.chroma > 3:
        raise MediaError(f"a picture of {pictures.width}x{pictures.height} in chroma format {pictures.chroma}")
    if max(width, height) > MAX_WIDTH or min(width, height) > MAX_HEIGHT:
        size = f"{pictures.width}x{pictures.height}"
        coded = "" if (width, height) == (pictures.width, pictures.height) else f", coded as {width}x{height},"
        raise OversizedPicture(f"a picture of {size}{coded} cannot be served; {MAX_WIDTH}x{MAX_HEIGHT} at most")
    if pictures.depth > MAX_DEPTH:
        raise OversizedPicture(f"pictures of {pictures.depth} bits cannot be served; use 8 or 10, {MAX_DEPTH} at most")
    if pictures.references > MAX_REFERENCES:
        what = f"pictures with {pictures.references} reference frames"
        raise OversizedPicture(f"{what} cannot be served; {MAX_REFERENCES} at most")
    return pictures


@frozen
class AvcSequence:
    """
    What the slice headers of H.264 depend on (ITU-T H.264, 7.4.2.1.1): the ``number`` of the sequence parameter set,
    ``pic_order_cnt_type``, and the lengths of ``frame_num`` and of ``pic_order_cnt_lsb``.
    """

    number: int
    frame_number_bits: int
    order_type: int
    order_bits: int
    has_fixed_order: bool
    has_frames_only: bool


def avc_sequence(unit: bytes) -> AvcSequence:
    """
    Parse a sequence parameter set with its NAL header.

    :raises MediaError: it is malformed, or has colour planes of their own.
    """
    bits = BitReader(without_emulation(unit[1:PREFIX_BYTES]))
    profile = bits.bits(8)
    bits.bits(16)
    number = bits.ue()
    if profile in _HIGH_PROFILES and not _avc_samples(bits)[1]:
        raise MediaError("colour planes of their own")
    frame_number_bits = bits.ue() + 4
    order_type, order_bits, has_fixed_order = _avc_order_count(bits)
    bits.ue()
    bits.flag()
    bits.ue(), bits.ue()
    return AvcSequence(number, frame_number_bits, order_type, order_bits, has_fixed_order, bits.flag())


def avc_format(unit: bytes) -> PictureFormat:
    """Parse a sequence parameter set with its NAL header (ITU-T H.264, 7.3.2.1.1)."""
    bits = BitReader(without_emulation(unit[1:PREFIX_BYTES]))
    profile = bits.bits(8)
    bits.bits(16)
    bits.ue()
    chroma, planes, depth = _avc_samples(bits) if profile in _HIGH_PROFILES else (1, 1, 8)
    bits.ue()
    _avc_order_count(bits)
    references = bits.ue()
    bits.flag()
    width, height = (bits.ue() + 1) * 16, (bits.ue() + 1) * 16
    fields = 1 if bits.flag() else 2
    if fields == 2:
        bits.flag()
    bits.flag()
    displayed = _cropped(bits, width, height * fields, planes, fields)
    pictures = PictureFormat(*displayed, width, height * fields, chroma, depth, references)
    return _with_vui(pictures, read_or_default(lambda: avc_vui(bits, chroma)), may_be_interlaced=fields == 2)


def _with_vui(pictures: PictureFormat, vui: Vui, *, may_be_interlaced: bool) -> PictureFormat:
    if vui == NO_VUI and not may_be_interlaced:
        return pictures
    return evolve(
        pictures,
        sample_aspect=vui.sample_aspect,
        colour=vui.colour,
        frame_rate=vui.frame_rate,
        may_be_interlaced=may_be_interlaced or vui.has_fields,
    )


def _avc_samples(bits: BitReader) -> tuple[int, int, int]:
    """Parse what the high profiles add: the chroma format, that of the cropping units, and the bit depth."""
    chroma = planes = bits.ue()
    if chroma == 3 and bits.flag():
        planes = 0
    depth = 8 + max(bits.ue(), bits.ue())
    bits.flag()
    if bits.flag():
        for index in range(12 if chroma == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma, planes, depth


def _avc_order_count(bits: BitReader) -> tuple[int, int, bool]:
    """``pic_order_cnt_type``, the bits of ``pic_order_cnt_lsb``, and ``delta_pic_order_always_zero_flag``."""
    order, order_bits, is_fixed = bits.ue(), 0, False
    if order == 0:
        order_bits = bits.ue() + 4
    elif order == 1:
        is_fixed = bits.flag()
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 256)):
            bits.se()
    return order, order_bits, is_fixed


def _cropped(bits: BitReader, width: int, height: int, chroma: int, fields: int) -> tuple[int, int]:
    """The display size after the cropping that follows in ``bits``, which is in chroma samples."""
    if bits.flag():
        left, right, top, bottom = (bits.ue() for _ in range(4))
        width -= (left + right) * (2 if chroma in (1, 2) else 1)
        height -= (top + bottom) * (2 if chroma == 1 else 1) * fields
    return width, height


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def hevc_format(unit: bytes) -> PictureFormat:
    """Parse a sequence parameter set with its NAL header (ITU-T H.265, 7.3.2.2.1)."""
    bits = BitReader(without_emulation(unit[2:PREFIX_BYTES]))
    bits.bits(4)
    sub_layers = bits.bits(3)
    bits.flag()
    bits.bits(40)
    is_progressive, is_interlaced = bits.flag(), bits.flag()
    bits.bits(54)
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.bits(2 * (8 - sub_layers))
    for profile, level in present:
        bits.bits(88 * profile + 8 * level)
    bits.ue()
    chroma = planes = bits.ue()
    if chroma == 3 and bits.flag():
        planes = 0
    width, height = bits.ue(), bits.ue()
    displayed = _cropped(bits, width, height, planes, 1)
    depth = 8 + max(bits.ue(), bits.ue())
    order_bits = bits.ue() + 4
    references = 0
    for _ in range(sub_layers + 1 if bits.flag() else 1):
        references = max(references, bits.ue())
        bits.ue()
        bits.ue()
    pictures = PictureFormat(*displayed, width, height, chroma, depth, references)
    vui = read_or_default(lambda: hevc_vui(bits, chroma, min(order_bits, 16)))
    return _with_vui(pictures, vui, may_be_interlaced=is_interlaced and not is_progressive)


def av1_format(units: bytes) -> PictureFormat:
    """The largest pictures that a sequence header OBU allows (AV1 bitstream specification, 5.5.1)."""
    kind, has_extension, has_size = units[0] >> 3 & 15, units[0] >> 2 & 1, units[0] >> 1 & 1
    at = 1 + has_extension
    while has_size and units[at] & 0x80:
        at += 1
    bits = BitReader(units[at + has_size : at + PREFIX_BYTES])
    if kind != 1:
        raise MediaError("an AV1 configuration without a sequence header")
    profile = bits.bits(3)
    bits.flag()
    is_still = bits.flag()
    frame_rate = 0.0
    if is_still:
        bits.bits(5)
    else:
        frame_rate = _av1_operating_points(bits)
    width_bits, height_bits = bits.bits(4) + 1, bits.bits(4) + 1
    size = bits.bits(width_bits) + 1, bits.bits(height_bits) + 1
    pictures = PictureFormat(*size, *size, *_AV1_SAMPLES.get(profile, (3, 12)))
    colour = read_or_default(lambda: Vui(colour=_av1_colour(bits, profile, is_still=is_still))).colour
    return evolve(pictures, colour=colour, frame_rate=frame_rate)


def _av1_colour(bits: BitReader, profile: int, *, is_still: bool) -> Colour:
    """Parse a sequence header from behind its size up to the range of its colours (5.5.1 and 5.5.2)."""
    if not is_still and bits.flag():
        bits.bits(7)
    bits.bits(3)
    if not is_still:
        bits.bits(4)
        has_order = bits.flag()
        bits.bits(2 * has_order)
        if (bits.flag() or bits.flag()) and not bits.flag():
            bits.flag()
        bits.bits(3 * has_order)
    bits.bits(3)
    if bits.flag() and profile == 2:
        bits.flag()
    is_monochrome = profile != 1 and bits.flag()
    points = (bits.bits(8), bits.bits(8), bits.bits(8)) if bits.flag() else (UNSPECIFIED,) * 3
    is_rgb = points == _SRGB and not is_monochrome
    return colour_of(*points, is_full_range=is_rgb or bits.flag(), is_subsampled=profile == 0)


def _av1_operating_points(bits: BitReader) -> float:
    """Skip the timing and the operating points (5.5.1); return the frame rate, 0 if it is not told."""
    decoder_model, delay_bits = False, 0
    frame_rate = 0.0
    if bits.flag():
        ticks, time_scale = bits.bits(32), bits.bits(32)
        if bits.flag():
            frame_rate = frame_rate_of(time_scale, ticks * (bits.ue() + 1))
        decoder_model = bits.flag()
        if decoder_model:
            delay_bits = bits.bits(5) + 1
            bits.bits(42)
    initial_delay = bits.flag()
    for _ in range(bits.bits(5) + 1):
        bits.bits(12)
        if bits.bits(5) > 7:
            bits.flag()
        if decoder_model and bits.flag():
            bits.bits(2 * delay_bits + 1)
        if initial_delay and bits.flag():
            bits.bits(4)
    return frame_rate


def vp9_format(picture: bytes) -> PictureFormat | None:
    """Parse the header of a key frame (VP9 bitstream specification, 6.2); ``None`` for any other frame."""
    bits = BitReader(picture[:24])
    if bits.bits(2) != 2:
        raise MediaError("a VP9 picture without its marker")
    profile = bits.bits(1) | bits.bits(1) << 1
    if profile == 3:
        bits.flag()
    shows_existing, is_inter = bits.flag(), bits.flag()
    bits.bits(2)
    if shows_existing or is_inter:
        return None
    if bits.bits(24) != 0x498342:
        raise MediaError("a VP9 key frame without its marker")
    if profile >= 2:
        bits.flag()
    space = bits.bits(3)
    is_rgb = space == 7
    is_full_range = is_rgb or bits.flag()
    bits.bits(0 if profile in (0, 2) else 1 if is_rgb else 3)
    size = bits.bits(16) + 1, bits.bits(16) + 1
    chroma = 1 if profile in (0, 2) else 3
    points = (UNSPECIFIED, UNSPECIFIED, _VP9_MATRICES[space])
    colour = colour_of(*points, is_full_range=is_full_range, is_subsampled=chroma == 1)
    return PictureFormat(*size, *size, chroma, 8 if profile < 2 else 12, colour=colour)
