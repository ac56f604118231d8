"""What a playlist has listed can be fetched for as long as a player of that playlist may come for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define, evolve, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livestream.model.segments import Epoch, Segment, SegmentAnnounced
from livestream.packaging.retention import MAX_REMOVED, MediaTime, Retention
from livestream.packaging.window import Window
from tests.packaging.windows import EPOCH, RUNG, SOURCE, announced, segment

Announced = tuple[int, SegmentAnnounced]
"""A time in milliseconds, and what is announced then."""


def broadcast(durations_ms: Sequence[int], lags_ms: Sequence[int], jumps: dict[int, int]) -> list[Announced]:
    """
    A source whose segments are announced as they end, and a rung that lags behind it, now more and now less.

    At a jump an epoch begins that skips so many numbers, and restarts the lists.
    """
    events: list[Announced] = []
    time_ms, rung_ms, msn = 0, 0, 0
    epoch = Epoch(EPOCH, 1, restarts_list=True)
    for place, duration_ms in enumerate(durations_ms):
        msn += 1
        if skipped := jumps.get(place, 0):
            msn += skipped
            epoch = Epoch(epoch.number + 1, msn, restarts_list=True)
        time_ms += duration_ms
        rung_ms = max(time_ms + lags_ms[place % len(lags_ms)], rung_ms)
        placed = evolve(segment(msn, epoch=epoch.number), duration_ms=duration_ms, starts_at_ms=EPOCH + time_ms)
        for at_ms, info in ((time_ms, SOURCE), (rung_ms, RUNG)):
            events.append((at_ms, SegmentAnnounced("show", epoch, 3, info, placed)))
    return sorted(events, key=lambda event: event[0])


@define(eq=False)
class Players:
    """Load every playlist at every moment, and come for each segment in it until the last that they may."""

    window: Window
    lists: dict[str, list[Segment]] = field(factory=dict)
    until_ms: dict[tuple[str, str], int] = field(factory=dict)

    def reload(self, now_ms: int) -> None:
        """What was listed until now may be asked for from now on for so long, if it is not listed any more."""
        for rendition, segments in self.lists.items():
            list_ms = sum(each.duration_ms for each in segments)
            for each in segments:
                assert each.media is not None
                key = rendition, each.media.name
                self.until_ms[key] = max(self.until_ms.get(key, 0), now_ms + each.duration_ms + list_ms)
        self.lists = {name: self.window.listed(name) for name in ("source", "720p")}

    def missing(self, now_ms: int) -> list[tuple[str, str]]:
        return [key for key, until_ms in self.until_ms.items() if until_ms > now_ms and not self.has(*key)]

    def has(self, rendition: str, name: str) -> bool:
        return self.window.object_info(rendition, name) is not None


DURATIONS = st.lists(st.one_of(st.just(3000), st.integers(40, 3400)), min_size=10, max_size=80)
LAGS = st.lists(st.one_of(st.just(0), st.integers(0, 20_000)), min_size=1, max_size=20)
JUMPS = st.dictionaries(st.integers(1, 70), st.integers(1, 500), max_size=3)


@settings(deadline=None, max_examples=150)
@example([3000] * 20 + [300] * 40, [0], {}, 6)
@example([300] * 40 + [3000] * 30, [0], {}, 6)
@example([3000] * 40, [15_000] * 12 + [0], {}, 6)
@example([3000] * 40, [7000], {20: 300}, 6)
@given(DURATIONS, LAGS, JUMPS, st.integers(3, 12))
def test_what_was_listed_is_known_for_its_duration_and_that_of_the_playlist(
    durations_ms: list[int], lags_ms: list[int], jumps: dict[int, int], length: int
) -> None:
    players = Players(Window("show", length))
    for now_ms, event in broadcast(durations_ms, lags_ms, jumps):
        players.window.apply([event])
        players.reload(now_ms)
        assert players.missing(now_ms) == []


@settings(deadline=None, max_examples=100)
@example([3000] * 20 + [300] * 40, [0], {}, 6, 25)
@example([3000] * 29, [0], {26: 1, 23: 1}, 5, 46)
@given(DURATIONS, LAGS, JUMPS, st.integers(3, 12), st.integers(0, 159))
def test_a_node_that_starts_meanwhile_knows_it_as_well(
    durations_ms: list[int], lags_ms: list[int], jumps: dict[int, int], length: int, starts_at: int
) -> None:
    players, late = Players(Window("show", length)), Window("show", length)
    for place, (now_ms, event) in enumerate(broadcast(durations_ms, lags_ms, jumps)):
        players.window.apply([event])
        players.reload(now_ms)
        if place == starts_at:
            late.apply(players.window.announcements())
            players.window = late
        assert players.missing(now_ms) == []


def test_what_no_playlist_can_have_any_more_is_dropped() -> None:
    players = Players(Window("show", 6))
    for now_ms, event in broadcast([3000, 1000, 200, 2000] * 100, [5000, 0, 12_000], {50: 7, 200: 400}):
        players.window.apply([event])
        players.reload(now_ms)
        known = [each for each in players.window.announcements() if isinstance(each, SegmentAnnounced)]
        for info in (SOURCE, RUNG):
            kept_ms = sum(each.segment.duration_ms for each in known if each.info == info)
            assert kept_ms <= 35_000


def test_a_rendition_that_comes_no_more_is_dropped_and_its_last_list_in_time() -> None:
    window = Window("show", 6)
    window.apply([announced(msn, info) for msn in range(1, 11) for info in (SOURCE, RUNG)])
    withdrawn, last = 0, f"{EPOCH}-10.m4s"
    for msn in range(11, 40):
        window.apply([announced(msn)])
        withdrawn = withdrawn or (0 if window.listed("720p") else msn)
        since_ms = 3000 * (msn - withdrawn) if withdrawn else 0
        assert (window.object_info("720p", last) is not None) is (since_ms < 3000 + 3000 + 18_000)
    assert not window.has_rendition("720p")


def test_however_short_they_are_a_bounded_number_is_kept() -> None:
    retention, known = Retention(), {msn: announced(msn) for msn in range(1, 2 * MAX_REMOVED)}
    assert retention.past(known, 2 * MAX_REMOVED, True, MediaTime(0, 0)) == list(range(1, MAX_REMOVED))


@pytest.mark.parametrize("length", [3, 6, 60])
def test_of_a_steady_broadcast_as_much_is_kept_as_is_listed_and_two_more(length: int) -> None:
    window = Window("show", length)
    for msn in range(1, 5 * length):
        window.apply([announced(msn)])
    assert len(window.listed("source")) == length
    assert len(window.announcements()) == 2 * length + 2
