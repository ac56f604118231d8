"""
What has changed of a node's streams since a reader asked last, so that it need not be told everything each time.

Each change is counted. A reader is told how far the count was, as ``RUN-COUNT``, and says so when it asks again. The
run is that of the process: a count of another means nothing here. Only the counts of what is kept are kept: one for
each stream, and one for each of its segments.

An answer has a bound, since neither who writes it nor who reads it does anything else meanwhile: of more, what changed
first comes first, with the count up to there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from operator import itemgetter

from attrs import define, field

from livestream.model.segments import Announcement, SegmentAnnounced
from livestream.packaging.window import Window

MOST_AT_ONCE = 2048
"""An answer that says more than this says all of one change, and leaves later ones to the next."""
SLACK = 64
"""So many segments that are no longer kept may still have their counts."""


@define(eq=False)
class _Stream:
    """``newest`` is the count of the last change, and ``counts`` those of segments, by rendition and number."""

    window: Window
    newest: int = 0
    counts: dict[tuple[str, int], int] = field(factory=dict)
    most: int = SLACK

    def note(self, count: int, news: Sequence[Announcement]) -> None:
        self.newest = count
        self.counts.update((_name(each), count) for each in news if isinstance(each, SegmentAnnounced))
        if len(self.counts) > self.most:
            kept = {_name(each) for each in self.window.announcements() if isinstance(each, SegmentAnnounced)}
            self.counts = {name: count for name, count in self.counts.items() if name in kept}
            self.most = 2 * len(kept) + SLACK

    def since(self, count: int) -> Iterator[tuple[int, Announcement]]:
        """Newer segments, and all that is known of epochs and ends, which is little; each with its count."""
        for each in self.window.announcements():
            at = self.counts.get(_name(each), self.newest) if isinstance(each, SegmentAnnounced) else self.newest
            if at > count:
                yield at, each


@define(eq=False)
class Changes:
    """Counts what becomes known of each stream."""

    run: str = field(factory=lambda: secrets.token_hex(8))
    _count: int = field(default=0, init=False)
    _streams: dict[str, _Stream] = field(factory=dict, init=False)

    def note(self, window: Window, news: Sequence[Announcement]) -> None:
        """A stream's window has taken something in, of which this was news."""
        self._count += 1
        changed = self._streams.pop(window.stream, None) or _Stream(window)
        self._streams[window.stream] = changed  # those that changed last come last
        changed.note(self._count, news)

    def forget(self, stream: str) -> None:
        """A stream is known no more."""
        self._streams.pop(stream, None)

    @property
    def token(self) -> str:
        """How far the count is now."""
        return f"{self.run}-{self._count}"

    def since(self, token: str) -> tuple[list[Announcement], str]:
        """
        What is known of all streams beyond what a reader with this token was told, and the token for the next time.

        With any other token it is everything; either may take several answers.
        """
        run, _, digits = token.rpartition("-")
        count = int(digits) if run == self.run and digits.isdecimal() and len(digits) < 20 else -1
        found = self._newer(count if count <= self._count else -1)
        found.sort(key=itemgetter(0))
        if len(found) <= MOST_AT_ONCE:
            return [told for _, told in found], self.token
        last = found[MOST_AT_ONCE][0]
        return [told for at, told in found if at <= last], f"{self.run}-{last}"

    def _newer(self, count: int) -> list[tuple[int, Announcement]]:
        found: list[tuple[int, Announcement]] = []
        for changed in reversed(self._streams.values()):
            if changed.newest <= count:
                break
            found += changed.since(count)
        return found


def _name(told: SegmentAnnounced) -> tuple[str, int]:
    return told.info.name, told.segment.msn
