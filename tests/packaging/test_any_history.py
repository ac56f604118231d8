"""Whatever is announced, lost, heard twice or too late, and whoever forgets: no playlist ever breaks a rule."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, evolve, field
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from livestream.model import Announcement, ObjectInfo, Segment, SegmentAnnounced, StreamEnded
from livestream.packaging.playlist import media_playlist, multivariant
from livestream.packaging.window import Change, StreamState, Window

from ..playlist_rules import PlaylistRules, read
from .windows import EPOCH, RUNG, SOURCE

TARGET_S = 3
NAMES = ("source", "720p")


@define(eq=False)
class Edge:
    """A window, and a player who has seen every text of its playlists."""

    window: Window = field(factory=lambda: Window("show", 6))
    broken: list[str] = field(factory=list)
    _rules: PlaylistRules = field(factory=PlaylistRules)
    _texts: dict[str, str] = field(factory=dict)

    def look(self) -> None:
        for name in NAMES:
            text = media_playlist(self.window, name)
            if text is not None and text != self._texts.get(name):
                self._see(name, text)
        for line in (multivariant(self.window) or "").splitlines():
            if line.endswith(".m3u8") and media_playlist(self.window, line.split("/")[0]) is None:
                self.broken.append(f"{line} is offered and not there")

    def _see(self, name: str, text: str) -> None:
        ended = self._texts.get(name, "")
        if "ENDLIST" in ended and "ENDLIST" not in text:
            self._rules = PlaylistRules()  # the same name, another broadcast: numbers go on, all else is new
            before = read(ended)
            if read(text).msn < before.msn + len(before.segments):
                self.broken.append(f"{name}: a new broadcast begins at {read(text).msn}")
        self._texts[name] = text
        self.broken += self._rules.see(name, text, 0)


@define(eq=False)
class History:
    """An ingest, an origin, an edge that hears the origin through a bad channel, and one that hears all."""

    edge: Edge = field(factory=Edge)
    lucky: Edge = field(factory=Edge)
    ingest: Window = field(factory=lambda: Window("show", 6))
    origin: Window = field(factory=lambda: Window("show", 6))
    epoch: int = EPOCH
    msn: int = 100
    discontinuity: int = 5
    init: int = 0
    at_ms: int = EPOCH
    clock_ms: int = EPOCH
    delayed: list[Announcement] = field(factory=list)
    snapshot: StreamState | None = None
    zombie: SegmentAnnounced | None = None

    # What happens

    def segments(self, count: int, duration_ms: int, seed: int) -> None:
        """Some segments of every rendition; ``seed`` decides what becomes of each announcement on its way."""
        random = Random(seed)
        for _ in range(count):
            self._segment(duration_ms, False, random)

    def _segment(self, duration_ms: int, is_gap: bool, random: Random) -> None:
        place = Segment(self.msn, self.discontinuity, self.at_ms, duration_ms, None, None)
        for info in (SOURCE, RUNG):
            media = ObjectInfo(f"{self.epoch}-{self.msn}.m4s", 1000, f"{self.msn:064x}")
            init = ObjectInfo(f"{self.epoch}-init-{self.init}.mp4", 800, "0" * 64)
            segment = evolve(place, media=None if is_gap else media, init=init)
            self._announce(SegmentAnnounced("show", self.epoch, TARGET_S, info, segment), random)
        self.msn += 1
        self.at_ms += duration_ms
        self.clock_ms += duration_ms // 2 if is_gap else duration_ms

    def absence(self, count: int, seed: int) -> None:
        """The publisher is away: gaps, whose dates may run ahead of the clock; it comes back with a discontinuity."""
        random = Random(seed)
        for _ in range(count):
            self._segment(TARGET_S * 1000, True, random)
        self.breaks()

    def breaks(self) -> None:
        self.discontinuity += 1
        self.init += 1
        self.at_ms = max(self.at_ms, self.clock_ms)

    def restart(self, remembers: bool, offset: int) -> None:
        """The ingest begins again, and knows how far it had come, or does not."""
        known = [(s, r.info) for r in self.ingest.state().renditions for s in r.segments]
        if known:
            segment, info = known[-1]
            media = ObjectInfo(f"{self.epoch}-{segment.msn + 1}.m4s", 1000, "f" * 64)
            late = evolve(segment, msn=segment.msn + 1, media=media)
            self.zombie = SegmentAnnounced("show", self.epoch, TARGET_S, info, late)
        self.epoch += 5000
        self.init = 0
        self.ingest = Window("show", 6)
        self.at_ms = self.clock_ms
        self.msn = max(self.msn + (0 if remembers else offset), 0)
        self.discontinuity = self.discontinuity + 1 if remembers else 5 + max(offset, 0)

    def end(self, seed: int) -> None:
        if self.ingest.last_msn is not None:
            self._announce(StreamEnded("show", self.epoch, self.msn - 1), Random(seed))
            self.restart(True, 0)

    def origin_restarts(self) -> None:
        self.origin = Window("show", 6)
        self._tell(self.origin.merge(self.ingest.state()), Random(0))

    def snapshots(self, is_old: bool) -> None:
        """The edge reads the state; or one that a slow answer brings too late."""
        if is_old:
            state, self.snapshot = self.snapshot, None
        else:
            state = self.origin.state()
        if state is not None:
            self.edge.window.merge(state)
            self.edge.look()

    def keeps_a_snapshot(self) -> None:
        self.snapshot = self.origin.state()

    def late(self, is_forced: bool) -> None:
        """What was delayed arrives, in the wrong order; or is taken for good."""
        while self.delayed:
            announcement = self.delayed.pop()
            if is_forced:
                self.edge.window.fill(announcement)
            else:
                self.edge.window.apply(announcement)
            self.edge.look()

    def zombie_speaks(self) -> None:
        if self.zombie is not None:
            self.edge.window.apply(self.zombie)
            self.origin.apply(self.zombie)
            self.edge.look()

    # How it gets to the edges

    def _announce(self, announcement: Announcement, random: Random) -> None:
        for mine in self.ingest.fill(announcement):
            self._tell(self.origin.fill(mine), random)

    def _tell(self, announcements: list[Announcement], random: Random) -> None:
        for announcement in announcements:
            self._hear(self.lucky, announcement, True)
            fate = random.choice(["heard", "heard", "lost", "twice", "delayed", "asks"])
            if fate == "delayed":
                self.delayed.append(announcement)
            if fate == "twice":
                self._hear(self.edge, announcement, False)
            if fate in ("heard", "twice", "asks"):
                self._hear(self.edge, announcement, fate == "asks")

    def _hear(self, edge: Edge, announcement: Announcement, asks: bool) -> None:
        change = edge.window.apply(announcement)
        if change is Change.HOLE and asks:
            edge.window.merge(self.origin.state())
        if change in (Change.NEWS, Change.HOLE):
            edge.look()


SEEDS = st.integers(0, 99)
EVENTS = st.one_of(
    st.tuples(st.just("absence"), st.integers(1, 4), SEEDS),
    st.just(("breaks",)),
    st.just(("restart", True, 0)),
    st.tuples(st.just("restart"), st.just(False), st.sampled_from([-30, -3, -1, 0])),
    st.tuples(st.just("restart"), st.just(False), st.sampled_from([1, 3, 4, 6])),
    st.tuples(st.just("restart"), st.just(False), st.sampled_from([9, 40])),
    st.tuples(st.just("end"), SEEDS),
    st.just(("origin_restarts",)),
    st.tuples(st.just("snapshots"), st.booleans()),
    st.just(("keeps_a_snapshot",)),
    st.tuples(st.just("late"), st.booleans()),
    st.just(("zombie_speaks",)),
)
bounded = settings(deadline=None, derandomize=True, phases=[Phase.generate])  # to shrink takes minutes
MEDIA = st.tuples(st.integers(0, 8), st.sampled_from([1000, 2933, 3000, 3400]), SEEDS)


@settings(bounded, max_examples=50)
@given(st.lists(st.tuples(EVENTS, MEDIA), min_size=10, max_size=20))
def test_no_history_makes_a_playlist_break_a_rule(events: list[tuple[Any, Any]]) -> None:
    history = History()
    for (name, *how), media in events:
        getattr(history, name)(*how)
        history.segments(*media)
        assert history.edge.broken == []
        assert history.lucky.broken == []


@settings(bounded, max_examples=30)
@given(st.lists(st.tuples(EVENTS.filter(lambda event: event[0] != "origin_restarts"), MEDIA), min_size=3, max_size=12))
def test_after_any_history_an_edge_that_asks_lists_what_is_new(events: list[tuple[Any, Any]]) -> None:
    history = History()
    for (name, *how), media in events:
        getattr(history, name)(*how)
        history.segments(*media)
    history.segments(2, 3000, 0)
    history.snapshots(False)
    for edge in (history.edge, history.lucky):
        for name in NAMES:
            text = media_playlist(edge.window, name)
            assert text is not None
            assert read(text).segments[-1].uri == f"{history.epoch}-{history.msn - 1}.m4s"
            assert edge.window.listed(name)[-2:] == history.origin.listed(name)[-2:]
