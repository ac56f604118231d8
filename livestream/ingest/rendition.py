"""One rendition of a broadcast: packages its frames, stores and announces the segments, and feeds the push."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256

from attrs import define, field

from livestream.ingest.push_feed import PushFeed
from livestream.ingest.segment_numbering import UnnumberedSegment
from livestream.ingest.services import SegmentStore
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
    and fed to the push together. The HLS rendition of the source has no ``push``: that of the source is always as it
    came.

    With ``is_held`` segments are kept until :meth:`release`, since it is not certain yet that they will be needed.
    """

    stream: str
    broadcast: int
    segmenter: Segmenter
    push: PushFeed | None
    store: SegmentStore
    submit: Callable[[UnnumberedSegment], None]
    is_held: bool = False
    _info: RenditionInfo | None = field(default=None, init=False)
    _init: ObjectInfo | None = field(default=None, init=False)
    _fed_ms: int = field(default=-1, init=False)
    _needs_key: bool = field(default=False, init=False)
    _held: list[Packaged] = field(factory=list, init=False)
    _held_audio: deque[Frame] = field(factory=lambda: deque(maxlen=MAX_HELD_AUDIO), init=False)

    @property
    def name(self) -> str:
        return self.segmenter.name

    @property
    def held_segments(self) -> int:
        """How many segments are kept until it is certain that they are needed."""
        return sum(isinstance(each, PackagedSegment) for each in self._held)

    @property
    def has_begun(self) -> bool:
        """Whether it has submitted a segment."""
        return self._info is not None

    def cut(self, cut: Cut) -> None:
        """Begin a segment."""
        self._submit_packaged(self.segmenter.add_cut(cut))

    def add(self, frame: Frame) -> None:
        """
        Add a frame of the source, as it came.

        :raises MediaError: it is malformed.
        """
        packaged = self.segmenter.add(frame)
        if packaged:
            self._submit_packaged(packaged)

    def add_audio(self, frame: Frame) -> None:
        """Add an audio frame, or audio configuration, of a rung."""
        if self.push is None:
            pass
        elif frame.is_config:
            self.push.add(frame)
        elif not self.segmenter.is_shed:
            self._held_audio.append(frame)
        self._submit_packaged(self.segmenter.add(frame))

    def add_video(self, frame: Frame) -> None:
        """Add a video frame, or video configuration, of a rung; a transcoder may send one twice, or too late."""
        if self.segmenter.is_shed:
            return
        if self.push is not None:
            self._push_video(self.push, frame)
        self._submit_packaged(self.segmenter.add(frame))

    def _push_video(self, push: PushFeed, frame: Frame) -> None:
        if frame.is_config:
            push.add(frame)
        elif frame.dts_ms > self._fed_ms and (frame.is_key or not self._needs_key):
            self._needs_key = False
            self._fed_ms = frame.dts_ms
            while self._held_audio and self._held_audio[0].dts_ms <= frame.dts_ms:
                push.add(self._held_audio.popleft())
            push.add(frame)

    def set_silent(self, tracks: frozenset[Track]) -> None:
        """Set the tracks that send nothing now."""
        self._submit_packaged(self.segmenter.set_silent(tracks))

    def restart(self) -> None:
        """Expect frames from a new transcoder, beginning with the first open segment."""
        self._needs_key = True
        self.segmenter.restart()

    def shed(self) -> None:
        """Give the rendition up."""
        self._held_audio.clear()
        self._submit_packaged(self.segmenter.shed())

    def finish(self, end_ms: int) -> None:
        """Close all open segments, since the publisher has left."""
        self._submit_packaged(self.segmenter.finish(end_ms))

    def forget(self) -> None:
        """Drop the open segments."""
        self._held_audio.clear()
        self.segmenter.forget()

    def release(self) -> None:
        """Submit what was held, and all that follows."""
        held, self._held, self.is_held = self._held, [], False
        self._submit_packaged(held)

    def close(self) -> None:
        """Drop the reference to the broadcast, which is over, so that it is freed without garbage collection."""
        self.submit = _discard

    def _submit_packaged(self, packaged: Sequence[Packaged]) -> None:
        if self.is_held:
            self._held += packaged
            return
        for each in packaged:
            if isinstance(each, PackagedInit):
                self._init = self._put(each.data, init_name(self.broadcast, each.number))
            elif isinstance(each, PackagedSegment):
                self._info = each.info
                store = partial(self._put, each.data)
                self.submit(
                    UnnumberedSegment(each.cut, each.duration_ms, 0, each.info, self._init, store, each.independent)
                )
            elif self._info is not None:
                self.submit(UnnumberedSegment(each.cut, each.duration_ms, 0, self._info, self._init))

    def _put(self, data: bytes, name: str) -> ObjectInfo:
        info = ObjectInfo(name, len(data), sha256(data).hexdigest())
        self.store.put(self.stream, self.name, info, data)
        return info


@define(eq=False)
class FirstSegments:
    """
    Keeps the first segments of a broadcast until every rendition has one.

    Players read the multivariant playlist once, so that it must not appear before it is complete. A rendition that is a
    segment late is not waited for.
    """

    submit: Callable[[UnnumberedSegment], None]
    _kept: list[UnnumberedSegment] | None = field(factory=list, init=False)

    def add(self, segment: UnnumberedSegment, renditions: Iterable[Rendition]) -> None:
        """Submit a segment, now or with the first ones of all ``renditions``."""
        if self._kept is None:
            self.submit(segment)
            return
        is_second = any(kept.info.name == segment.info.name for kept in self._kept)
        self._kept.append(segment)
        if is_second or all(each.has_begun or each.segmenter.is_shed for each in renditions):
            self.release()

    def release(self) -> None:
        """Submit what was kept, and all that follows at once."""
        kept, self._kept = self._kept or [], None
        for segment in kept:
            self.submit(segment)


def _discard(segment: UnnumberedSegment) -> None:
    """Replaces ``submit`` once the broadcast is over."""
