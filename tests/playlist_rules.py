"""What a player holds a live playlist to, over all the texts of it that it has seen (RFC 8216, 4.3 and 6.2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from attrs import define, field, frozen

PLACE_TOLERANCE_S = 0.1
"""A program date and time is written in milliseconds, and each rendition's frames end a little apart."""
LATE_TARGETS = 1.5


@frozen
class Listed:
    """A segment as one playlist lists it; its date is worked out from the last one before it."""

    msn: int
    uri: str
    duration_s: float
    discontinuity: int
    map_uri: str | None
    date_s: float | None
    is_gap: bool
    is_dated: bool
    breaks: bool


@frozen
class Playlist:
    """A media playlist, read by nothing of the product's own."""

    tags: Counter[str]
    target_s: int
    msn: int
    discontinuity: int
    is_ended: bool
    segments: tuple[Listed, ...]


def read(text: str) -> Playlist:
    """Read a media playlist; a tag that should be there and is not counts as nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    tags = Counter(line.partition(":")[0] for line in lines if line.startswith("#EXT"))
    msn, discontinuity = _number(lines, "#EXT-X-MEDIA-SEQUENCE"), _number(lines, "#EXT-X-DISCONTINUITY-SEQUENCE")
    segments = tuple(_segments(lines, msn, discontinuity))
    target_s = _number(lines, "#EXT-X-TARGETDURATION")
    return Playlist(tags, target_s, msn, discontinuity, "#EXT-X-ENDLIST" in tags, segments)


def _number(lines: list[str], tag: str) -> int:
    return next((int(line.partition(":")[2]) for line in lines if line.startswith(f"{tag}:")), 0)


def _segments(lines: list[str], msn: int, discontinuity: int) -> Iterator[Listed]:
    map_uri: str | None = None
    date_s: float | None = None
    duration_s, gap, dated, breaks = 0.0, False, False, False
    for line in lines:
        tag, _, value = line.partition(":")
        if tag == "#EXTINF":
            duration_s = float(value.partition(",")[0])
        elif tag == "#EXT-X-MAP":
            found = re.search(r'URI="([^"]+)"', value)
            map_uri = found[1] if found else None
        elif tag == "#EXT-X-PROGRAM-DATE-TIME":
            date_s, dated = datetime.fromisoformat(value).timestamp(), True
        elif tag == "#EXT-X-DISCONTINUITY":
            discontinuity, breaks = discontinuity + 1, True
        elif tag == "#EXT-X-GAP":
            gap = True
        elif not line.startswith("#"):
            yield Listed(msn, line, duration_s, discontinuity, map_uri, date_s, gap, dated, breaks)
            date_s = None if date_s is None else date_s + duration_s
            msn, gap, dated, breaks = msn + 1, False, False, False


@define(eq=False)
class _Rendition:
    last: Playlist | None = None
    grown_at_s: float = 0.0
    known: dict[int, Listed] = field(factory=dict)


@define(eq=False)
class PlaylistRules:
    """Remembers every text of every rendition of one stream, and says which rules the next one breaks."""

    _renditions: dict[str, _Rendition] = field(factory=dict)
    _target_s: int | None = None

    def see(self, rendition: str, text: str, now_s: float) -> list[str]:
        """The broken rules of ``text``, read at ``now_s``; an empty list when a player would be content."""
        playlist = read(text)
        known = self._renditions.setdefault(rendition, _Rendition(grown_at_s=now_s))
        broken = [*_form(text, playlist), *self._target(playlist), *_succession(known, playlist, now_s)]
        for segment in playlist.segments:
            broken += changes(segment, known.known.get(segment.msn), "before")
            for name, other in self._renditions.items():
                if name != rendition and segment.msn in other.known:
                    broken += _same(segment, other.known[segment.msn], name)
            known.known.setdefault(segment.msn, segment)
        if known.last is None or _end(playlist) > _end(known.last):
            known.grown_at_s = now_s
        known.last = playlist
        return [f"{rendition}: {words}" for words in broken]

    def _target(self, playlist: Playlist) -> Iterator[str]:
        if self._target_s is None:
            self._target_s = playlist.target_s
        if playlist.target_s != self._target_s:
            yield f"the target duration became {playlist.target_s}, it was {self._target_s}"


def _end(playlist: Playlist) -> int:
    return playlist.msn + len(playlist.segments)


def _form(text: str, playlist: Playlist) -> Iterator[str]:
    if not text.startswith("#EXTM3U\n"):
        yield "#EXTM3U is not the first line"
    for tag in ("#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE"):
        if playlist.tags[tag] != 1:
            yield f"{tag} is there {playlist.tags[tag]} times"
    if not playlist.segments:
        yield "no segment is listed"
    for index, segment in enumerate(playlist.segments):
        if int(segment.duration_s + 0.5) > playlist.target_s:
            yield f"segment {segment.msn} has {segment.duration_s} s, more than the target of {playlist.target_s}"
        if segment.map_uri is None and not segment.is_gap:
            yield f"segment {segment.msn} has no EXT-X-MAP"
        if not segment.is_dated and (index == 0 or segment.breaks):
            yield f"segment {segment.msn} has no EXT-X-PROGRAM-DATE-TIME"
    yield from _order(playlist.segments)


def _order(segments: Sequence[Listed]) -> Iterator[str]:
    """Time goes on, and another initialisation segment comes with a discontinuity."""
    for before, segment in pairwise(segments):
        if None not in (before.date_s, segment.date_s) and _is_back(before, segment):
            yield f"segment {segment.msn} is dated before the end of the one before it"
    for before, segment in pairwise(each for each in segments if not each.is_gap):
        if before.map_uri != segment.map_uri and before.discontinuity == segment.discontinuity:
            yield f"segment {segment.msn} has another EXT-X-MAP and no discontinuity"


def _is_back(before: Listed, segment: Listed) -> bool:
    return (segment.date_s or 0) < (before.date_s or 0) + before.duration_s - PLACE_TOLERANCE_S


def _succession(known: _Rendition, playlist: Playlist, now_s: float) -> Iterator[str]:
    last = known.last
    if last is None:
        return
    if playlist.msn < last.msn or _end(playlist) < _end(last):
        yield f"it listed {last.msn} up to {_end(last)}, and now {playlist.msn} up to {_end(playlist)}"
    if playlist.discontinuity < last.discontinuity:
        yield f"the discontinuity sequence went down from {last.discontinuity} to {playlist.discontinuity}"
    if last.is_ended and not playlist.is_ended:
        yield "it goes on after its end"
    late_s = now_s - known.grown_at_s
    if _end(playlist) > _end(last) and late_s > LATE_TARGETS * playlist.target_s:
        yield f"the segment before {_end(playlist)} came {late_s:.1f} s after the one before it"


def changes(segment: Listed, before: Listed | None, when: str) -> Iterator[str]:
    """What differs from how a number was listed before: it keeps its segment, and all that is said of it."""
    if before is None:
        return
    for what in ("uri", "duration_s", "discontinuity", "map_uri", "is_gap"):
        now, then = getattr(segment, what), getattr(before, what)
        if now != then and not (what == "map_uri" and segment.is_gap):
            yield f"segment {segment.msn}: {what} is {now}, {when} {then}"
    if _apart(segment, before):
        yield f"segment {segment.msn}: its date is {segment.date_s}, {when} {before.date_s}"


def _same(segment: Listed, other: Listed, name: str) -> Iterator[str]:
    """A number is the same media in every rendition."""
    if abs(segment.duration_s - other.duration_s) > PLACE_TOLERANCE_S:
        yield f"segment {segment.msn} has {segment.duration_s} s, and {other.duration_s} s in {name}"
    if segment.discontinuity != other.discontinuity:
        yield f"segment {segment.msn} has discontinuity {segment.discontinuity}, and {other.discontinuity} in {name}"
    if _apart(segment, other):
        yield f"segment {segment.msn} is at {segment.date_s}, and at {other.date_s} in {name}"


def _apart(one: Listed, other: Listed) -> bool:
    return one.date_s is not None and other.date_s is not None and abs(one.date_s - other.date_s) > PLACE_TOLERANCE_S
