"""One rendition of a broadcast: packages its frames, stores and announces the segments, and feeds the push."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256

from attrs import define, field

from livestream.ingest.segment_numbering import UnnumberedSegment
from livestream.ingest.services import Feed, SegmentStore
from livestream.model.frames import Frame, Track
from livestream.model.names import init_name
from livestream.model.segments import ObjectInfo, RenditionInfo
from livestream.packaging.cuts import Cut
from livestream.packaging.segmenter import Packaged, PackagedInit, PackagedSegment, Segmenter

MAX_HELD_AUDIO = 512
"""How many audio frames of a rung wait for its video frames."""


@define(eq=False)
class Rendition:
    """
    ``submit`` is called with every segment, in order; a segment is stored once it has a number. ``broadcast`` is the
    number that identifies the broadcast.

    The audio frames of a rung arrive before its video frames, which pass through the transcoder; they are held back,
    and fed to the push together.
    """

    stream: str
    broadcast: int
    segmenter: Segmenter
    feed: Feed
    store: SegmentStore
    submit: Callable[[UnnumberedSegment], None]
    _info: RenditionInfo | None = field(default=None, init=False)
    _init: ObjectInfo | None = field(default=None, init=False)
    _fed_ms: int = field(default=-1, init=False)
    _needs_key: bool = field(default=False, init=False)
    _held_audio: deque[Frame] = field(factory=lambda: deque(maxlen=MAX_HELD_AUDIO), init=False)

    @property
    def name(self) -> str:
        return self.segmenter.name

    def cut(self, cut: Cut) -> None:
        """Begin a segment."""
        self._submit_packaged(self.segmenter.add_cut(cut))

    def add(self, frame: Frame) -> None:
        """
        Add a frame of the source.

        :raises MediaError: it is malformed.
        """
        self.feed.add(frame)
        packaged = self.segmenter.add(frame)
        if packaged:
            self._submit_packaged(packaged)

    def add_audio(self, frame: Frame) -> None:
        """Add an audio frame, or audio configuration, of a rung."""
        if frame.is_config:
            self.feed.add(frame)
        elif not self.segmenter.is_shed:
            self._held_audio.append(frame)
        self._submit_packaged(self.segmenter.add(frame))

    def add_video(self, frame: Frame) -> None:
        """Add a video frame, or video configuration, of a rung; a transcoder may send one twice, or too late."""
        if self.segmenter.is_shed:
            return
        if frame.is_config:
            self.feed.add(frame)
        elif frame.dts_ms > self._fed_ms and (frame.is_key or not self._needs_key):
            self._needs_key = False
            self._fed_ms = frame.dts_ms
            while self._held_audio and self._held_audio[0].dts_ms <= frame.dts_ms:
                self.feed.add(self._held_audio.popleft())
            self.feed.add(frame)
        self._submit_packaged(self.segmenter.add(frame))

    def restart(self) -> None:
        """Expect frames from a new transcoder, beginning with the first open segment."""
        self._needs_key = True
        self.segmenter.restart()

    def shed(self) -> None:
        """Drop the rendition: submit gaps from now on."""
        self._held_audio.clear()
        self._submit_packaged(self.segmenter.shed())

    def finish(self, end_ms: int) -> None:
        """Close all open segments, since the publisher has left."""
        self._submit_packaged(self.segmenter.finish(end_ms))

    def gap(self, cut: Cut, duration_ms: int) -> None:
        """Submit a gap, unless nothing was submitted before."""
        if self._info is not None:
            self.submit(UnnumberedSegment(cut, duration_ms, 0, self._info, self._init))

    def close(self) -> None:
        """Drop the reference to the broadcast, which is over, so that it is freed without garbage collection."""
        self.submit = _discard

    def _submit_packaged(self, packaged: Sequence[Packaged]) -> None:
        for each in packaged:
            if isinstance(each, PackagedInit):
                self._init = self._put(each.data, init_name(self.broadcast, each.number))
            elif isinstance(each, PackagedSegment):
                self._info, cut = each.info, each.cut
                independent = cut.independent or Track.VIDEO not in cut.tracks
                store = partial(self._put, each.data)
                self.submit(UnnumberedSegment(cut, each.duration_ms, 0, each.info, self._init, store, independent))
            else:
                self.gap(each.cut, each.duration_ms)

    def _put(self, data: bytes, name: str) -> ObjectInfo:
        info = ObjectInfo(name, len(data), sha256(data).hexdigest())
        self.store.put(self.stream, self.name, info, data)
        return info


def _discard(segment: UnnumberedSegment) -> None:
    """Replaces ``submit`` once the broadcast is over."""
