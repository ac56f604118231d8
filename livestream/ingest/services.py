"""What a broadcast needs from its surroundings: settings, a store for its segments, push feeds and transcoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from livestream.media.slate import Slate, SlateShape
from livestream.model.frames import Frame
from livestream.model.segments import ObjectInfo


@frozen
class BroadcastSettings:
    """
    ``segment_s`` is the usual length of a segment. ``heights`` are those of the ladder, highest first.

    A broadcast waits ``grace_s`` seconds for a publisher whose connection broke, and ``end_s`` for one that has
    unpublished. ``source`` is "auto", "pass" or "encode": what HLS gets of the source, if there is a ladder. ``window``
    is how many segments a playlist lists.
    """

    segment_s: int
    end_s: float
    grace_s: float
    heights: Sequence[int]
    source: str = "auto"
    window: int = 6


class SegmentStore(Protocol):
    """Where origins and viewers fetch objects from."""

    def put(self, stream: str, rendition: str, info: ObjectInfo, data: bytes) -> None:
        """Make an object available."""


class Feed(Protocol):
    """The push viewers of a rendition."""

    def add(self, frame: Frame) -> None: ...


class RungSink(Protocol):
    """Receives what a transcoder produces for a broadcast."""

    def rung_frame(self, rendition: str, frame: Frame) -> None:
        """A video frame of a rung or, with ``audio`` as its rendition, an audio frame for all rungs."""

    def rung_restarted(self, from_dts_ms: int) -> None:
        """Everything from this time on is produced again."""

    def rung_shed(self, rendition: str, reason: str) -> None:
        """Nothing more is produced for this rendition."""

    def source_refused(self, reason: str) -> None:
        """The source exceeds a limit, and is not decoded; ``reason`` is for the broadcaster."""


class Transcode(Protocol):
    """A transcoder that works for one broadcast."""

    @property
    def lag_ms(self) -> int:
        """The duration of the media that it was fed and has not processed."""

    def feed(self, frame: Frame, cut_ms: int | None) -> None:
        """Transcode a frame; the first picture at ``cut_ms`` or later becomes a key frame in every rung."""

    def keep(self, names: Sequence[str]) -> None:
        """Produce nothing more for all other rungs."""

    def source_kbps(self, kbps: int) -> None:
        """Set the measured rate of the source's video, under which the rungs stay."""

    def release(self, before_pts_ms: int) -> None:
        """All segments that begin before this time are complete: their frames will not be needed again."""

    def flush(self) -> Deferred[None]:
        """Fires when everything that was fed has been produced."""

    def close(self) -> None: ...


class AudioConversion(Protocol):
    """What makes AAC of the audio of one broadcast."""

    def feed(self, frame: Frame) -> None:
        """Convert a frame, or take a configuration."""

    def flush(self) -> Deferred[None]:
        """Fires when everything that was fed has been converted."""

    def close(self) -> None: ...


class BroadcastServices(Protocol):
    """What an ingest provides to its broadcasts."""

    @property
    def store(self) -> SegmentStore: ...
    def open_feed(self, stream: str, rendition: str, number: int) -> Feed: ...
    def end_feed(self, feed: Feed) -> None: ...
    def cut_feed(self, feed: Feed) -> None:
        """Cut off the viewers, who will find the broadcast at another ingest."""

    def transcoder(self, stream: str, rungs: Sequence[str], source_height: int, sink: RungSink) -> Transcode:
        """A transcoder for the rungs with these names, of which ``source`` has the source's own height."""

    def audio_conversion(
        self, stream: str, converted: Callable[[Frame], None], given_up: Callable[[str], None]
    ) -> AudioConversion:
        """
        What converts the audio of a broadcast: ``converted`` is called with what comes out, and ``given_up`` with the
        reason if that is not possible any more. It takes nothing until it is fed.
        """

    def slate(self, shape: SlateShape) -> Slate | None:
        """The slate of this shape; ``None`` if there is none, or not yet."""

    def rungs(self, height: int) -> Sequence[str]:
        """The names of the rungs below a source of this height."""
