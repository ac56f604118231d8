"""The size of a stream's pictures in pixels, out of each codec's own headers."""

from __future__ import annotations

from livestream.media.bits import BitReader, without_emulation
from livestream.media.errors import MediaError

LONGEST_BYTES = 1024
"""No parameter set says its size later than this; a stranger's may be long, and slow to read."""

_HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


def avc_size(unit: bytes) -> tuple[int, int]:
    """Of a sequence parameter set, with its NAL header (ITU-T H.264, 7.3.2.1.1): the size that is shown."""
    bits = BitReader(without_emulation(unit[1:LONGEST_BYTES]))
    profile = bits.bits(8)
    bits.bits(16)
    bits.ue()
    chroma = _skip_avc_high_profile(bits) if profile in _HIGH_PROFILES else 1
    bits.ue()
    _skip_avc_order_count(bits)
    bits.ue()
    bits.flag()
    width, height = (bits.ue() + 1) * 16, (bits.ue() + 1) * 16
    fields = 1 if bits.flag() else 2
    if fields == 2:
        bits.flag()
    bits.flag()
    return _cropped(bits, width, height * fields, chroma, fields)


def _skip_avc_high_profile(bits: BitReader) -> int:
    """Pass over what the high profiles add; the chroma format by which a crop is counted."""
    chroma = bits.ue()
    if chroma == 3 and bits.flag():
        chroma = 0
    bits.ue()
    bits.ue()
    bits.flag()
    if bits.flag():
        for index in range(12 if chroma == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma


def _skip_avc_order_count(bits: BitReader) -> None:
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.flag()
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 256)):
            bits.se()


def _cropped(bits: BitReader, width: int, height: int, chroma: int, fields: int) -> tuple[int, int]:
    """What is left of a size after the crop that follows in ``bits``, counted in samples of chroma."""
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


def hevc_size(unit: bytes) -> tuple[int, int]:
    """Of a sequence parameter set, with its NAL header (ITU-T H.265, 7.3.2.2.1): the size that is shown."""
    bits = BitReader(without_emulation(unit[2:LONGEST_BYTES]))
    bits.bits(4)
    sub_layers = bits.bits(3)
    bits.flag()
    bits.bits(88)
    bits.bits(8)
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.bits(2 * (8 - sub_layers))
    for profile, level in present:
        bits.bits(88 * profile + 8 * level)
    bits.ue()
    chroma = bits.ue()
    if chroma == 3 and bits.flag():
        chroma = 0
    width, height = bits.ue(), bits.ue()
    return _cropped(bits, width, height, chroma, 1)


def av1_size(units: bytes) -> tuple[int, int]:
    """The largest picture that the sequence header OBU allows (AV1 bitstream specification, 5.5.1)."""
    kind, has_extension, has_size = units[0] >> 3 & 15, units[0] >> 2 & 1, units[0] >> 1 & 1
    at = 1 + has_extension
    while has_size and units[at] & 0x80:
        at += 1
    bits = BitReader(units[at + has_size : at + LONGEST_BYTES])
    if kind != 1:
        raise MediaError("an AV1 configuration without a sequence header")
    bits.bits(4)
    if bits.flag():
        bits.bits(5)
    else:
        _skip_av1_operating_points(bits)
    width_bits, height_bits = bits.bits(4) + 1, bits.bits(4) + 1
    return bits.bits(width_bits) + 1, bits.bits(height_bits) + 1


def _skip_av1_operating_points(bits: BitReader) -> None:
    decoder_model, delay_bits = False, 0
    if bits.flag():
        bits.bits(64)
        if bits.flag():
            bits.ue()
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


def vp9_size(picture: bytes) -> tuple[int, int] | None:
    """VP9 bitstream specification, 6.2: the size that a key frame begins with; ``None`` for any other frame."""
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
    is_rgb = bits.bits(3) == 7
    bits.bits((0 if is_rgb else 1) + (0 if profile in (0, 2) else 1 if is_rgb else 3))
    return bits.bits(16) + 1, bits.bits(16) + 1
