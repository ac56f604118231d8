"""Audio that is converted to AAC by a real child, which is killed."""

from __future__ import annotations

import math
import os
import signal
from array import array
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import av
import pytest
import pytest_twisted
from attrs import define, evolve, field
from av.audio.codeccontext import AudioCodecContext
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from livestream.media.codecs import AudioConfig, parse_config
from livestream.media.other_audio import OtherAudio
from livestream.metrics import Metrics
from livestream.model.frames import Codec, Frame
from livestream.transcode import audio_conversion
from livestream.transcode.audio_conversion import (
    AHEAD_MS,
    FRUITLESS,
    MAX_DEATHS,
    MAX_FRAME_BYTES,
    AudioConversion,
)

PATIENCE_S = 30
LOUD = 0.5


@define(eq=False)
class Shelf:
    frames: list[Frame] = field(factory=list)
    given_up: list[str] = field(factory=list)
    metrics: Metrics = field(factory=Metrics)
    conversion: AudioConversion = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.conversion = AudioConversion(reactor, self.metrics, "cam", self.frames.append, self.given_up.append)

    @property
    def media(self) -> list[Frame]:
        return [frame for frame in self.frames if not frame.is_config]

    def config(self) -> AudioConfig:
        config = parse_config(next(frame for frame in self.frames if frame.is_config))
        assert isinstance(config, AudioConfig)
        return config

    def loudness(self) -> float:
        """The root mean square of what a player decodes, from a tenth of a second on."""
        decoder = av.CodecContext.create("aac", "r")
        assert isinstance(decoder, AudioCodecContext)
        decoder.extradata = self.config().record
        samples = array("f")
        for frame in self.media:
            for sound in decoder.decode(av.Packet(bytes(frame.data))):
                samples.frombytes(bytes(sound.planes[0])[: sound.samples * 4])
        samples = samples[4_800:]
        return math.sqrt(sum(each * each for each in samples) / len(samples))


