"""Frames of silence, which take the place of audio that is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from attrs import define, field, frozen

from livestream.media.codecs import AudioConfig
from livestream.model.frames import Codec, Frame

_SCE, _CPE, _LFE, _END = 0, 1, 3, 7
"""The elements of a raw data block (ISO/IEC 14496-3, table 4.85)."""
_ELEMENTS = {
    1: (_SCE,),
    2: (_CPE,),
    3: (_SCE, _CPE),
    4: (_SCE, _CPE, _SCE),
    5: (_SCE, _CPE, _CPE),
    6: (_SCE, _CPE, _CPE, _LFE),
    8: (_SCE, _CPE, _CPE, _CPE, _LFE),
}
"""Those of each channel configuration, by its number of channels (table 1.19)."""
_GAIN = 140
_OPUS_TOC = 0xF8
"""CELT, full band, 20 ms, one frame per packet (RFC 6716, 3.1)."""
_OPUS_SILENCE = b"\xff\xfe"
_OPUS_SAMPLES = 960


@frozen
class Silence:
    """A frame of silence of ``samples`` at the track's rate. Its time is to be set."""

    frame: Frame
    samples: int


@lru_cache(32)
def silent_frame(config: AudioConfig) -> Silence | None:
    """One frame of silence of a track; ``None`` if none can be made for its codec or channel layout."""
    if config.codec is Codec.OPUS:
        return Silence(_frame(Codec.OPUS, b"\x91Opus", _opus(config.record)), _OPUS_SAMPLES)
    elements = _ELEMENTS.get(config.channels)
    if elements is None:
        return None
    return Silence(_frame(Codec.AAC, b"\xaf\x01", _aac(elements)), config.samples_per_frame)


def _frame(codec: Codec, head: bytes, data: bytes) -> Frame:
    return Frame(codec, 0, head + data, len(head), is_key=True)


@define(eq=False)
class _BitWriter:
    _value: int = field(default=1, init=False)

    def put(self, *fields: tuple[int, int]) -> None:
        """Write fields, each a number and its width in bits."""
        for number, width in fields:
            self._value = self._value << width | number

    def data(self) -> bytes:
        """The bits, padded with zeros to whole bytes."""
        size = self._value.bit_length() - 1
        padding = -size % 8
        return (self._value << padding).to_bytes((size + padding) // 8 + 1, "big")[1:]


def _aac(elements: Iterable[int]) -> bytes:
    """A raw data block without any spectral data (ISO/IEC 14496-3, 4.4.2.1): the decoder makes zeros of it."""
    bits = _BitWriter()
    tags = dict.fromkeys((_SCE, _CPE, _LFE), 0)
    for element in elements:
        bits.put((element, 3), (tags[element], 4))
        tags[element] += 1
        if element == _CPE:
            bits.put((0, 1))  # each channel has its own window
        for _ in range(2 if element == _CPE else 1):
            _silent_channel(bits)
    bits.put((_END, 3))
    return bits.data()


def _silent_channel(bits: _BitWriter) -> None:
    """An individual channel stream (4.4.2.7) with a long window and no scale factor bands."""
    bits.put((_GAIN, 8), (0, 1), (0, 2), (0, 1), (0, 6), (0, 1))
    bits.put((0, 1), (0, 1), (0, 1))  # neither pulses, nor temporal noise shaping, nor gain control


def _opus(head: bytes) -> bytes:
    """A packet with one frame of silence in each stream; all but the last delimit themselves (RFC 6716, B)."""
    family, channels = head[18], head[9]
    streams, coupled = (1, channels - 1) if family == 0 else (head[19], head[20])
    packets = _opus_streams(streams, coupled)
    return b"".join([packet[:1] + bytes([len(packet) - 1]) + packet[1:] for packet in packets[:-1]]) + packets[-1]


def _opus_streams(streams: int, coupled: int) -> Sequence[bytes]:
    return [bytes([_OPUS_TOC | (4 if number < coupled else 0)]) + _OPUS_SILENCE for number in range(max(streams, 1))]
