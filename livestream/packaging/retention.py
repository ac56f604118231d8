"""
How long a segment can be fetched after playlists have dropped it: by media time, since a window has no clock.

A segment that a live playlist no longer lists stays available for its own duration and that of the longest playlist
that had it (RFC 8216bis, 6.2.2): a player may have loaded that playlist just before, and plays it from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from livestream.model.segments import Segment, SegmentAnnounced

MAX_REMOVED = 1024
"""No rendition keeps more segments than this that it does not list, however short they are."""


@frozen
class MediaTime:
    """
    How much media has been listed, in milliseconds: of the whole stream, and of one rendition.

    While a rendition catches up, its own time runs faster than the viewers' clocks; while it falls behind, that of the
    stream is ahead of what its playlists say. So both have to pass.
    """

    stream_ms: int
    own_ms: int

    def since(self, earlier: MediaTime) -> int:
        return min(self.stream_ms - earlier.stream_ms, self.own_ms - earlier.own_ms)

    def stream_since(self, earlier: MediaTime) -> int:
        return self.stream_ms - earlier.stream_ms


@define(eq=False)
class _Use:
    """
    What was done with a segment: the longest list that had it, and when the last one dropped it.

    That was between two announcements of the stream: the second counts (``is_settled``), so that neither one that comes
    up to a segment late nor a rendition that lags costs a player its time.
    """

    longest_ms: int = 0
    removed: MediaTime | None = None
    is_settled: bool = False

    def remove(self, now: MediaTime) -> None:
        if self.removed is None:
            self.removed, self.is_settled = now, False
        elif now.stream_ms > self.removed.stream_ms:
            self.removed, self.is_settled = now, True


@define(eq=False)
class Retention:
    """Which segments of one rendition are still to be kept, by their numbers."""

    _uses: dict[int, _Use] = field(factory=dict, init=False)
    _longest_ms: int = field(default=0, init=False)

    def drop(self, msn: int) -> None:
        """A segment is not known any more."""
        self._uses.pop(msn, None)

    def note_length(self, segments: Sequence[Segment]) -> int:
        """Other nodes may have had a playlist as long as these segments; return that, in milliseconds."""
        duration_ms = sum(segment.duration_ms for segment in segments)
        self._longest_ms = max(self._longest_ms, duration_ms)
        return duration_ms

    def note_list(self, segments: Sequence[Segment]) -> None:
        """There is a playlist with these segments."""
        duration_ms = self.note_length(segments)
        for segment in segments:
            use = self._use(segment.msn)
            use.removed = None
            use.longest_ms = max(use.longest_ms, duration_ms)

    def past(self, known: Mapping[int, SegmentAnnounced], stop: int, is_listed: bool, now: MediaTime) -> list[int]:
        """
        Those whose time is over, the oldest first, of those that are ``known`` and not listed, all below ``stop``.

        What this node never listed may be in playlists of others; it counts as dropped when it is first seen. Without
        ``is_listed`` the rendition is too late to be listed at all, and its own time does not have to pass.
        """
        removed = sorted(msn for msn in known if msn < stop)
        for msn in removed:
            use = self._use(msn)
            if not use.is_settled or use.removed is None:
                use.remove(now)
        past = []
        for place, msn in enumerate(removed):
            if len(removed) - place <= MAX_REMOVED and not self._is_past(known[msn], now, is_listed):
                break
            past.append(msn)
        return past

    def _use(self, msn: int) -> _Use:
        use = self._uses.get(msn)
        if use is None:
            use = self._uses[msn] = _Use()
        return use

    def _is_past(self, announced: SegmentAnnounced, now: MediaTime, is_listed: bool) -> bool:
        use = self._uses[announced.segment.msn]
        if use.removed is None or not use.is_settled:
            return False
        passed_ms = now.since(use.removed) if is_listed else now.stream_since(use.removed)
        return passed_ms >= announced.segment.duration_ms + (use.longest_ms or self._longest_ms)
