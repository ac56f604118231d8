"""Where sounds are placed, whatever times they come with."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.codecs import AudioConfig
from livestream.model.frames import Codec, Frame
from livestream.packaging.samples import AUDIO_DRIFT_MS, AudioQueue
from tests.packaging.broadcasts import sound

RATES = st.sampled_from([7350, 7351, 11025, 44100, 48000, 96000])
NEAR = st.integers(-1, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("steady"), st.integers(0, 30)),
        st.tuples(st.just("anchor"), st.integers(-200, 200)),
        st.tuples(st.sampled_from(["early", "late"]), NEAR),
    ),
    min_size=1,
    max_size=60,
)


def placed(expected: int, told: int, rate: int, anchors: bool) -> int | None:
    """The rule: by counting, but by the timestamp after a break, or where it is too far off."""
    if anchors:
        return max(told, expected)
    if abs(told - expected) * 1000 <= AUDIO_DRIFT_MS * rate:
        return expected
    return told if told > expected else None


def is_heard(frame: Frame) -> bool:
    """Whether it is a frame of :func:`sound`, and not silence that takes the place of one."""
    return frame.data[1:] == frame.dts_ms.to_bytes(8, "big")


@given(RATES, st.sampled_from([960, 1024]), st.integers(0, 1 << 40), STEPS)
@settings(deadline=None)
def test_sounds_are_counted_until_their_rounded_times_are_too_far_off(rate, length, start_ms, steps):
    sounds, expected, positions = AudioQueue(), 0, []
    sounds.configure(AudioConfig(Codec.AAC, b"\x11\x90", "mp4a.40.2", rate, 2, length))
    now_ms = newest_ms = first_ms = start_ms
    for index, (kind, by_ms) in enumerate(steps):
        if kind == "anchor":
            sounds.anchor()
        sign = {"early": -1, "late": 1}.get(kind, 0)
        base_ms = (
            now_ms if kind in ("steady", "anchor") or not index else expected * 1000 // rate + sign * AUDIO_DRIFT_MS
        )
        now_ms = max(base_ms + by_ms, 0)
        newest_ms = max(newest_ms, now_ms) if index else now_ms
        first_ms = first_ms if index else now_ms
        position = placed(expected, round(now_ms * rate / 1000), rate, kind == "anchor" or not index)
        sounds.add(sound(now_ms), 0)
        if position is not None:
            positions.append(position)
            expected = position + length
    heard = sounds.take(first_ms, newest_ms + 1)
    assert heard is not None
    assert [at for frame, at in zip(heard.frames, heard.positions, strict=True) if is_heard(frame)] == positions
    run = sounds.track_run(heard)
    assert (run.base, run.base + sum(run.durations)) == (heard.positions[0], heard.ends)
    assert all(length <= duration < 2 * length for duration in run.durations)


@pytest.mark.parametrize("rate", [7350, 7351, 44100])
@pytest.mark.parametrize("side", [-1, 1])
def test_how_far_off_is_too_far_is_decided_by_the_rounded_time(rate, side):
    for start_ms in range(500, 1500):
        sounds = AudioQueue()
        sounds.configure(AudioConfig(Codec.AAC, b"\x11\x90", "mp4a.40.2", rate, 2, 1024))
        sounds.add(sound(start_ms), 0)
        expected = round(start_ms * rate / 1000) + 1024
        at_ms = expected * 1000 // rate + side * AUDIO_DRIFT_MS + (side > 0)
        position = placed(expected, round(at_ms * rate / 1000), rate, False)
        sounds.add(sound(at_ms), 0)
        heard = sounds.take(start_ms, max(at_ms, start_ms) + 1)
        assert heard is not None
        kept = [at for frame, at in zip(heard.frames, heard.positions, strict=True) if is_heard(frame)]
        assert kept[1:] == ([] if position is None else [position])


def test_sounds_that_come_after_silence_has_taken_their_place_shift_nothing():
    queue = AudioQueue()
    queue.configure(AudioConfig(Codec.AAC, b"\x11\x90", "mp4a.40.2", 48_000, 2, 1024))
    times = [index * 1024 // 48 for index in range(60)]
    for ms in times[:25]:
        queue.add(sound(ms), 0)
    first = queue.take(0, 640)
    assert first is not None and not all(map(is_heard, first.frames))
    for ms in times[25:]:
        queue.add(sound(ms), 640)
    second = queue.take(640, 1_280)
    assert second is not None and second.positions[0] >= first.ends
    heard = [(frame.dts_ms, at) for frame, at in zip(second.frames, second.positions, strict=True) if is_heard(frame)]
    assert len(heard) >= 29 and all(abs(at / 48 - ms) <= 1 for ms, at in heard)
