"""Transcodes a source: decodes video once and encodes it for every rung, and encodes audio as AAC."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

from attrs import define, field
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.context import Flags
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from livestream.media.annexb import to_length_prefixed
from livestream.media.errors import MediaError, OversizedPicture
from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.media.pictures import MAX_WIDTH, PictureFormat
from livestream.media.vui import UNTOLD, Colour
from livestream.model.frames import Frame
from livestream.model.names import SOURCE
from livestream.packaging.cuts import CUT_TOLERANCE_MS
from livestream.transcode.avc_record import avc_record
from livestream.transcode.commands import Produced, Refused
from livestream.transcode.decoding import MILLISECONDS, VideoDecoder, open_audio_decoder
from livestream.transcode.deinterlacing import Deinterlacer
from livestream.transcode.ladder import Rung
from livestream.transcode.scaling import Scaler, colour_of_picture

AUDIO = "audio"
USUAL_FPS = 30
AAC_RATE, AAC_SAMPLES, AAC_KBPS = 48_000, 1024, {"mono": 64, "stereo": 128}
MAX_DRIFT_MS = 150


@define(eq=False)
class RungEncoder:
    """Encodes one rung. The next smaller rung is scaled from its pictures."""

    rung: Rung
    preset: str
    _kbps: int = field(default=0, init=False)
    """The rate that the encoder was opened with."""
    _looks: tuple[int, int, Colour] = field(default=(0, 0, UNTOLD), init=False)
    """The size and colour that the encoder was opened with."""
    _encoder: VideoCodecContext | None = field(default=None, init=False)
    _scaler: Scaler = field(factory=Scaler, init=False)

    def scale(self, picture: VideoFrame, size: tuple[int, int]) -> VideoFrame:
        """
        Scale ``picture`` so that its shorter side is the rung's height. ``size`` is the source's, and that of the rung
        ``source``.

        :raises OversizedPicture: the result would be wider than any source.
        """
        if self.rung.name == SOURCE:
            width, height = (max(side // 2, 1) * 2 for side in size)
        else:
            width, height = (max(round(side * self.rung.height / min(size) / 2), 1) * 2 for side in size)
        if max(width, height) > MAX_WIDTH:
            raise OversizedPicture(f"a picture of {size[0]}x{size[1]} cannot be scaled to {self.rung.height} lines")
        return self._scaler.scale(picture, width, height)

    def encode(self, picture: VideoFrame, source: VideoCodecContext, is_key: bool, arrived: float) -> list[Produced]:
        """Encode a picture; the configuration precedes the first frame."""
        produced: list[Produced] = []
        looks = picture.width, picture.height, colour_of_picture(picture)
        if self._encoder is not None and (looks != self._looks or (is_key and self._kbps != self.rung.video_kbps)):
            produced.extend(self.flush())
        if self._encoder is None:
            self._encoder, self._looks = self._open(picture, source), looks
            record = avc_record(bytes(self._encoder.extradata or b""))
            produced.append(Produced(self.rung.name, avc_config(record, picture.pts or 0)))
        picture.pict_type = PictureType.I if is_key else PictureType.NONE
        for packet in self._encoder.encode(picture):
            produced.append(self._produced(packet, arrived))
        return produced

    def flush(self) -> Iterator[Produced]:
        """Drain and close the encoder; the next picture opens another."""
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            for packet in encoder.encode(None):
                yield self._produced(packet, 0.0)

    def _produced(self, packet: Packet, arrived: float) -> Produced:  # type: ignore[type-arg]
        data = to_length_prefixed(bytes(packet))
        return Produced(self.rung.name, avc_frame(packet.pts or 0, 0, packet.is_keyframe, data, arrived))

    def _open(self, picture: VideoFrame, source: VideoCodecContext) -> VideoCodecContext:
        """
        Open an encoder that makes key frames only on request.

        Its rate control goes by the times of the pictures (``force-cfr``): few sources tell their true frame rate.
        """
        encoder = VideoCodecContext.create("libx264", "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuv420p"
        encoder.time_base = MILLISECONDS
        rate = source.framerate
        encoder.framerate = rate if rate and 5 <= rate <= 125 else Fraction(USUAL_FPS)
        if source.sample_aspect_ratio:
            encoder.sample_aspect_ratio = source.sample_aspect_ratio
        encoder.color_primaries, encoder.color_trc = picture.color_primaries, picture.color_trc
        encoder.colorspace, encoder.color_range = picture.colorspace, picture.color_range
        kbps = self._kbps = self.rung.video_kbps
        encoder.bit_rate = kbps * 1000
        encoder.thread_count = 1
        encoder.flags |= Flags.global_header
        encoder.options = {
            "preset": self.preset,
            "tune": "zerolatency",
            "forced-idr": "1",
            "maxrate": f"{kbps * 11 // 10}k",
            "bufsize": f"{kbps * 2}k",
            "x264-params": "keyint=infinite:scenecut=0:force-cfr=0",
        }
        encoder.open()
        return encoder


@define(eq=False)
class VideoTranscoder:
    """
    Decodes a video track once and encodes every rung, highest first, in a thread each.

    ``grant`` is called with the format of what follows before it is decoded.
    """

    preset: str
    rungs: Sequence[Rung]
    grant: Callable[[PictureFormat], None]
    _encoders: list[RungEncoder] = field(init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _decoder: VideoDecoder | None = field(default=None, init=False)
    _deinterlacer: Deinterlacer = field(factory=Deinterlacer, init=False)
    _cuts_ms: list[int] = field(factory=list, init=False)
    _arrived: dict[int, float] = field(factory=dict, init=False)
    _last_ms: int = field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        rungs = sorted(self.rungs, key=lambda rung: rung.height, reverse=True)
        self._encoders = [RungEncoder(rung, self.preset) for rung in rungs]
        self._threads = ThreadPoolExecutor(max(len(rungs), 1))

    def keep(self, rungs: Sequence[Rung]) -> Iterator[Produced]:
        """Drop all other rungs, and encode these at their rates from the next key frame on."""
        wanted = {rung.name: rung for rung in rungs}
        for encoder in self._encoders:
            if encoder.rung.name not in wanted:
                yield from encoder.flush()
        self._encoders = [encoder for encoder in self._encoders if encoder.rung.name in wanted]
        for encoder in self._encoders:
            encoder.rung = wanted[encoder.rung.name]

    def transcode(self, frame: Frame, cut_ms: int | None) -> Iterator[Produced | Refused]:
        """
        Process a frame or a configuration, and yield what comes out.

        The first picture at ``cut_ms`` or later, to be decoded now or later, becomes an IDR picture in every rung.
        """
        if frame.is_config:
            yield from self._configure(frame)
            return
        if self._decoder is None:
            return
        if cut_ms is not None:
            self._cuts_ms.append(cut_ms - CUT_TOLERANCE_MS)
        self._arrived[frame.pts_ms] = frame.arrived
        yield from self._decode(self._decoder, frame)

    def flush(self) -> Iterator[Produced | Refused]:
        """Drain the decoder and the encoders; the next frame opens new ones."""
        if self._decoder is not None:
            yield from self._decode(self._decoder, None)
            self._decoder.reset()
        for encoder in self._encoders:
            yield from encoder.flush()
        self._cuts_ms.clear()
        self._arrived.clear()

    def _configure(self, frame: Frame) -> Iterator[Produced | Refused]:
        if self._decoder is None or frame.body != self._decoder.config.body:
            yield from self.flush()
            self._decoder = VideoDecoder(frame, self.grant)

    def _decode(self, decoder: VideoDecoder, frame: Frame | None) -> Iterator[Produced | Refused]:
        pictures: list[VideoFrame] = []
        try:
            pictures = decoder.flush() if frame is None else decoder.decode(frame)
        except OversizedPicture as error:
            yield Refused(str(error))
        except MemoryError:
            raise
        except (FFmpegError, MediaError) as error:
            print(f"a video frame cannot be decoded: {error}", file=sys.stderr)
        for decoded in pictures:
            for picture in self._deinterlacer.process(decoded):
                yield from self._encode(picture, decoder.context)
        if frame is None:
            for picture in self._deinterlacer.flush():
                yield from self._encode(picture, decoder.context)

    def _encode(self, picture: VideoFrame, decoder: VideoCodecContext | None) -> Iterator[Produced | Refused]:
        """Scale and encode a picture. A cut whose own picture is lost is made at the next one."""
        at_ms = picture.pts
        if decoder is None or at_ms is None or at_ms <= self._last_ms:
            return
        self._last_ms = at_ms
        arrived = self._arrived.get(at_ms, 0.0)
        for stale in [past for past in self._arrived if past <= at_ms - 5_000 or past == at_ms]:
            del self._arrived[stale]
        is_key = any(cut <= at_ms for cut in self._cuts_ms)
        self._cuts_ms = [cut for cut in self._cuts_ms if cut > at_ms]
        size, scaled = (picture.width, picture.height), []
        try:
            for encoder in self._encoders:
                picture = encoder.scale(picture, size)
                picture.pts, picture.time_base = at_ms, MILLISECONDS
                scaled.append((encoder, picture))
        except OversizedPicture as error:
            yield Refused(str(error))
            return
        results = [self._threads.submit(each.encode, small, decoder, is_key, arrived) for each, small in scaled]
        for result in results:
            yield from result.result()


@define(eq=False)
class AudioTranscoder:
    """
    Encodes an audio track of another codec as AAC: mono as it is, anything else as stereo.

    Time is counted in samples, from an anchor.
    """

    _config: Frame | None = field(default=None, init=False)
    _decoder: AudioCodecContext | None = field(default=None, init=False)
    _encoder: AudioCodecContext | None = field(default=None, init=False)
    _resampler: AudioResampler | None = field(default=None, init=False)
    _anchor_ms: int = field(default=0, init=False)
    _samples: int = field(default=0, init=False)
    """How many samples were encoded since the anchor, at the rate of the source."""
    _arrived: float = field(default=0.0, init=False)
    """When the newest frame arrived at the ingest."""
    _input: tuple[int, str] = field(default=(AAC_RATE, "stereo"), init=False)
    """The rate of the source, and the layout in which it is encoded."""

    def transcode(self, frame: Frame) -> Iterator[Produced]:
        """Process a frame or a configuration, and yield what comes out."""
        if frame.is_config:
            if self._config is None or frame.body != self._config.body:
                yield from self.flush()
                self._config, self._decoder = frame, None
            return
        if self._config is None:
            return
        self._arrived = frame.arrived
        if self._encoder is not None and abs(self._now_ms - frame.dts_ms) > MAX_DRIFT_MS:
            yield from self.flush()
        try:
            if self._decoder is None:
                self._decoder = open_audio_decoder(self._config)
            decoded = self._decoder.decode(Packet(bytes(frame.data)))
        except MemoryError:
            raise
        except (FFmpegError, MediaError) as error:
            print(f"an audio frame cannot be decoded: {error}", file=sys.stderr)
            return
        for audio in decoded:
            yield from self._encode(audio, frame.dts_ms)

    def flush(self) -> Iterator[Produced]:
        """Drain and close the encoder; the next audio frame opens another."""
        encoder, resampler, self._encoder, self._resampler = self._encoder, self._resampler, None, None
        if encoder is None or resampler is None:
            return
        for chunk in resampler.resample(None):
            yield from self._produced(encoder.encode(chunk))
        yield from self._produced(encoder.encode(None))

    @property
    def _now_ms(self) -> int:
        return self._anchor_ms + self._samples * 1000 // self._input[0]

    def _encode(self, audio: AudioFrame, dts_ms: int) -> Iterator[Produced]:
        given = audio.sample_rate, "mono" if audio.layout.nb_channels == 1 else "stereo"
        if given != self._input:
            yield from self.flush()
        if self._encoder is None or self._resampler is None:
            self._anchor_ms, self._samples, self._input = dts_ms, 0, given
            self._resampler = AudioResampler("fltp", given[1], AAC_RATE, AAC_SAMPLES)
            self._encoder = _aac_encoder(given[1])
            yield Produced(AUDIO, aac_config(bytes(self._encoder.extradata or b""), dts_ms))
        audio.pts, audio.time_base = self._samples, Fraction(1, audio.sample_rate)
        self._samples += audio.samples
        for chunk in self._resampler.resample(audio):
            yield from self._produced(self._encoder.encode(chunk))

    def _produced(self, packets: Sequence[Packet]) -> Iterator[Produced]:  # type: ignore[type-arg]
        """An encoder's first frame only primes the decoder; it is dropped if its time is below zero."""
        for packet in packets:
            dts_ms = self._anchor_ms + (packet.pts or 0) * 1000 // AAC_RATE
            if dts_ms >= 0:
                yield Produced(AUDIO, aac_frame(dts_ms, bytes(packet), self._arrived))


def _aac_encoder(layout: str) -> AudioCodecContext:
    encoder = AudioCodecContext.create("aac", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = AAC_RATE, layout, "fltp"
    encoder.time_base, encoder.bit_rate = Fraction(1, AAC_RATE), AAC_KBPS[layout] * 1000
    encoder.flags |= Flags.global_header
    encoder.open()
    return encoder
