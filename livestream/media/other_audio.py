"""Audio that HLS cannot carry, of which a transcoder makes AAC: what a decoder has to know of it."""

from __future__ import annotations

import struct

from attrs import frozen

from livestream.media.errors import MediaError
from livestream.media.flv import MAX_RECORD_BYTES
from livestream.model.frames import Codec, Frame

_RATES = (5_512, 11_025, 22_050, 44_100)
_LEGACY = {1: "adpcm_swf", 2: "mp3", 4: "nellymoser", 5: "nellymoser", 6: "nellymoser", 7: "pcm_alaw", 8: "pcm_mulaw",
           11: "speex", 14: "mp3"}  # fmt: skip
_FIXED_RATES = {4: 16_000, 5: 8_000, 7: 8_000, 8: 8_000, 11: 16_000, 14: 8_000}
_PCM = (0, 3)
_16_BITS, _STEREO = 2, 1
_FOURCC = {b".mp3": "mp3", b"ac-3": "ac3", b"ec-3": "eac3", b"fLaC": "flac"}
_ENHANCED_CONFIG, _ENHANCED_FRAMES = 0x90, 0x91
_HEAD = struct.Struct(">BIB")


@frozen
class OtherAudio:
    """
    A format by its usual name, with its sample rate in Hz and number of channels, and a decoder's configuration record.

    Where the frames have the rate and the channels themselves, these are the encoder's claim, or 0.
    """

    name: str
    sample_rate: int = 0
    channels: int = 0
    record: bytes = b""

    def config(self) -> Frame:
        """The frame that carries this."""
        name = self.name.encode("ascii")
        body = _HEAD.pack(len(name), self.sample_rate, self.channels) + name + self.record
        return Frame(Codec.OTHER_AUDIO, 0, body, 0, is_key=True, is_config=True)


def parse_other_audio(config: Frame) -> OtherAudio:
    """
    What the frame of :meth:`OtherAudio.config` carries.

    :raises MediaError: it is malformed.
    """
    body = config.body
    try:
        size, rate, channels = _HEAD.unpack_from(body)
        name = body[_HEAD.size : _HEAD.size + size].decode("ascii")
    except (struct.error, UnicodeDecodeError) as error:
        raise MediaError(f"a description of audio that is malformed: {error}") from error
    return OtherAudio(name, rate, channels, body[_HEAD.size + size :])


def other_audio(body: bytes, arrived: float = 0.0) -> tuple[OtherAudio, Frame | None] | None:
    """
    The format of an audio tag, and its frame, or ``None`` for a tag that is only the configuration; ``None`` in all if
    the format is unknown. See "Video File Format Specification 10.1", E.4.2.1 and "Enhanced RTMP (v2)".
    """
    if len(body) < 2:
        return None
    if body[0] in (_ENHANCED_CONFIG, _ENHANCED_FRAMES):
        name = _FOURCC.get(body[1:5])
        if name is None or len(body) <= 5:
            return None
        if body[0] == _ENHANCED_CONFIG and len(body) > MAX_RECORD_BYTES:
            return None
        if body[0] == _ENHANCED_CONFIG:
            return OtherAudio(name, record=body[5:]), None
        return OtherAudio(name), _frame(body, 5, arrived)
    kind, head = body[0] >> 4, body[0]
    name = ("pcm_s16le" if head & _16_BITS else "pcm_u8") if kind in _PCM else _LEGACY.get(kind)
    if name is None:
        return None
    channels = 2 if head & _STEREO and kind not in (4, 5, 11) else 1
    return OtherAudio(name, _FIXED_RATES.get(kind, _RATES[head >> 2 & 3]), channels), _frame(body, 1, arrived)


def _frame(body: bytes, at: int, arrived: float) -> Frame:
    return Frame(Codec.OTHER_AUDIO, 0, body, at, is_key=True, arrived=arrived)
