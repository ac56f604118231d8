from __future__ import annotations

from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.media.gop import GopCache
from livestream.model.frames import Frame


def picture(dts_ms: int, is_key: bool = False, size: int = 10) -> Frame:
    return avc_frame(dts_ms, 0, is_key, bytes(size))


def cache(*frames: Frame, **limits: int) -> list[Frame]:
    kept = GopCache(**limits)
    for frame in frames:
        kept.add(frame)
    return kept.frames()


CONFIGS = [avc_config(b"one"), aac_config(b"two")]


def test_a_new_viewer_gets_the_configurations_and_all_since_the_last_key_frame():
    group = [picture(2000, True), aac_frame(2010, b"x"), picture(2040)]
    assert cache(*CONFIGS, picture(0, True), picture(40), *group) == [*CONFIGS, *group]


def test_the_newest_configuration_of_a_track_takes_the_place_of_the_one_before():
    newer = avc_config(b"three")
    assert cache(*CONFIGS, newer) == [newer, CONFIGS[1]]


def test_nothing_is_kept_before_the_first_key_frame():
    assert cache(*CONFIGS, picture(0), aac_frame(10, b"x")) == CONFIGS


def test_a_broadcast_without_pictures_begins_anywhere():
    last = aac_frame(21, b"y")
    assert cache(CONFIGS[1], aac_frame(0, b"x"), last) == [CONFIGS[1], last]


def test_a_group_that_outgrows_a_bound_is_let_go_until_the_next_key_frame():
    frames = [picture(0, True, 600), picture(40, False, 600)]
    assert cache(*CONFIGS, *frames, picture(80), limit_bytes=1000) == CONFIGS
    assert cache(*CONFIGS, picture(0, True), picture(2000), picture(2040), limit_ms=1000) == CONFIGS
    key = picture(3000, True)
    assert cache(*CONFIGS, *frames, key, limit_bytes=1000) == [*CONFIGS, key]
