"""Messages between processes: announcements, states, heartbeats, relayed media, and the transcoder's pipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field
from twisted.internet.task import Clock
from twisted.web.client import URI

from livestream.bus import announcements as wire
from livestream.bus.announcements import InvalidMessage
from livestream.bus.changes import Changes
from livestream.cluster import messages
from livestream.cluster.messages import Fault, Heartbeat, InvalidHeartbeat
from livestream.cluster.runs import NodeRuns
from livestream.media.flv import AUDIO, VIDEO
from livestream.metrics import Metrics
from livestream.model.frames import Frame, Track
from livestream.model.names import stream_name
from livestream.model.segments import StreamPosition
from livestream.packaging.playlist import media_playlist, multivariant
from livestream.packaging.window import Window
from livestream.push.framing import CLOCK, RelayFraming, RtmpFraming
from livestream.push.relay import Relay
from livestream.push.timeline_splice import TimelineOrigin
from livestream.rtmp.amf0 import decode
from livestream.rtmp.errors import RemoteProtocolError
from livestream.signing import seal
from livestream.steering.pathways import manifest
from livestream.transcode import commands
from livestream.transcode.commands import PipeError, RecordReader
from tests.fuzz.bounds import held_bytes
from tests.fuzz.choices import Choices, pieces
from tests.playlist_rules import read as read_playlist

SECRET = "the secret of these tests"
LONGEST_ERROR = 400
"""The longest error message: it is logged, whatever the input was."""


def _check_error(error: Exception) -> None:
    message = str(error)
    assert len(message) <= LONGEST_ERROR and message.isprintable(), message[:LONGEST_ERROR]


def announcements(data: bytes) -> None:
    """
    Any bytes are either rejected, or decoded to a value that survives a round trip.

    This holds for announcements, publisher changes, stream positions and epochs.
    """
    for read, write in _KINDS:
        try:
            value = read(data)
        except InvalidMessage as error:
            _check_error(error)
            continue
        assert read(write(value)) == value
    try:
        epochs = wire.decode_epochs(data)
    except InvalidMessage as error:
        _check_error(error)
        return
    assert all(stream_name(stream) and 0 <= epoch <= 1 << 53 for stream, epoch in epochs.items())
    assert wire.decode_epochs(wire.encode_epochs(epochs)) == epochs


def _read_position(data: bytes) -> StreamPosition:
    return wire.decode_position(data)[0]


def _write_position(position: StreamPosition) -> bytes:
    return json.dumps(wire.encode_position(position)).encode("ascii")


_KINDS: tuple[tuple[Callable[[bytes], Any], Callable[[Any], bytes]], ...] = (
    (wire.decode, wire.encode),
    (wire.decode_change, wire.encode_change),
    (_read_position, _write_position),
)


def states(data: bytes) -> None:
    """Any state document from an upstream is either rejected, or gives valid playlists."""
    try:
        decoded = wire.decode_document(data)
    except InvalidMessage as error:
        _check_error(error)
        return
    windows: dict[str, Window] = {}
    changes = Changes()
    for announcement in decoded:
        window = windows.setdefault(announcement.stream, Window(announcement.stream, 6))
        changes.note(window, window.apply([announcement]))
    known, token = changes.since(data[:64].decode("ascii", "replace"))
    assert sum(len(window.announcements()) for window in windows.values()) == len(known)
    assert changes.since(token) == ([], token)
    for window in windows.values():
        _check_window(window)
        window.skip_holes()
        _check_window(window)
        again = Window(window.stream, 6)
        again.apply(wire.decode_document(wire.encode_document(window.announcements())))
        _check_window(again)


def _check_window(window: Window) -> None:
    window.position()
    multivariant(window, is_steered=True)
    for info in window.renditions():
        text = media_playlist(window, info.name)
        assert text is not None
        assert len(text) <= 64 << 10
        playlist = read_playlist(text)
        assert playlist.target_s > 0
        for segment, listed in zip(window.listed(info.name), playlist.segments, strict=True):
            assert (listed.msn, listed.discontinuity) == (segment.msn, segment.discontinuity)


def heartbeats(data: bytes) -> None:
    """
    Any signed JSON is either rejected, or a heartbeat that everything derived from it can handle.

    Input: the JSON, unsigned.
    """
    try:
        messages.decode(data, SECRET)
    except InvalidHeartbeat as error:
        assert error.fault in (Fault.UNSIGNED, Fault.ALTERED, Fault.IMPOSSIBLE)
    else:
        raise AssertionError("an unsigned message was accepted")
    try:
        heartbeat = messages.decode(seal(data, SECRET), SECRET)
    except InvalidHeartbeat as error:
        _check_error(error)
        return
    again = messages.decode(messages.encode(heartbeat, SECRET), SECRET)
    assert messages.decode(messages.encode(again, SECRET), SECRET) == again
    _check_error(InvalidHeartbeat.of(Fault.STALE, heartbeat))
    for url in filter(None, (heartbeat.node.http, heartbeat.node.rtmp)):
        assert URI.fromBytes(url.encode("ascii"), defaultPort=80).host and 0 < (urlsplit(url).port or 80) < 65536
    json.loads(manifest([heartbeat.node], "edge-1", "show", 10, "/steer/show", ["720p"]))
    _check_runs(heartbeat)


def _check_runs(heartbeat: Heartbeat) -> None:
    """A first heartbeat is challenged, and its repetition rejected."""
    runs = NodeRuns(lambda: 1000.0, 4)
    runs.record(heartbeat)
    runs.challenges.receive(heartbeat)
    runs.challenges.challenge(heartbeat)
    assert not runs.is_current(heartbeat)
    assert runs.challenges.answers() == ((heartbeat.nonce,) if heartbeat.nonce else ())
    try:
        runs.record(heartbeat)
    except InvalidHeartbeat as error:
        assert error.fault is Fault.REPLAYED
    else:
        raise AssertionError("a replayed message was accepted")


@define(eq=False)
class _Feed:
    """Takes frames from a relay and serialises them for downstream relays."""

    stream: str = "show"
    rendition: str = "source"
    framing: RelayFraming = field(factory=lambda: RelayFraming(RtmpFraming(4096), TimelineOrigin(0)))
    newest_ms: dict[Track, int] = field(factory=dict)

    def set_origin(self, origin: TimelineOrigin) -> None:
        self.framing.origin = origin

    def set_metadata(self, metadata: bytes) -> None:
        decode(metadata)

    def add(self, frame: Frame) -> None:
        if not frame.is_config:
            assert frame.dts_ms >= self.newest_ms.get(frame.track, frame.dts_ms)
            self.newest_ms[frame.track] = frame.dts_ms
        assert self.framing.join([frame])


def relay(data: bytes) -> None:
    """
    Any media, data and reconnections of an upstream give frames whose times rise per track.

    Input: operations with their arguments: media message, data message, clock message, or new connection.
    """
    choices, feed = Choices(data), _Feed()
    relay = Relay(feed, lambda _: (), lambda _: None, lambda: None, Clock(), _metrics())  # type: ignore[arg-type]
    relay.started()
    while not choices.at_end:
        operation = choices.number() % 4
        if operation == 0:
            type_id, time_ms = choices.pick((VIDEO, AUDIO)), choices.number(4)
            relay.media(type_id, time_ms, choices.take(choices.number()))
        elif operation == 1:
            try:
                values = decode(choices.take(choices.number()))
            except RemoteProtocolError:
                continue
            relay.data(0, choices.pick(("onMetaData", CLOCK, "other")), values)
        elif operation == 2:
            relay.data(0, CLOCK, [float(choices.signed(choices.number() % 8)) for _ in range(4)])
        else:
            relay.started()


@cache
def _metrics() -> Metrics:
    return Metrics()


def transcoder_records(data: bytes) -> None:
    """
    Any bytes on a transcoder's pipe are commands or a PipeError, independently of how they are split.

    Input: split pattern, records.
    """
    choices = Choices(data)
    pattern, sent = choices.number(), choices.rest()
    decoded, is_broken = _read_records([sent])
    cut, cut_is_broken = _read_records(pieces(sent, pattern or 1))
    again, _ = _read_records([b"".join(map(commands.encode, decoded))])
    assert cut_is_broken is is_broken
    assert repr(cut) == repr(again) == repr(decoded)  # NaN does not equal itself


def _read_records(parts: Iterable[bytes]) -> tuple[list[commands.Command], bool]:
    """The commands before an error, and whether there was one."""
    records, received = RecordReader(), 0
    decoded: list[commands.Command] = []
    for part in parts:
        received += len(part)
        try:
            decoded += records.receive(part)
        except PipeError as error:
            assert len(str(error)) < LONGEST_ERROR
            return decoded, True
    assert held_bytes(records) <= 4096 + 4 * received
    return decoded, False
