"""Decoders for untrusted media, which refuse pictures larger than can be served."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

import av
from attrs import define, field
from av.audio.codeccontext import AudioCodecContext
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from livestream.media.codecs import VideoConfig, parse_config
from livestream.media.errors import MediaError, OversizedPicture
from livestream.media.other_audio import parse_other_audio
from livestream.media.parameter_sets import ParameterSets
from livestream.media.pictures import UNKNOWN, PictureFormat
from livestream.model.frames import Codec, Frame

MILLISECONDS = Fraction(1, 1000)
ALIGNMENT = 128
"""A decoder may align the sides of a picture to this many pixels."""
_DECODERS = {Codec.H264: "h264", Codec.HEVC: "hevc", Codec.AV1: "libdav1d", Codec.VP9: "vp9", Codec.OPUS: "opus"}
_WITHOUT_EXTRADATA = (Codec.VP9,)
_OTHER_AUDIO = {
    "aac": "aac", "mp3": "mp3float", "ac3": "ac3", "eac3": "eac3", "flac": "flac", "pcm_alaw": "pcm_alaw",
    "pcm_mulaw": "pcm_mulaw", "pcm_u8": "pcm_u8", "pcm_s16le": "pcm_s16le", "adpcm_swf": "adpcm_swf",
    "nellymoser": "nellymoser", "speex": "speex",
}  # fmt: skip
"""The decoders of `livestream.media.other_audio.OtherAudio`."""
Decoder = TypeVar("Decoder", VideoCodecContext, AudioCodecContext)


@define(eq=False)
class VideoDecoder:
    """
    Decodes video of one configuration, and of those announced within the stream.

    ``grant`` is called with the format of what follows before libavcodec allocates memory for it. libavcodec's own
    limit, ``max_pixels``, applies to the display size; the coded size of cropped H.264 and HEVC pictures is read from
    the parameter sets.
    """

    config: Frame
    grant: Callable[[PictureFormat], None]
    context: VideoCodecContext | None = field(default=None, init=False)
    _room: PictureFormat = field(default=UNKNOWN, init=False)
    _sets: ParameterSets = field(factory=ParameterSets, init=False)

    def decode(self, frame: Frame) -> list[VideoFrame]:
        """
        Decode a frame, and return the pictures that come out.

        :raises OversizedPicture: a picture is larger than can be served; the next frame opens a new decoder.
        :raises MediaError: the frame, or the configuration, is malformed.
        :raises FFmpegError: it cannot be decoded.
        """
        try:
            pictures = self._make_room(self._sets.anywhere(frame))
            if self.context is None:
                return pictures
            packet = Packet(bytes(frame.data))
            packet.pts, packet.dts, packet.time_base = frame.pts_ms, frame.dts_ms, MILLISECONDS
            pictures += self.context.decode(packet)
            self._check_size()
        except OversizedPicture:
            self.context, self._room = None, UNKNOWN
            raise
        except FFmpegError:
            if frame.is_key:
                self.context = None  # some decoders accept nothing more after they were given too much
            raise
        return pictures

    def flush(self) -> list[VideoFrame]:
        """Drain the decoder. Call :meth:`reset` afterwards."""
        return [] if self.context is None else self.context.decode(None)

    def reset(self) -> None:
        """Open a new decoder for what follows."""
        self.context = None

    def _make_room(self, announced: PictureFormat | None) -> list[VideoFrame]:
        """Open a decoder that has room for what was announced; return what the previous one still held."""
        if self._room is UNKNOWN:
            config = parse_config(self.config)
            self._room = config.pictures if isinstance(config, VideoConfig) else UNKNOWN
        room = self._room if announced is None else self._room.with_room_for(announced)
        pictures: list[VideoFrame] = []
        if room != self._room:
            pictures = self.flush()
            self.context, self._room = None, room
        if self.context is None and room != UNKNOWN:
            self.grant(room)
            self.context = open_decoder(self.config, VideoCodecContext, {"max_pixels": str(_max_pixels(room))})
        return pictures

    def _check_size(self) -> None:
        """Check the size that libavcodec has found itself."""
        context = self.context
        if context is not None:
            width = max(context.coded_width, context.width)
            height = max(context.coded_height, context.height)
            if width * height > _max_pixels(self._room):
                raise OversizedPicture(
                    f"a picture coded as {width}x{height}, which was not announced, cannot be served"
                )


def _max_pixels(room: PictureFormat) -> int:
    width, height = (-(-side // ALIGNMENT) * ALIGNMENT for side in (room.coded_width, room.coded_height))
    return width * height


def open_decoder(config: Frame, kind: type[Decoder], options: dict[str, str] | None = None) -> Decoder:
    """A decoder with one thread: other broadcasts use the other cores."""
    decoder = av.CodecContext.create(_DECODERS[config.codec], "r")
    assert isinstance(decoder, kind)
    if config.codec not in _WITHOUT_EXTRADATA:
        decoder.extradata = bytes(config.data)
    decoder.thread_count = 1
    decoder.options = options or {}
    return decoder


def open_audio_decoder(config: Frame) -> AudioCodecContext:
    """
    A decoder for audio of any codec.

    :raises MediaError: there is none for it.
    """
    if config.codec is not Codec.OTHER_AUDIO:
        return open_decoder(config, AudioCodecContext)
    audio = parse_other_audio(config)
    if audio.name not in _OTHER_AUDIO:
        raise MediaError(f"audio {audio.name!r} cannot be decoded")
    decoder = av.CodecContext.create(_OTHER_AUDIO[audio.name], "r")
    assert isinstance(decoder, AudioCodecContext)
    if audio.sample_rate:
        decoder.sample_rate = audio.sample_rate
    if audio.channels:
        decoder.layout = "mono" if audio.channels == 1 else "stereo"
    if audio.record:
        decoder.extradata = audio.record
    decoder.thread_count = 1
    return decoder
