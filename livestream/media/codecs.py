"""Decoder configuration records: what a track is, as a playlist and an MP4 header name it."""

from __future__ import annotations

from attrs import frozen

from livestream.media.bits import BitReader, without_emulation
from livestream.media.errors import MediaError, UnsupportedCodec
from livestream.model import Codec, Frame

MAX_WIDTH, MAX_HEIGHT = 4096, 2304
"""No larger picture is accepted: a small record could make a decoder ask for gigabytes."""

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8}
_HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


@frozen
class VideoConfig:
    """A video track. ``codec_string`` is its RFC 6381 name; sizes are of the picture that is shown, in pixels."""

    codec: Codec
    record: bytes
    codec_string: str
    width: int
    height: int


@frozen
class AudioConfig:
    """An audio track. ``samples_per_frame`` is the duration of every frame, at ``sample_rate`` samples a second."""

    codec: Codec
    record: bytes
    codec_string: str
    sample_rate: int
    channels: int
    samples_per_frame: int


def parse_config(frame: Frame) -> VideoConfig | AudioConfig:
    """
    Read the configuration record that ``frame`` carries.

    :raises MediaError: the record is cut short or does not make sense.
    :raises UnsupportedCodec: it is sound, and asks for more than is served.
    """
    record = bytes(frame.data)
    try:
        return _PARSERS[frame.codec](record)
    except IndexError:
        raise MediaError(f"a {frame.codec.value} configuration of {len(record)} bytes is cut short") from None


def _avc(record: bytes) -> VideoConfig:
    """ISO/IEC 14496-15, 5.3.3.1."""
    if record[0] != 1 or record[4] & 3 != 3:
        raise MediaError("an AVC configuration of an unknown version, or with NAL lengths of other than four bytes")
    if record[5] & 31 == 0:
        raise MediaError("an AVC configuration without a sequence parameter set")
    size = int.from_bytes(record[6:8], "big")
    unit = record[8 : 8 + size]
    if len(unit) < max(size, 4) or unit[0] & 31 != 7:
        raise MediaError("an AVC configuration whose sequence parameter set is cut short")
    width, height = _avc_size(BitReader(without_emulation(unit[1:])))
    return VideoConfig(Codec.H264, record, f"avc1.{unit[1:4].hex()}", *_sane(width, height))


def _avc_size(bits: BitReader) -> tuple[int, int]:
    """ITU-T H.264, 7.3.2.1.1: the size of the picture that is shown."""
    profile = bits.bits(8)
    bits.bits(16)
    bits.ue()
    chroma, separate = 1, False
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        separate = chroma == 3 and bits.flag()
        bits.ue()
        bits.ue()
        bits.flag()
        if bits.flag():
            for index in range(8 if chroma != 3 else 12):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.flag()
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 256)):
            bits.se()
    bits.ue()
    bits.flag()
    width = (bits.ue() + 1) * 16
    height_units = bits.ue() + 1
    frames_only = bits.flag()
    height = height_units * 16 * (1 if frames_only else 2)
    if not frames_only:
        bits.flag()
    bits.flag()
    if bits.flag():
        left, right, top, bottom = (bits.ue() for _ in range(4))
        unit_x = 2 if chroma in (1, 2) and not separate else 1
        unit_y = (2 if chroma == 1 and not separate else 1) * (1 if frames_only else 2)
        width -= (left + right) * unit_x
        height -= (top + bottom) * unit_y
    return width, height


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _hevc(record: bytes) -> VideoConfig:
    """ISO/IEC 14496-15, 8.3.3.1; the codec's name by annex E.3."""
    if record[0] != 1 or record[21] & 3 != 3:
        raise MediaError("an HEVC configuration of an unknown version, or with NAL lengths of other than four bytes")
    space = ("", "A", "B", "C")[record[1] >> 6]
    tier = "H" if record[1] & 0x20 else "L"
    compatibility = int(f"{int.from_bytes(record[2:6], 'big'):032b}"[::-1], 2)
    constraints = record[6:12].rstrip(b"\x00")
    name = f"hvc1.{space}{record[1] & 31}.{compatibility:X}.{tier}{record[12]}"
    name += "".join(f".{byte:X}" for byte in constraints)
    width, height = _hevc_size(BitReader(without_emulation(_hevc_sps(record))))
    return VideoConfig(Codec.HEVC, record, name, *_sane(width, height))


