"""Decoder configuration records: a track's parameters, as playlists and MP4 headers need them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import evolve, frozen

from livestream.media.bits import BitReader
from livestream.media.errors import MediaError, NotCarried, UnsupportedLayout
from livestream.media.parameter_sets import is_avc_set, is_hevc_set
from livestream.media.pictures import UNKNOWN, PictureFormat, av1_format, avc_format, checked, hevc_format, vp9_format
from livestream.media.vui import Colour, colour_of
from livestream.model.frames import Codec, Frame

MAX_SETS = 32
"""Their ids are 0 to 31 (ITU-T H.264, 7.4.2.1.1); HEVC has fewer."""
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_LAYOUTS = {"s": 1, "c": 2, "sc": 3, "scs": 4, "scc": 5, "sccl": 6, "scccl": 7}
"""Channel configurations by their elements (ISO/IEC 14496-3, table 1.19)."""
_AAC_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8}


@frozen
class VideoConfig:
    """
    A video track. ``codec_string`` is its RFC 6381 name; ``width`` and ``height`` are those of its pictures in samples,
    ``shown_width`` and ``shown_height`` in square pixels, as a player shows them.

    If the record has several parameter sets, the first determines the format, and ``pictures`` has room for all.
    """

    codec: Codec
    record: bytes
    codec_string: str
    pictures: PictureFormat

    @property
    def width(self) -> int:
        return self.pictures.width

    @property
    def height(self) -> int:
        return self.pictures.height

    @property
    def shown_width(self) -> int:
        return self.pictures.shown_width

    @property
    def shown_height(self) -> int:
        return self.pictures.height

    @property
    def colour(self) -> Colour:
        return self.pictures.colour


@frozen
class AudioConfig:
    """An audio track. ``samples_per_frame``, at ``sample_rate``, is the usual result of :func:`samples_in`."""

    codec: Codec
    record: bytes
    codec_string: str
    sample_rate: int
    channels: int
    samples_per_frame: int


def parse_config(frame: Frame) -> VideoConfig | AudioConfig:
    """
    Read the configuration record that ``frame`` carries.

    :raises MediaError: the record is truncated or inconsistent.
    :raises OversizedPicture: it is valid, but larger than what is served.
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
    units = _avc_units(record)
    first = units[0]
    if not is_avc_set(first):
        raise MediaError("an AVC configuration with an invalid sequence parameter set")
    pictures = _with_room_for_all(avc_format(unit) for unit in units if is_avc_set(unit))
    return VideoConfig(Codec.H264, record, f"avc1.{first[1:4].hex()}", pictures)


def _avc_units(record: bytes) -> list[bytes]:
    at, units = 5, []
    for mask in (31, 255):
        count, at = record[at] & mask, at + 1
        for _ in range(count):
            size, at = int.from_bytes(record[at : at + 2], "big"), at + 2
            units.append(record[at : at + size])
            at += size
        if not count or at > len(record):
            raise MediaError("an AVC configuration without complete parameter sets")
    return units


def avc_sets(record: bytes, kind: int) -> list[bytes]:
    """The parameter sets of an AVC configuration that was parsed before, of one NAL unit type."""
    return [unit for unit in _avc_units(record) if unit and unit[0] & 31 == kind]


def _hevc(record: bytes) -> VideoConfig:
    """ISO/IEC 14496-15, 8.3.3.1; the codec string by annex E.3."""
    if record[0] != 1 or record[21] & 3 != 3:
        raise MediaError("an HEVC configuration of an unknown version, or with NAL lengths of other than four bytes")
    space = ("", "A", "B", "C")[record[1] >> 6]
    tier = "H" if record[1] & 0x20 else "L"
    compatibility = int(f"{int.from_bytes(record[2:6], 'big'):032b}"[::-1], 2)
    constraints = record[6:12].rstrip(b"\x00")
    name = f"hvc1.{space}{record[1] & 31}.{compatibility:X}.{tier}{record[12]}"
    name += "".join(f".{byte:X}" for byte in constraints)
    pictures = _with_room_for_all(hevc_format(unit) for unit in _hevc_units(record) if is_hevc_set(unit))
    return VideoConfig(Codec.HEVC, record, name, pictures)


