"""The frames that a transcoding child was given and a replacement may need again, and those not sent yet."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, evolve, field

from livestream.model.frames import Frame, Track
from livestream.transcode.commands import Source

KEPT_MS = 40_000
"""Processed frames are not kept for longer than this, even if they are not released."""
MAX_KEPT_MS = 120_000
"""
Nor for longer than this, even if a decoder has to begin with them: there are sources whose only key frame is the first.
"""


@define(eq=False)
class QueuedFrame:
    """A frame, and when it was fed."""

    source: Source
    fed_at: float

    @property
    def pts_ms(self) -> int:
        return self.source.frame.pts_ms

    @property
    def begins_gop(self) -> bool:
        frame = self.source.frame
        return frame.track is Track.VIDEO and frame.is_key and not frame.is_config


@define(eq=False)
class Replay:
    """
    Frames in the order they were fed: processed, in flight, and not sent.

    They begin with the configurations that the first frame needs, followed by a key frame.
    """

    from_ms: int = field(default=0, init=False)
    _kept: list[QueuedFrame] = field(factory=list, init=False)
    _done: int = field(default=0, init=False)
    _sent: int = field(default=0, init=False)

    def __len__(self) -> int:
        """How many frames are not processed."""
        return len(self._kept) - self._done

    @property
    def in_flight(self) -> int:
        return self._sent - self._done

    @property
    def oldest(self) -> QueuedFrame | None:
        """The first frame that is not processed."""
        return self._kept[self._done] if self._done < len(self._kept) else None

    @property
    def lag_ms(self) -> int:
        """The duration of the media that is not processed."""
        oldest = self.oldest
        return 0 if oldest is None else max(self._kept[-1].pts_ms - oldest.pts_ms, 0)

    def add(self, source: Source, now: float) -> None:
        if source.cut_ms is not None:
            self._drop_before(source.cut_ms - KEPT_MS)
            self._forget_before(source.frame.pts_ms - MAX_KEPT_MS)
        self._kept.append(QueuedFrame(source, now))

    def next(self) -> Source | None:
        """The next frame to send, which is in flight from now on."""
        if self._sent == len(self._kept):
            return None
        self._sent += 1
        return self._kept[self._sent - 1].source

    def done(self) -> bool:
        """Mark the first frame in flight as processed; false if there is none."""
        if self._done == self._sent:
            return False
        self._done += 1
        return True

    def release(self, before_ms: int) -> None:
        """Drop the frames before the first cut at or after ``before_ms``, which are not needed again."""
        if before_ms > self.from_ms:
            self._drop_before(before_ms)

    def rewind(self, now: float) -> None:
        """Send everything again."""
        self._done = self._sent = 0
        for queued in self._kept:
            queued.fed_at = now

    def current_gop(self) -> int | None:
        """The presentation time at which the oldest frame's GOP begins; that of the first GOP if it precedes all."""
        at = self._gop_start(self._done)
        if at is None:
            at = next((index for index, each in enumerate(self._kept) if each.begins_gop), None)
        return None if at is None else self._kept[at].pts_ms

    def drop_gop(self, key_ms: int) -> bool:
        """Drop the video of the GOP that begins at ``key_ms``; true if its end has not been fed yet."""
        is_in, kept = False, []
        for queued in self._kept:
            frame = queued.source.frame
            if queued.begins_gop:
                is_in = queued.pts_ms == key_ms
            if not is_in or frame.track is Track.AUDIO or frame.is_config:
                kept.append(queued)
        self._kept, self._done, self._sent = kept, 0, 0
        return is_in

    def _gop_start(self, at: int) -> int | None:
        for index in range(min(at, len(self._kept) - 1), -1, -1):
            if self._kept[index].begins_gop:
                return index
        return None

    def _drop_before(self, before_ms: int) -> None:
        before_ms = max(before_ms, self.from_ms)
        cuts = ((at, each.source.cut_ms) for at, each in enumerate(self._kept))
        cut = next((at for at, cut_ms in cuts if cut_ms is not None and cut_ms >= before_ms), None)
        start = None if cut is None else self._gop_start(cut)
        if cut is None or start is None or start > self._done:
            return
        self.from_ms = self._kept[cut].source.cut_ms or 0
        self._drop(start, before_ms)

    def _forget_before(self, before_ms: int) -> None:
        """Drop the frames before this time, although a decoder cannot begin with what follows."""
        start = next((at for at, each in enumerate(self._kept) if each.pts_ms >= before_ms), 0)
        if 0 < start <= self._done:
            self._drop(start, before_ms)

    def _drop(self, start: int, before_ms: int) -> None:
        """Drop the frames before the index ``start``."""
        head = list(self._still_needed(self._kept[:start], before_ms))
        self._kept[:start] = head
        self._done += len(head) - start
        self._sent += len(head) - start

    @staticmethod
    def _still_needed(passed: list[QueuedFrame], before_ms: int) -> Iterator[QueuedFrame]:
        """The last configuration of each track, and audio frames that belong to later video frames."""
        configs: dict[Track, QueuedFrame] = {}
        late: list[QueuedFrame] = []
        for queued in passed:
            frame: Frame = queued.source.frame
            if frame.is_config:
                configs[frame.track] = queued
            elif frame.track is Track.AUDIO and frame.pts_ms >= before_ms:
                late.append(queued)
        for queued in configs.values():
            yield QueuedFrame(evolve(queued.source, cut_ms=None), queued.fed_at)
        yield from late