def _hevc_sps(record: bytes) -> bytes:
    at = 23
    for _ in range(record[22]):
        kind, count, at = record[at] & 63, int.from_bytes(record[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            size = int.from_bytes(record[at : at + 2], "big")
            if at + 2 + size > len(record) or size < 3:
                raise MediaError("an HEVC configuration is cut short")
            if kind == 33:
                return record[at + 4 : at + 2 + size]
            at += 2 + size
    raise MediaError("an HEVC configuration without a sequence parameter set")


def _hevc_size(bits: BitReader) -> tuple[int, int]:
    """ITU-T H.265, 7.3.2.2.1."""
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
    separate = chroma == 3 and bits.flag()
    width, height = bits.ue(), bits.ue()
    if bits.flag():
        left, right, top, bottom = (bits.ue() for _ in range(4))
        width -= (left + right) * (2 if chroma in (1, 2) and not separate else 1)
        height -= (top + bottom) * (2 if chroma == 1 and not separate else 1)
    return width, height


def _av1(record: bytes) -> VideoConfig:
    """AV1 Codec ISO Media File Format Binding, 2.3 and 5."""
    if record[0] != 0x81:
        raise MediaError("an AV1 configuration of an unknown version")
    profile, level = record[1] >> 5, record[1] & 31
    tier = "H" if record[2] & 0x80 else "M"
    depth = 8 if not record[2] & 0x40 else 12 if record[2] & 0x20 else 10
    width, height = _av1_size(record[4:])
    return VideoConfig(Codec.AV1, record, f"av01.{profile}.{level:02d}{tier}.{depth:02d}", *_sane(width, height))


def _av1_size(units: bytes) -> tuple[int, int]:
    """The largest picture that the sequence header OBU allows (AV1 bitstream specification, 5.5.1)."""
    kind, has_extension, has_size = units[0] >> 3 & 15, units[0] >> 2 & 1, units[0] >> 1 & 1
    at = 1 + has_extension
    while has_size and units[at] & 0x80:
        at += 1
    bits = BitReader(units[at + has_size :])
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


def _vp9(record: bytes) -> VideoConfig:
    """VP Codec ISO Media File Format Binding. The record has no size: that is in the pictures."""
    profile, level, depth = record[4], record[5], record[6] >> 4
    return VideoConfig(Codec.VP9, record, f"vp09.{profile:02d}.{level:02d}.{depth:02d}", 0, 0)


def _aac(record: bytes) -> AudioConfig:
    """ISO/IEC 14496-3, 1.6.2.1. The rate of an HE-AAC stream is that of its core, which is what its frames count in."""
    bits = BitReader(record)
    kind, rate = _aac_type(bits), _aac_rate(bits)
    channels = _AAC_CHANNELS.get(bits.bits(4))
    if channels is None:
        raise UnsupportedCodec("AAC with a channel layout of its own cannot be served; use mono, stereo or 5.1")
    name = f"mp4a.40.{kind}"
    if kind in (5, 29):
        _aac_rate(bits)
        kind = _aac_type(bits)
    if kind not in (1, 2, 3, 4):
        raise UnsupportedCodec(f"MPEG-4 audio of type {kind} cannot be served; use AAC-LC or HE-AAC")
    samples = 960 if bits.flag() else 1024
    return AudioConfig(Codec.AAC, record, name, rate, channels, samples)


def _aac_type(bits: BitReader) -> int:
    kind = bits.bits(5)
    return kind if kind < 31 else 32 + bits.bits(6)


def _aac_rate(bits: BitReader) -> int:
    index = bits.bits(4)
    rate = bits.bits(24) if index == 15 else _AAC_RATES[index] if index < len(_AAC_RATES) else 0
    if not 7350 <= rate <= 96000:
        raise MediaError(f"an AAC configuration with a sample rate of {rate}")
    return rate


def _opus(record: bytes) -> AudioConfig:
    """An identification header (RFC 7845, 5.1). Frames count at 48 kHz whatever the input was."""
    if not record.startswith(b"OpusHead") or len(record) < 19 or record[8] >> 4:
        raise MediaError("an Opus configuration that is no identification header")
    if not 1 <= record[9] <= 8:
        raise MediaError(f"an Opus configuration with {record[9]} channels")
    return AudioConfig(Codec.OPUS, record, "Opus", 48000, record[9], 960)


def _sane(width: int, height: int) -> tuple[int, int]:
    if width < 2 or height < 2:
        raise MediaError(f"a picture of {width}x{height}")
    if max(width, height) > MAX_WIDTH or min(width, height) > MAX_HEIGHT:
        raise UnsupportedCodec(f"a picture of {width}x{height} cannot be served; {MAX_WIDTH}x{MAX_HEIGHT} at most")
    return width, height


_PARSERS = {
    Codec.H264: _avc,
    Codec.HEVC: _hevc,
    Codec.AV1: _av1,
    Codec.VP9: _vp9,
    Codec.AAC: _aac,
    Codec.OPUS: _opus,
}
