"""Frames as bytes for viewers: RTMP, FLV and FLV in WebSocket messages, none with any state of a viewer."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Protocol

from attrs import define, frozen

from livestream.media.flv import AUDIO, DATA, VIDEO, file_header, tag
from livestream.model.frames import Frame, Track
from livestream.push.timeline_splice import TimelineOrigin
from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import Message
from livestream.rtmp.interleave import join_tick

_LOW = 0xFFFFFFFF
_MEDIA_STREAM = 1

CLOCK = "onLivestreamClock"
"""
The data message that precedes each batch to a downstream relay: the time of the newest frame in it, on this node's
time line and on the wall clock, and the two numbers of a :class:`~livestream.push.timeline_splice.TimelineOrigin`.
"""


class Framing(Protocol):
    """One protocol's way to carry frames."""

    @property
    def protocol(self) -> str:
        """Its name in the metrics."""

    def join(self, frames: Sequence[Frame]) -> bytes:
        """Some frames in order, at least one."""

    def begin(self, metadata: bytes, frames: Sequence[Frame]) -> bytes:
        """The first bytes of all. ``metadata`` is the body of an ``onMetaData`` message, or empty."""


@frozen
class RtmpFraming:
    """Chunks of ``chunk_bytes``, audio and video interleaved."""

    chunk_bytes: int
    protocol: str = "rtmp"

    def join(self, frames: Sequence[Frame]) -> bytes:
        messages = [Message(type_of(frame), _MEDIA_STREAM, frame.dts_ms & _LOW, frame.body) for frame in frames]
        return join_tick(messages, self.chunk_bytes)

    def begin(self, metadata: bytes, frames: Sequence[Frame]) -> bytes:
        return self.data_message(metadata, frames) + self.join(frames)

    def data_message(self, body: bytes, frames: Sequence[Frame]) -> bytes:
        """A data message that precedes ``frames``; empty if ``body`` is."""
        if not body:
            return b""
        return join_tick([Message(DATA, _MEDIA_STREAM, frames[0].dts_ms & _LOW, body)], self.chunk_bytes)


@define(eq=False)
class RelayFraming:
    """RTMP, with a `CLOCK` message ahead of each batch."""

    rtmp: RtmpFraming
    origin: TimelineOrigin
    protocol: str = "relay"

    def join(self, frames: Sequence[Frame]) -> bytes:
        return self._clock(frames) + self.rtmp.join(frames)

    def begin(self, metadata: bytes, frames: Sequence[Frame]) -> bytes:
        return self._clock(frames) + self.rtmp.begin(metadata, frames)

    def _clock(self, frames: Sequence[Frame]) -> bytes:
        newest, origin = frames[-1], self.origin
        numbers = (float(newest.dts_ms), newest.arrived, float(origin.epoch), float(origin.shift_ms))
        return self.rtmp.data_message(encode(CLOCK, *numbers), frames)


@frozen
class FlvFraming:
    """FLV tags, as they follow the file's header."""

    protocol: str = "flv"

    def join(self, frames: Sequence[Frame]) -> bytes:
        return b"".join([tag(type_of(frame), frame.dts_ms & _LOW, frame.body) for frame in frames])

    def begin(self, metadata: bytes, frames: Sequence[Frame]) -> bytes:
        tracks = {frame.track for frame in frames}
        header = file_header(Track.VIDEO in tracks, Track.AUDIO in tracks)
        first = tag(DATA, frames[0].dts_ms & _LOW, metadata) if metadata else b""
        return header + first + self.join(frames)


@frozen
class WebSocketFraming:
    """The same tags, in one unmasked binary message per batch (RFC 6455, 5.2)."""

    flv: FlvFraming = FlvFraming()
    protocol: str = "flv-websocket"

    def join(self, frames: Sequence[Frame]) -> bytes:
        return _binary_message(self.flv.join(frames))

    def begin(self, metadata: bytes, frames: Sequence[Frame]) -> bytes:
        return _binary_message(self.flv.begin(metadata, frames))


def type_of(frame: Frame) -> int:
    """The RTMP message type, and FLV tag type, that carries a frame."""
    return VIDEO if frame.track is Track.VIDEO else AUDIO


def _binary_message(payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((0x82, length)) + payload
    if length < 65536:
        return struct.pack(">BBH", 0x82, 126, length) + payload
    return struct.pack(">BBQ", 0x82, 127, length) + payload
