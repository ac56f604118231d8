"""Playlists, as an independent reader and a strict player see them."""

from __future__ import annotations

from urllib.parse import urljoin

import m3u8
import pytest
from attrs import evolve

from livestream.packaging.playlist import media_playlist, multivariant
from livestream.packaging.window import Window
from tests.packaging.windows import EPOCH, RUNG, SOURCE, announced, ended
from tests.playlist_rules import PlaylistRules

TEXT = """\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:3
#EXT-X-MEDIA-SEQUENCE:1
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI="1799999000000-init-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T07:43:23.000Z
#EXTINF:3.000,
1799999000000-1.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="1799999000000-init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T07:43:26.000Z
#EXTINF:3.000,
1799999000000-2.m4s
#EXT-X-GAP
#EXTINF:3.000,
gap-3.m4s
#EXT-X-ENDLIST
"""


def _text(window: Window, rendition: str = "source") -> str:
    text = media_playlist(window, rendition)
    assert text is not None
    return text


def test_a_playlist_is_this_text() -> None:
    window = Window("show", 6)
    window.apply([announced(1)])
    window.apply([announced(2, discontinuity=1, init=1)])
    window.apply([announced(3, discontinuity=1, init=1, is_gap=True)])
    window.apply([ended(3)])
    assert _text(window) == TEXT


def test_a_stream_without_a_segment_has_no_playlist() -> None:
    window = Window("show", 6)
    assert multivariant(window) is None
    assert media_playlist(window, "source") is None


def test_the_multivariant_playlist_says_what_a_player_chooses_by() -> None:
    window = Window("show", 6)
    for info in (RUNG, SOURCE):
        window.apply([announced(1, info)])
    read = m3u8.loads(multivariant(window) or "")
    first, second = read.playlists
    assert (first.uri, second.uri) == ("source/index.m3u8", "720p/index.m3u8")
    assert first.stream_info.resolution == (1920, 1080)
    assert (first.stream_info.bandwidth, first.stream_info.average_bandwidth) == (6_000_000, 5_000_000)
    assert (first.stream_info.codecs, first.stream_info.frame_rate) == ("avc1.64002a,mp4a.40.2", 60.0)


def test_a_steered_one_says_whom_to_ask_and_names_its_variants_for_good() -> None:
    window = Window("show", 6)
    for info in (RUNG, SOURCE):
        window.apply([announced(1, info)])
    text = multivariant(window, is_steered=True) or ""
    read = m3u8.loads(text)
    assert (read.content_steering.uri, read.content_steering.pathway_id) == ("../../steer/show", ".")
    for prefix in ("", "/cdn"):
        playlist = f"https://edge.example{prefix}/live/show/master.m3u8"
        assert urljoin(playlist, read.content_steering.uri) == f"https://edge.example{prefix}/steer/show"
    assert [playlist.stream_info.stable_variant_id for playlist in read.playlists] == ["source", "720p"]
    assert [playlist.stream_info.pathway_id for playlist in read.playlists] == [None, None]
    assert text.count("CONTENT-STEERING") == 1
    assert "STEERING" not in (multivariant(window) or "")


def test_only_a_rung_promises_that_every_segment_stands_alone() -> None:
    window = Window("show", 6)
    for info in (RUNG, SOURCE):
        window.apply([announced(1, info)])
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in _text(window, "720p")
    assert "#EXT-X-INDEPENDENT-SEGMENTS" not in _text(window)


