from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.model.frames import Frame
from livestream.push.backlog import Backlog
from livestream.push.tick_batch import Batch
from tests.push.frames import configs, picture, sound, spell


def batch(*frames: Frame) -> Batch:
    return Batch(frames, spell)


def drained(backlog: Backlog) -> str:
    return b"".join(backlog.pop() for _ in range(len(backlog))).decode().strip()


def test_what_fits_comes_out_as_it_went_in() -> None:
    backlog = Backlog(1000, 10_000)
    assert backlog.push(batch(picture(0, True), sound(10))) == 0
    assert backlog.push(batch(picture(40), sound(50))) == 0
    assert drained(backlog) == "K0 s10 p40 s50"
    assert backlog.size_bytes == 0


def test_the_pictures_up_to_the_newest_key_frame_are_given_up_and_the_sound_is_kept() -> None:
    backlog = Backlog(1000, 100)
    backlog.push(batch(picture(0), sound(10)))
    backlog.push(batch(picture(40), sound(50)))
    backlog.push(batch(picture(80), picture(90, True), sound(91)))
    assert backlog.push(batch(picture(120), sound(130))) == 1
    assert drained(backlog) == "s50 K90 s91 p120 s130"
    assert not backlog.is_skipping


def test_without_a_key_frame_pictures_are_given_up_until_one_comes() -> None:
    backlog = Backlog(1000, 100)
    backlog.push(batch(picture(0), sound(10)))
    assert backlog.push(batch(picture(120), sound(130))) == 1
    assert backlog.is_skipping
    assert backlog.push(batch(picture(140), sound(150))) == 0
    backlog.push(batch(picture(160), picture(180, True), sound(181), picture(190)))
    assert drained(backlog) == "s130 s150 K180 s181 p190"


def test_a_group_that_is_itself_too_large_is_given_up_too() -> None:
    backlog = Backlog(45, 10_000)
    backlog.push(batch(picture(0, True), sound(10)))
    backlog.push(batch(picture(40, True), sound(50)))
    skipped = sum(backlog.push(batch(picture(time_ms), sound(time_ms + 1))) for time_ms in range(80, 400, 40))
    assert skipped == 2
    assert backlog.is_skipping
    assert "p" not in drained(backlog)


def test_configurations_are_never_given_up_with_the_pictures() -> None:
    backlog = Backlog(1000, 100)
    backlog.push(batch(picture(100), *configs(101)))
    backlog.push(batch(picture(190), sound(195)))
    backlog.push(batch(picture(210), sound(215)))
    assert drained(backlog) == "C101 C101 s195 s215"


def test_sound_alone_is_bounded_as_well() -> None:
    backlog = Backlog(50, 10_000)
    for time_ms in range(0, 1000, 20):
        assert backlog.push(batch(sound(time_ms))) == 0
    assert not backlog.is_skipping
    assert drained(backlog).endswith("s960 s980")


def test_every_group_that_is_missed_is_counted_once() -> None:
    backlog = Backlog(10_000, 2000)
    skipped = 0
    for time_ms in range(0, 4000, 40):
        skipped += backlog.push(batch(picture(time_ms, time_ms % 1000 == 0)))
    assert skipped == 2


def test_a_batch_without_a_key_frame_cannot_be_resumed_with() -> None:
    with pytest.raises(ValueError, match="key frame"):
        _ = batch(picture(0)).from_key_frame


FRAMES = st.lists(st.sampled_from("Kps"), min_size=1, max_size=4)


@given(ticks=st.lists(st.tuples(FRAMES, st.integers(0, 3)), max_size=60), limit=st.integers(20, 300))
@settings(deadline=None, max_examples=100)
def test_the_bounds_hold_and_no_picture_comes_without_those_it_needs(
    ticks: list[tuple[list[str], int]], limit: int
) -> None:
    backlog = Backlog(limit, 400)
    time_ms, seen, expected = 0, [], []
    for letters, taken in ticks:
        frames = []
        for letter in letters:
            time_ms += 10
            frames.append(sound(time_ms) if letter == "s" else picture(time_ms, letter == "K"))
        expected += [f for f in frames if f.track.value == "video"]
        backlog.push(Batch(frames, spell))
        assert backlog.size_bytes <= limit
        for _ in range(min(taken, len(backlog))):
            seen += backlog.pop().decode().split()
    while backlog:
        seen += backlog.pop().decode().split()
    assert_decodable(seen, [("K" if f.is_key else "p") + str(f.dts_ms) for f in expected])


def assert_decodable(seen: list[str], sent: list[str]) -> None:
    """Each picture is a key frame, or follows the one that was sent just before it."""
    times = [int(name[1:]) for name in seen]
    assert times == sorted(times)
    pictures = [name for name in seen if name[0] in "Kp"]
    for before, after in zip([None, *pictures], pictures, strict=False):
        at = sent.index(after)
        assert after[0] == "K" or (before is None and at == 0) or (at > 0 and before == sent[at - 1])