def _hevc_units(record: bytes) -> Iterator[bytes]:
    at = 23
    for _ in range(record[22]):
        count, at = int.from_bytes(record[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            size, at = int.from_bytes(record[at : at + 2], "big"), at + 2
            if at + size > len(record) or size < 2:
                raise MediaError("an HEVC configuration is cut short")
            yield record[at : at + size]
            at += size


def _with_room_for_all(formats: Iterable[PictureFormat]) -> PictureFormat:
    """The first format, with room in the decoder for all others."""
    found: PictureFormat | None = None
    for number, pictures in enumerate(formats):
        if number == MAX_SETS:
            raise MediaError(f"a configuration with more than {MAX_SETS} sequence parameter sets")
        found = checked(pictures) if found is None else found.with_room_for(checked(pictures))
    if found is None:
        raise MediaError("a configuration without a sequence parameter set")
    return found


def _av1(record: bytes) -> VideoConfig:
    """AV1 Codec ISO Media File Format Binding, 2.3 and 5."""
    if record[0] != 0x81:
        raise MediaError("an AV1 configuration of an unknown version")
    profile, level = record[1] >> 5, record[1] & 31
    tier = "H" if record[2] & 0x80 else "M"
    depth = 8 if not record[2] & 0x40 else 12 if record[2] & 0x20 else 10
    name = f"av01.{profile}.{level:02d}{tier}.{depth:02d}"
    return VideoConfig(Codec.AV1, record, name, checked(av1_format(record[4:])))


def _vp9(record: bytes) -> VideoConfig:
    """VP Codec ISO Media File Format Binding. The record has no size: :func:`sized` reads it from a key frame."""
    profile, level, depth = record[4], record[5], record[6] >> 4
    if profile > 3 or level > 62 or depth not in (8, 10, 12):
        raise MediaError(f"a VP9 configuration of profile {profile}, level {level} and {depth} bits")
    points = (record[7], record[8], record[9])
    colour = colour_of(*points, is_full_range=bool(record[6] & 1), is_subsampled=profile in (0, 2))
    name = f"vp09.{profile:02d}.{level:02d}.{depth:02d}"
    return VideoConfig(Codec.VP9, record, name, evolve(UNKNOWN, colour=colour))


def sized(config: VideoConfig, picture: Frame) -> VideoConfig:
    """
    The same configuration with the size read from a key frame, if the record does not have it.

    :raises MediaError: the key frame is malformed.
    :raises OversizedPicture: it is larger than what is served.
    """
    if config.codec is not Codec.VP9 or not picture.is_key:
        return config
    pictures = vp9_format(bytes(picture.data[:24]))
    if pictures is None:
        return config
    colour = config.colour if config.colour.is_told else pictures.colour
    return evolve(config, pictures=evolve(checked(pictures), colour=colour))


def _aac(record: bytes) -> AudioConfig:
    """ISO/IEC 14496-3, 1.6.2.1. The rate of an HE-AAC stream is that of its core, in which frames are counted."""
    bits = BitReader(record)
    kind, rate = _aac_type(bits), _aac_rate(bits)
    channels = _AAC_CHANNELS.get(bits.bits(4))
    if channels is None:
        raise UnsupportedLayout("AAC with a custom channel layout cannot be served; use mono, stereo or 5.1")
    name = f"mp4a.40.{kind}"
    if kind in (5, 29):
        _aac_rate(bits)
        kind = _aac_type(bits)
    if kind not in (1, 2, 3, 4):
        raise NotCarried(f"MPEG-4 audio of type {kind} cannot be served; use AAC-LC or HE-AAC")
    samples = 960 if bits.flag() else 1024
    return AudioConfig(Codec.AAC, record, name, rate, channels, samples)


def with_standard_layout(record: bytes) -> bytes:
    """
    An AudioSpecificConfig with the channel configuration that has the elements of its program config element.

    Players need one, and the frames are the same. A record without such an element, or with others than any channel
    configuration has, is returned as it is.

    :raises MediaError: it is malformed.
    """
    bits = BitReader(record)
    kind, rate = _aac_type(bits), _aac_rate(bits)
    if bits.bits(4) or kind not in (1, 2, 3, 4) or rate not in _AAC_RATES:
        return record
    has_short_frames = bits.flag()
    if bits.flag():
        bits.bits(14)
    bits.flag()
    layout = _LAYOUTS.get(_program_elements(bits))
    if layout is None:
        return record
    short = (kind << 11 | _AAC_RATES.index(rate) << 7 | layout << 3 | has_short_frames << 2) & 0xFFFF
    return short.to_bytes(2, "big")


def _program_elements(bits: BitReader) -> str:
    """The channel elements of a program config element, in order (ISO/IEC 14496-3, 4.4.1.1): s, c (a pair), l (LFE)."""
    bits.bits(4 + 2 + 4)
    front, side, back, lfe, data, coupled = (bits.bits(width) for width in (4, 4, 4, 2, 3, 4))
    for width in (4, 4, 3):
        if bits.flag():
            bits.bits(width)
    elements = ""
    for _ in range(front + side + back):
        elements += "c" if bits.flag() else "s"
        bits.bits(4)
    bits.bits(4 * lfe + 4 * data + 5 * coupled)
    return elements + "l" * lfe


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
    """An identification header (RFC 7845, 5.1). Samples are counted at 48 kHz whatever the input rate."""
    if not record.startswith(b"OpusHead") or len(record) < 19 or record[8] >> 4:
        raise MediaError("an Opus configuration that is no identification header")
    channels, family = record[9], record[18]
    if not 1 <= channels <= (8 if family else 2) or (family and len(record) < 21 + channels):
        raise MediaError(f"an Opus configuration with {channels} channels in mapping family {family}")
    return AudioConfig(Codec.OPUS, record, "Opus", 48000, channels, 960)


def _other_audio(record: bytes) -> AudioConfig:
    raise MediaError("audio that is converted before it is carried")


def samples_in(config: AudioConfig, data: memoryview) -> int:
    """The duration of a frame in samples. In Opus, each packet has its own (RFC 6716, 3.1 and 3.2)."""
    if config.codec is not Codec.OPUS:
        return config.samples_per_frame
    mode, code = data[0] >> 3, data[0] & 3
    if mode >= 16:
        samples = 120 << (mode & 3)
    elif mode >= 12:
        samples = 480 << (mode & 1)
    else:
        samples = (480, 960, 1920, 2880)[mode & 3]
    count = (1, 2, 2)[code] if code < 3 else data[1] & 63 if len(data) > 1 else 1
    return min(samples * max(count, 1), 5760)


_PARSERS: dict[Codec, Callable[[bytes], VideoConfig | AudioConfig]] = {
    Codec.H264: _avc,
    Codec.HEVC: _hevc,
    Codec.AV1: _av1,
    Codec.VP9: _vp9,
    Codec.AAC: _aac,
    Codec.OPUS: _opus,
    Codec.OTHER_AUDIO: _other_audio,
}
