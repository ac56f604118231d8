from __future__ import annotations

from collections.abc import Sequence

from livestream.model.frames import Frame
from livestream.push.timeline_splice import TimelineOrigin, TimelineSplice, unwrap
from tests.push.frames import configs, group, names, picture, sound


def placed(splice: TimelineSplice, frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in map(splice.place, frames) if frame is not None]


def connected(origin: TimelineOrigin | None = None, splice: TimelineSplice | None = None) -> TimelineSplice:
    splice = splice or TimelineSplice()
    splice.connected()
    if origin is not None:
        splice.clock(0, 0.0, origin)
    return splice


def test_the_first_upstreams_times_are_taken_as_they_are() -> None:
    splice = connected(TimelineOrigin(7))
    frames = [*configs(5000), *group(5000, 3)]
    assert names(placed(splice, frames)) == names(frames)
    assert splice.origin == TimelineOrigin(7)


def test_what_came_already_is_left_out_when_the_next_upstream_has_the_same_broadcast() -> None:
    frames = [*configs(0), *group(0, 25)]
    splice = connected(TimelineOrigin(7))
    placed(splice, frames[:31])
    connected(TimelineOrigin(7), splice)
    assert names(placed(splice, frames)) == names(frames[31:])


def test_an_upstream_that_moved_the_same_broadcast_is_moved_back() -> None:
    frames = [*configs(0), *group(0, 25)]
    splice = connected(TimelineOrigin(7))
    placed(splice, frames[:31])
    connected(TimelineOrigin(7, 1000), splice)
    moved = [*configs(1000), *group(1000, 25)]
    assert names(placed(splice, moved)) == names(frames[31:])
    assert splice.origin == TimelineOrigin(7)


def test_another_broadcast_follows_on() -> None:
    splice = connected(TimelineOrigin(7))
    placed(splice, group(90_000, 2))
    connected(TimelineOrigin(8), splice)
    assert names(placed(splice, group(0, 2))) == "K90060 s90060 p90100 s90100"
    assert splice.origin == TimelineOrigin(8, 90_060)


def test_an_upstream_that_says_nothing_of_its_time_line_is_another_broadcast() -> None:
    splice = connected()
    placed(splice, group(0, 2))
    connected(None, splice)
    assert names(placed(splice, group(0, 1))) == "K60 s60"
    assert splice.origin is None


def test_an_upstream_that_goes_over_to_another_broadcast_itself_is_followed() -> None:
    splice = connected(TimelineOrigin(7))
    placed(splice, group(1000, 2))
    connected(TimelineOrigin(8), splice)
    placed(splice, group(0, 2))
    splice.clock(0, 0.0, TimelineOrigin(9, 80))
    assert names(placed(splice, group(80, 1))) == "K1140 s1140"
    assert splice.origin == TimelineOrigin(9, 80 + 1060)


def test_a_configuration_that_has_not_changed_is_not_repeated() -> None:
    splice = connected(TimelineOrigin(7))
    placed(splice, [*configs(0), *group(0, 1)])
    connected(TimelineOrigin(7), splice)
    assert placed(splice, configs(40)) == []
    changed = picture(0)
    assert placed(splice, [*configs(0)[:1], changed]) == []


def test_times_are_unwrapped_past_32_bits() -> None:
    splice = connected(TimelineOrigin(7))
    placed(splice, [sound(2**32 - 20)])
    assert names(placed(splice, [sound(1)])) == f"s{2**32 + 1}"
    connected(TimelineOrigin(7), splice)
    assert names(placed(splice, [sound(1), sound(22)])) == f"s{2**32 + 22}"


def test_the_arrival_of_a_frame_is_told_by_the_clock_that_came_ahead_of_it() -> None:
    splice = connected()
    splice.clock(1040, 500.0, TimelineOrigin(7))
    first, second = placed(splice, [picture(1000, True), picture(1040)])
    assert (first.arrived, second.arrived) == (499.96, 500.0)


def test_unwrap_finds_the_nearest_time() -> None:
    assert unwrap(5, 2**32 - 5) == 2**32 + 5
    assert unwrap(2**32 - 5, 2**32 + 5) == 2**32 - 5
    assert unwrap(100, 90) == 100
