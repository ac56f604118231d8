"""
Incremental answers: what has changed in a node's streams since a client last asked.

Every change gets the next number of a counter. An answer carries a token, ``RUN-COUNT``, which the client sends with
its next request; RUN identifies the process, since another process counts from zero. Counts are kept only for what is
kept itself: one per stream, and one per segment.

An answer is bounded, since encoding or decoding it blocks the reactor: beyond the bound, the oldest changes come first,
and the token says how far they go.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from operator import itemgetter

from attrs import define, field

from livestream.model.segments import Announcement, SegmentAnnounced
from livestream.packaging.window import Window

MAX_AT_ONCE = 2048
"""After this many announcements an answer ends with the current change, and leaves later ones to the next answer."""
SLACK = 64
"""How many counts of dropped segments are tolerated before they are pruned."""


@define(eq=False)
class _Stream:
    """``newest`` is the count of the last change; ``counts`` are those of the segments, by rendition and number."""

    window: Window
    newest: int = 0
    counts: dict[tuple[str, int], int] = field(factory=dict)
    limit: int = SLACK

    def note(self, count: int, news: Sequence[Announcement]) -> None:
        self.newest = count
        self.counts.update((_segment_key(each), count) for each in news if isinstance(each, SegmentAnnounced))
        if len(self.counts) > self.limit:
            kept = {_segment_key(each) for each in self.window.announcements() if isinstance(each, SegmentAnnounced)}
            self.counts = {name: count for name, count in self.counts.items() if name in kept}
            self.limit = 2 * len(kept) + SLACK

    def since(self, count: int) -> Iterator[tuple[int, Announcement]]:
        """The newer segments, and all epochs and ends, which are few; each with its count."""
        for each in self.window.announcements():
            at = self.counts.get(_segment_key(each), self.newest) if isinstance(each, SegmentAnnounced) else self.newest
            if at > count:
                yield at, each


@define(eq=False)
class Changes:
    """Numbers the changes of every stream."""

    run: str = field(factory=lambda: secrets.token_hex(8))
    _count: int = field(default=0, init=False)
    _streams: dict[str, _Stream] = field(factory=dict, init=False)

    def note(self, window: Window, news: Sequence[Announcement]) -> None:
        """Count a change of a stream's window, in which ``news`` was new."""
        self._count += 1
        changed = self._streams.pop(window.stream, None) or _Stream(window)
        self._streams[window.stream] = changed  # most recently changed last
        changed.note(self._count, news)

    def remove(self, stream: str) -> None:
        """Drop a stream that is no longer known."""
        self._streams.pop(stream, None)

    @property
    def token(self) -> str:
        """The token of the newest change."""
        return f"{self.run}-{self._count}"

    def since(self, token: str) -> tuple[list[Announcement], str]:
        """
        All changes after ``token``, oldest first, and the token for the next request.

        An unknown token gets everything. Either may take several answers.
        """
        run, _, digits = token.rpartition("-")
        count = int(digits) if run == self.run and digits.isdecimal() and len(digits) < 20 else -1
        found = self._newer(count if count <= self._count else -1)
        found.sort(key=itemgetter(0))
        if len(found) <= MAX_AT_ONCE:
            return [announcement for _, announcement in found], self.token
        last = found[MAX_AT_ONCE][0]
        return [announcement for at, announcement in found if at <= last], f"{self.run}-{last}"

    def _newer(self, count: int) -> list[tuple[int, Announcement]]:
        found: list[tuple[int, Announcement]] = []
        for changed in reversed(self._streams.values()):
            if changed.newest <= count:
                break
            found += changed.since(count)
        return found


def _segment_key(announcement: SegmentAnnounced) -> tuple[str, int]:
    return announcement.info.name, announcement.segment.msn