def test_a_long_broadcast_with_breaks_gaps_and_a_new_life_breaks_no_rule() -> None:
    window, rules = Window("show", 6), PlaylistRules()
    for msn in range(1, 40):
        epoch = EPOCH if msn < 25 else EPOCH + 5000
        number = (msn // 10) if msn < 25 else 3
        for info in (SOURCE, RUNG):
            is_gap = msn in (7, 8, 20)
            window.apply(
                [announced(msn, info, epoch, 1 if msn < 25 else 25, discontinuity=number, init=number, is_gap=is_gap)]
            )
        for info in (SOURCE, RUNG):
            assert rules.see(info.name, _text(window, info.name), msn * 3.0) == []
            assert m3u8.loads(_text(window, info.name)).target_duration == 3


BROKEN = [
    ("#EXT-X-TARGETDURATION:3", "#EXT-X-TARGETDURATION:4", "the target duration became 4"),
    ("#EXTINF:3.000,\n1799999000000-1", "#EXTINF:3.500,\n1799999000000-1", "segment 1 has 3.5 s, more than"),
    ("#EXT-X-MEDIA-SEQUENCE:1", "#EXT-X-MEDIA-SEQUENCE:0", "it listed 1 up to 4"),
    ("#EXT-X-MEDIA-SEQUENCE:1", "#EXT-X-MEDIA-SEQUENCE:2", "segment 2: uri is"),
    ("-2.m4s", "-5.m4s", "segment 2: uri is 1799999000000-5.m4s"),
    ("#EXT-X-DISCONTINUITY-SEQUENCE:0", "#EXT-X-DISCONTINUITY-SEQUENCE:1", "segment 1: discontinuity is 1"),
    ("#EXT-X-DISCONTINUITY\n", "", "segment 2: discontinuity is 0"),
    ("#EXT-X-PROGRAM-DATE-TIME:2027-01-15T07:43:26.000Z\n", "", "segment 2 has no EXT-X-PROGRAM-DATE-TIME"),
    ("07:43:26.000Z", "07:43:26.500Z", "segment 2: its date is"),
    ('#EXT-X-MAP:URI="1799999000000-init-0.mp4"\n', "", "segment 1 has no EXT-X-MAP"),
    ("#EXT-X-ENDLIST\n", "", "it goes on after its end"),
    ("#EXT-X-VERSION:6", "#EXT-X-MEDIA-SEQUENCE:1", "#EXT-X-MEDIA-SEQUENCE is there 2 times"),
]


@pytest.mark.parametrize(("old", "new", "words"), BROKEN)
def test_the_rules_notice_what_a_player_would(old: str, new: str, words: str) -> None:
    rules = PlaylistRules()
    assert rules.see("source", TEXT, 0) == []
    assert old in TEXT
    assert any(words in broken for broken in rules.see("source", TEXT.replace(old, new, 1), 1))


def test_the_rules_notice_renditions_that_differ_and_a_stall() -> None:
    rules = PlaylistRules()
    rules.see("source", TEXT.replace("#EXT-X-ENDLIST\n", ""), 0)
    other = rules.see("720p", TEXT.replace("#EXTINF:3.000", "#EXTINF:2.000"), 0)
    assert any("segment 1 has 2.0 s, and 3.0 s in source" in broken for broken in other)
    longer = TEXT.replace("#EXT-X-ENDLIST\n", "#EXTINF:3.000,\n1799999000000-4.m4s\n")
    assert any("came 5.0 s after" in broken for broken in rules.see("source", longer, 5))


def test_a_number_that_jumps_counts_as_many_breaks() -> None:
    window, rules = Window("show", 3), PlaylistRules()
    for msn in range(1, 9):
        window.apply([announced(msn, discontinuity=5 if msn > 3 else 2, init=5 if msn > 3 else 2)])
        assert rules.see("source", _text(window), 0) == []
    window = Window("show", 6)
    for msn in (3, 4):
        window.apply([announced(msn, first=3, discontinuity=5 if msn > 3 else 2)])
    assert _text(window).count("#EXT-X-DISCONTINUITY\n") == 3


def test_the_rules_notice_time_that_goes_back_and_a_new_map_without_a_break() -> None:
    rules = PlaylistRules()
    back = TEXT.replace("07:43:26.000Z", "07:43:23.000Z")
    assert any("dated before the end" in broken for broken in rules.see("source", back, 0))
    rules = PlaylistRules()
    unbroken = TEXT.replace("#EXT-X-DISCONTINUITY\n", "")
    assert any("another EXT-X-MAP" in broken for broken in rules.see("source", unbroken, 0))


def test_dynamic_ranges_are_told_as_soon_as_one_is_not_sdr() -> None:
    window = Window("show", 6)
    window.apply([announced(1, info=RUNG), announced(1, info=SOURCE)])
    assert "VIDEO-RANGE" not in (multivariant(window) or "")
    window.apply([announced(2, info=RUNG), announced(2, info=evolve(SOURCE, video_range="PQ"))])
    found = [playlist.stream_info.video_range for playlist in m3u8.loads(multivariant(window) or "").playlists]
    assert found == ["PQ", "SDR"]


def test_a_rendition_without_pictures_has_no_dynamic_range() -> None:
    window = Window("show", 6)
    sound = evolve(RUNG, width=0, height=0, frame_rate=0.0)
    window.apply([announced(1, info=evolve(SOURCE, video_range="HLG")), announced(1, info=sound)])
    lines = [line for line in (multivariant(window) or "").splitlines() if line.startswith("#EXT-X-STREAM-INF")]
    assert ["VIDEO-RANGE=HLG" in lines[0], "VIDEO-RANGE" in lines[1]] == [True, False]


def test_a_size_that_changes_is_that_of_the_newest_segment() -> None:
    window = Window("show", 6)
    window.apply([announced(1), announced(2, info=evolve(SOURCE, width=640, height=360), discontinuity=1, init=1)])
    assert "RESOLUTION=640x360" in (multivariant(window) or "")
    window.apply([announced(1)])
    assert "RESOLUTION=640x360" in (multivariant(window) or "")