def tone(encoder_name: str, audio: OtherAudio, rate: int, channels: int, seconds: float = 2.0) -> list[Frame]:
    """A tone in a format, with its description first; times are rounded to milliseconds."""
    encoder = av.CodecContext.create(encoder_name, "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout = rate, "mono" if channels == 1 else "stereo"
    encoder.format = encoder.codec.audio_formats[0]
    encoder.time_base = Fraction(1, rate)
    encoder.open()
    size = encoder.frame_size or rate // 50
    resampler = av.AudioResampler(encoder.format.name, encoder.layout.name, rate)
    packets = []
    for number in range(int(seconds * rate / size)):
        wave = [LOUD * math.sin(2 * math.pi * 440 * (number * size + at) / rate) for at in range(size)]
        sound = av.AudioFrame("flt", encoder.layout.name, size)
        sound.planes[0].update(array("f", [value for value in wave for _ in range(channels)]).tobytes())
        sound.sample_rate, sound.pts, sound.time_base = rate, number * size, Fraction(1, rate)
        for ready in resampler.resample(sound):
            packets += encoder.encode(ready)
    frames = [
        Frame(Codec.OTHER_AUDIO, max(round((packet.pts or 0) * 1000 / rate), 0), bytes(packet), 0, is_key=True)
        for packet in packets
    ]
    return [evolve(audio, record=bytes(encoder.extradata or b"")).config(), *frames]


async def until(condition: Callable[[], object], what: str) -> None:
    for _ in range(PATIENCE_S * 50):
        if condition():
            return
        await deferLater(reactor, 0.02)
    raise AssertionError(what)


@pytest.mark.parametrize(
    ("encoder", "audio", "rate", "channels"),
    [
        ("libmp3lame", OtherAudio("mp3", 44_100, 2), 44_100, 2),
        ("pcm_alaw", OtherAudio("pcm_alaw", 8_000, 1), 8_000, 1),
        ("pcm_s16le", OtherAudio("pcm_s16le", 22_050, 2), 22_050, 2),
        ("ac3", OtherAudio("ac3"), 48_000, 2),
        ("eac3", OtherAudio("eac3"), 48_000, 2),
        ("flac", OtherAudio("flac"), 48_000, 2),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_tone_stays_a_tone(encoder: str, audio: OtherAudio, rate: int, channels: int) -> None:
    shelf = Shelf()
    frames = tone(encoder, audio, rate, channels)
    for frame in frames:
        shelf.conversion.feed(frame)
    await shelf.conversion.flush()
    config = shelf.config()
    assert (config.codec, config.sample_rate, config.channels) == (Codec.AAC, 48_000, channels)
    assert all(20 <= after.dts_ms - before.dts_ms <= 22 for before, after in pairwise(shelf.media))
    assert abs(shelf.media[-1].dts_ms - frames[-1].dts_ms) < 150
    assert shelf.loudness() == pytest.approx(LOUD / math.sqrt(2), rel=0.1)
    shelf.conversion.close()


@pytest_twisted.ensureDeferred
async def test_the_times_do_not_drift_from_those_of_the_source() -> None:
    """44.1 kHz and frames of 1,152 samples are no whole number of samples at 48 kHz."""
    shelf = Shelf()
    frames = tone("libmp3lame", OtherAudio("mp3", 44_100, 1), 44_100, 1, seconds=12)
    for frame in frames:
        shelf.conversion.feed(frame)
    await shelf.conversion.flush()
    assert abs(shelf.media[-1].dts_ms - frames[-1].dts_ms) < 60
    assert sum(frame.is_config for frame in shelf.frames) == 1
    shelf.conversion.close()


@pytest_twisted.ensureDeferred
async def test_what_comes_out_has_arrived_when_its_source_has() -> None:
    shelf = Shelf()
    for frame in tone("pcm_alaw", OtherAudio("pcm_alaw", 8_000, 1), 8_000, 1):
        shelf.conversion.feed(evolve(frame, arrived=1_000 + frame.dts_ms / 1000))
    await shelf.conversion.flush()
    assert all(abs(frame.arrived - 1_000 - frame.dts_ms / 1000) < 0.1 for frame in shelf.media)


@pytest_twisted.ensureDeferred
async def test_one_small_frame_does_not_become_minutes() -> None:
    shelf = Shelf()
    shelf.conversion.feed(OtherAudio("pcm_u8", 5_512, 1).config())
    shelf.conversion.feed(Frame(Codec.OTHER_AUDIO, 0, bytes(MAX_FRAME_BYTES), 0, is_key=True))
    shelf.conversion.feed(Frame(Codec.OTHER_AUDIO, 0, bytes(MAX_FRAME_BYTES + 1), 0, is_key=True))
    await shelf.conversion.flush()
    assert 900 < shelf.media[-1].dts_ms <= AHEAD_MS
    assert shelf.metrics.total(shelf.metrics.frames_dropped) == 1


@pytest_twisted.ensureDeferred
async def test_a_flush_is_the_end_of_the_child_and_of_its_timers() -> None:
    """Whoever is told of the flush may go on at once, and leave again."""
    shelf = Shelf()
    config, *frames = tone("pcm_alaw", OtherAudio("pcm_alaw", 8_000, 1), 8_000, 1)
    shelf.conversion.feed(config)
    shelf.conversion.feed(frames[0])
    again: list[Deferred[None]] = []

    def go_on(_: object) -> None:
        assert shelf.conversion.pid is None
        for frame in frames[1:]:
            shelf.conversion.feed(frame)
        again.append(shelf.conversion.flush())

    await shelf.conversion.flush().addCallback(go_on)
    await again[0]
    assert shelf.media[-1].dts_ms > 1_900


@pytest_twisted.ensureDeferred
async def test_audio_of_which_nothing_can_be_decoded_is_said_once() -> None:
    shelf = Shelf()
    shelf.conversion.feed(OtherAudio("mp3", 44_100, 2).config())
    for _ in range(2 * FRUITLESS):
        await until(lambda: shelf.conversion.pid is None or shelf.conversion.has_room, "room")
        shelf.conversion.feed(Frame(Codec.OTHER_AUDIO, 0, bytes(100), 0, is_key=True))
    await shelf.conversion.flush()
    assert shelf.given_up == ["nothing of it can be decoded"] and not shelf.media


@pytest_twisted.ensureDeferred
async def test_a_child_that_is_killed_is_replaced_at_the_next_frame() -> None:
    shelf = Shelf()
    frames = tone("pcm_alaw", OtherAudio("pcm_alaw", 8_000, 1), 8_000, 1)
    for frame in frames[:50]:
        shelf.conversion.feed(frame)
    await until(lambda: len(shelf.media) > 20, "frames of the first child")
    pid = shelf.conversion.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: shelf.conversion.pid is None, "its end")
    for frame in frames[50:]:
        shelf.conversion.feed(frame)
    assert shelf.conversion.pid is None
    await until(lambda: shelf.conversion.feed(frames[50]) or shelf.conversion.pid, "another child")
    for frame in frames[50:]:
        shelf.conversion.feed(frame)
    await shelf.conversion.flush()
    assert shelf.media[-1].dts_ms > 1_800
    assert shelf.metrics.total(shelf.metrics.transcoder_restarts) == 1
    shelf.conversion.close()


@pytest_twisted.ensureDeferred
async def test_after_too_many_deaths_there_is_no_other_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_conversion, "PAUSE_S", 0.0)
    shelf = Shelf()
    config, first, *_ = tone("pcm_alaw", OtherAudio("pcm_alaw", 8_000, 1), 8_000, 1, seconds=0.1)
    shelf.conversion.feed(config)

    async def die() -> None:
        await until(lambda: shelf.conversion.feed(first) or shelf.conversion.pid, "a child")
        assert shelf.conversion.pid is not None
        os.kill(shelf.conversion.pid, signal.SIGKILL)
        await until(lambda: shelf.conversion.pid is None, "its end")

    for _ in range(MAX_DEATHS):
        await die()
    assert len(shelf.given_up) == 1
    shelf.conversion.feed(first)
    assert shelf.conversion.pid is None
    await shelf.conversion.flush()
    await die()
    assert len(shelf.given_up) == 2


@pytest_twisted.ensureDeferred
async def test_frames_that_cannot_be_decoded_are_no_reason_to_end() -> None:
    shelf = Shelf()
    good = tone("libmp3lame", OtherAudio("mp3", 44_100, 1), 44_100, 1)
    broken = [Frame(Codec.OTHER_AUDIO, frame.dts_ms, os.urandom(200), 0, is_key=True) for frame in good[1:20]]
    for frame in [good[0], *broken, *good[20:]]:
        shelf.conversion.feed(frame)
    await shelf.conversion.flush()
    assert shelf.media[-1].dts_ms > 1_700 and not shelf.given_up
    shelf.conversion.close()


@pytest_twisted.ensureDeferred
async def test_what_is_closed_ends_its_child_and_may_begin_again() -> None:
    shelf = Shelf()
    frames = tone("pcm_alaw", OtherAudio("pcm_alaw", 8_000, 1), 8_000, 1)
    for frame in frames[:10]:
        shelf.conversion.feed(frame)
    pid = shelf.conversion.pid
    shelf.conversion.close()
    await until(lambda: not os.path.exists(f"/proc/{pid}"), "its end")
    for frame in frames[10:]:
        shelf.conversion.feed(frame)
    await shelf.conversion.flush()
    assert shelf.media and shelf.media[0].dts_ms >= frames[10].dts_ms - 30
    shelf.conversion.close()
