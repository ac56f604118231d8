"""
Publish a test card with a running clock and a tone, in real time, over RTMP.

    python -m livestream.transcode.demo HOST PORT STREAM
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import sys
import time
from array import array
from collections.abc import Iterator
from ctypes import CDLL
from fractions import Fraction

from attrs import define, field
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from livestream.media.annexb import to_length_prefixed
from livestream.media.flv import AUDIO, VIDEO, aac_config, aac_frame, avc_config, avc_frame
from livestream.model.frames import Frame, Track
from livestream.model.names import APP
from livestream.rtmp.client import ClientSession
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.events import PeerRefused, Started
from livestream.transcode.avc_record import avc_record
from livestream.transcode.test_card import FPS, HEIGHT, WIDTH, picture

KBPS, GOP_S = 2_000, 3
RATE, SAMPLES, TONE_HZ = 48_000, 1024, 440
PATIENCE_S = 10.0
RETRY_S = 1.0
_PR_SET_PDEATHSIG = 1


@define(eq=False)
class Card:
    """The broadcast, picture by picture, each with the sound that belongs to it."""

    _video: VideoCodecContext = field(init=False)
    _audio: AudioCodecContext = field(init=False)
    _second: bytes = field(init=False)
    _sounds: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._video, self._audio = _video_encoder(), _audio_encoder()
        loud = (0.25 if at < RATE // 10 else 0.05 for at in range(RATE))
        tone = array("f", (level * math.sin(2 * math.pi * TONE_HZ * at / RATE) for at, level in enumerate(loud)))
        self._second = tone.tobytes()

    def configs(self) -> Iterator[Frame]:
        yield avc_config(avc_record(bytes(self._video.extradata or b"")))
        yield aac_config(bytes(self._audio.extradata or b""))

    def frames(self, number: int, now: float) -> Iterator[Frame]:
        """The frames of picture ``number``, which shows the time ``now``."""
        clock = time.strftime("%H:%M:%S", time.gmtime(now)) + f".{int(now * 10) % 10}"
        shown = picture(number, clock)
        shown.pts, shown.time_base = number, Fraction(1, FPS)
        for packet in self._video.encode(shown):
            dts_ms = (packet.pts or 0) * 1000 // FPS
            yield avc_frame(dts_ms, 0, packet.is_keyframe, to_length_prefixed(bytes(packet)))
        while self._sounds * SAMPLES * FPS < (number + 1) * RATE:
            yield from self._sound()

    def _sound(self) -> Iterator[Frame]:
        at = self._sounds * SAMPLES % RATE * 4
        sound = AudioFrame("fltp", "stereo", SAMPLES)
        for plane in sound.planes:
            plane.update((self._second + self._second[: SAMPLES * 4])[at : at + SAMPLES * 4])
        sound.sample_rate, sound.pts, sound.time_base = RATE, self._sounds * SAMPLES, Fraction(1, RATE)
        self._sounds += 1
        for packet in self._audio.encode(sound):
            yield aac_frame(max(packet.pts or 0, 0) * 1000 // RATE, bytes(packet))


def _video_encoder() -> VideoCodecContext:
    encoder = VideoCodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.bit_rate, encoder.thread_count = KBPS * 1000, 1
    encoder.flags |= Flags.global_header
    gop = FPS * GOP_S
    encoder.options = {
        "preset": "superfast",
        "tune": "zerolatency",
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0",
    }
    encoder.open()
    return encoder


def _audio_encoder() -> AudioCodecContext:
    encoder = AudioCodecContext.create("aac", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "stereo", "fltp"
    encoder.time_base, encoder.bit_rate = Fraction(1, RATE), 96_000
    encoder.flags |= Flags.global_header
    encoder.open()
    return encoder


@define(eq=False)
class Publishing:
    """One connection to a server."""

    connection: socket.socket
    session: ClientSession
    _is_started: bool = field(default=False, init=False)

    def start(self) -> None:
        """Return once the server takes the broadcast."""
        while not self._is_started:
            self.exchange(PATIENCE_S)

    def send(self, frame: Frame) -> None:
        self.session.send_media(VIDEO if frame.track is Track.VIDEO else AUDIO, frame.dts_ms, frame.body)

    def exchange(self, wait_s: float = 0.0) -> None:
        """
        Write what is due, and read what has come.

        :raises ConnectionError: the server does not go on.
        """
        self.connection.sendall(self.session.data_to_send())
        if not select.select([self.connection], [], [], wait_s)[0]:
            if wait_s:
                raise ConnectionError("the server does not answer")
            return
        data = self.connection.recv(65_536)
        if not data:
            raise ConnectionError("the server has closed the connection")
        for event in self.session.receive_data(data):
            if isinstance(event, PeerRefused):
                raise ConnectionError(f"the server refuses: {event.code} {event.description}")
            self._is_started = self._is_started or isinstance(event, Started)
        self.connection.sendall(self.session.data_to_send())


def publish(host: str, port: int, stream: str) -> None:
    """
    Publish until something goes wrong.

    :raises OSError: what went wrong with the connection.
    :raises RemoteProtocolError: what went wrong in what the server said.
    """
    with socket.create_connection((host, port), PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = ClientSession(os.urandom(1528), APP, f"rtmp://{host}:{port}/{APP}", stream, publishes=True)
        publishing, card = Publishing(connection, session), Card()
        publishing.start()
        for config in card.configs():
            publishing.send(config)
        begun, number = time.monotonic(), 0
        while True:
            for frame in card.frames(number, time.time()):
                publishing.send(frame)
            publishing.exchange()
            number += 1
            time.sleep(max(begun + number / FPS - time.monotonic(), 0))


def main() -> None:
    """Publish, and again whenever it fails, for as long as the parent lives."""
    CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    host, port, stream = sys.argv[1:4]
    while True:
        try:
            publish(host, int(port), stream)
        except (OSError, RemoteProtocolError) as error:
            print(f"the test card is published again: {error}", file=sys.stderr, flush=True)
        time.sleep(RETRY_S)


if __name__ == "__main__":
    main()
