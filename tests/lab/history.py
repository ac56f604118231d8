"""
What the edges of a cluster have listed of one stream, and where they contradict themselves or each other.

Pure: the verifier says which playlist it has read where and when, and which segment it got.
"""

from __future__ import annotations

from itertools import pairwise

from attrs import define, field

from tests.lab.waits import LongestWait
from tests.playlist_rules import Listed, Playlist, changes

MEDIA_TOLERANCE_S = 0.1
"""The first track may end a little before or after what EXTINF says, which is of the whole segment."""


@define(eq=False)
class EdgeHistory:
    """What one edge has listed, by media sequence number."""

    listed: dict[int, Listed] = field(factory=dict)
    """As it was seen first."""
    digests: dict[int, str] = field(factory=dict)
    """Of the segments that could be fetched."""
    begins_s: dict[int, float] = field(factory=dict)
    """When the media of each segment begins, on the time line of its initialisation segment."""
    excused: set[int] = field(factory=set)
    """Listed only while the edge was away: killed, stopped or draining."""
    seen_s: dict[int, float] = field(factory=dict)
    growths_s: list[float] = field(factory=list)
    growth: LongestWait = field(factory=LongestWait)
    is_away: bool = False
    last: Playlist | None = None
    _was_away: bool = False

    def see(self, playlist: Playlist, now_s: float) -> None:
        if self.last is None or end_of(playlist) > end_of(self.last):
            self.growths_s.append(now_s)
            self.growth.happened(now_s)
        if self.last is not None and self._was_away:
            self.excused |= set(range(end_of(self.last), playlist.msn))
        self._was_away = self.is_away
        self.last = playlist
        for segment in playlist.segments:
            self.listed.setdefault(segment.msn, segment)
            self.seen_s.setdefault(segment.msn, now_s)
            if not segment.is_gap and self.listed[segment.msn].is_gap:
                self.listed[segment.msn] = segment

    def leave(self) -> None:
        """The edge is away from now on: what it listed last may never be fetched."""
        self.is_away = self._was_away = True
        self.excused |= set(self.listed) - set(self.digests)

    def lost(self) -> set[int]:
        """Numbers that a viewer who stayed never got: not listed, or not to be had. Gaps are not among them."""
        if not self.listed:
            return set()
        known = {msn for msn, segment in self.listed.items() if segment.is_gap} | set(self.digests) | self.excused
        return set(range(min(self.listed), max(self.listed) + 1)) - known

    def holes(self) -> set[int]:
        """Numbers whose media does not go on where that of the number before ended, though no discontinuity says so."""
        numbers = sorted(self.begins_s)
        return {now for before, now in pairwise(numbers) if now == before + 1 and self._is_hole(before, now)}

    def _is_hole(self, before: int, now: int) -> bool:
        ended = self.listed[before]
        if ended.discontinuity != self.listed[now].discontinuity:
            return False
        return abs(self.begins_s[now] - self.begins_s[before] - ended.duration_s) > MEDIA_TOLERANCE_S

    def gaps(self) -> set[int]:
        return {msn for msn, segment in self.listed.items() if segment.is_gap}


@define(eq=False)
class History:
    """One stream, as all edges have listed it."""

    stream: str
    edges: dict[str, EdgeHistory] = field(factory=dict)
    conflicts: dict[tuple[str, int], str] = field(factory=dict)
    """By edge and number: what differs from how the number was seen first, on whatever edge."""
    regressions: list[str] = field(factory=list)
    _first_seen: dict[int, tuple[str, Listed]] = field(factory=dict)
    _first_digests: dict[int, str] = field(factory=dict)

    def edge(self, name: str) -> EdgeHistory:
        return self.edges.setdefault(name, EdgeHistory())

    def see(self, name: str, playlist: Playlist, now_s: float) -> None:
        """Take a playlist that an edge has answered with."""
        edge = self.edge(name)
        if edge.last is not None:
            self.regressions += [f"{self.stream} on {name}: {words}" for words in _steps_back(edge.last, playlist)]
        for segment in playlist.segments:
            where, first = self._first_seen.setdefault(segment.msn, (name, segment))
            for words in changes(segment, first, f"first on {where}"):
                self._conflict(name, segment.msn, words)
        edge.see(playlist, now_s)

    def fetched(self, name: str, msn: int, digest: str, begin_s: float | None) -> None:
        """Take the digest of a segment that was fetched from an edge, and when its media begins."""
        self.edge(name).digests[msn] = digest
        if begin_s is not None:
            self.edge(name).begins_s[msn] = begin_s
        if digest != self._first_digests.setdefault(msn, digest):
            self._conflict(name, msn, f"segment {msn}: its bytes are others")

    def lost(self) -> set[int]:
        """
        Numbers that a viewer lost who stayed at some edge.

        A gap counts where another edge has media under the same number.
        """
        media = set().union(*(edge.digests for edge in self.edges.values()))
        return set().union(*(edge.lost() | edge.gaps() & media for edge in self.edges.values()))

    def holes(self) -> set[int]:
        return set().union(*(edge.holes() for edge in self.edges.values()))

    def gaps(self) -> set[int]:
        return set().union(*(edge.gaps() for edge in self.edges.values()))

    def _conflict(self, name: str, msn: int, words: str) -> None:
        self.conflicts.setdefault((name, msn), f"{self.stream} on {name}: {words}")


def end_of(playlist: Playlist) -> int:
    """The number after the last one listed."""
    return playlist.msn + len(playlist.segments)


def _steps_back(last: Playlist, playlist: Playlist) -> list[str]:
    steps = []
    if playlist.msn < last.msn or end_of(playlist) < end_of(last):
        before, now = f"{last.msn} up to {end_of(last)}", f"{playlist.msn} up to {end_of(playlist)}"
        steps.append(f"it listed {before}, and now {now}")
    if playlist.discontinuity < last.discontinuity:
        steps.append(f"the discontinuity sequence went from {last.discontinuity} to {playlist.discontinuity}")
    if last.is_ended and not playlist.is_ended:
        steps.append("it goes on after its end")
    return steps
