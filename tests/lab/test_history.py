"""The history of what edges list finds what is planted in it, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from tests.lab.history import History
from tests.playlist_rules import Playlist, read

DATE = "2026-11-30T12:00:{:02}.000+00:00"


def playlist(msn: int, names: Sequence[str], discontinuity: int = 0, gaps: Sequence[str] = ()) -> Playlist:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{msn}"]
    lines += [f"#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity}", '#EXT-X-MAP:URI="init.mp4"']
    lines += [f"#EXT-X-PROGRAM-DATE-TIME:{DATE.format(msn)}"]
    for name in names:
        lines += [*(["#EXT-X-GAP"] if name in gaps else []), "#EXTINF:1.0,", name]
    return read("\n".join(lines))


def seen(history: History, edge: str, *playlists: Playlist) -> None:
    """Let an edge answer with these, a second apart, and everything be fetched."""
    for now_s, one in enumerate(playlists):
        history.see(edge, one, now_s)
        for segment in one.segments:
            if not segment.is_gap:
                history.fetched(edge, segment.msn, f"digest of {segment.uri}", float(segment.msn))


def test_two_edges_that_agree_have_no_troubles() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(1, "abc"), playlist(2, "bcd"), playlist(3, "cde"))
    seen(history, "edge-2", playlist(2, "bcd"), playlist(3, "cde"))
    assert (history.conflicts, history.regressions) == ({}, [])
    assert history.lost() | history.holes() | history.gaps() == set()
    assert history.edge("edge-1").growth.longest_s == 1


def test_a_number_that_two_edges_list_otherwise_is_a_conflict() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(1, "abc"))
    seen(history, "edge-2", playlist(1, "abd"))
    assert list(history.conflicts) == [("edge-2", 3)]


def test_a_number_that_changes_on_one_edge_is_a_conflict() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(1, "abc"), playlist(2, "bd"))
    assert list(history.conflicts) == [("edge-1", 3)]


def test_other_bytes_under_the_same_name_are_a_conflict() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(1, "abc"))
    seen(history, "edge-2", playlist(1, "ab"))
    history.fetched("edge-2", 2, "the digest of something else", None)
    assert list(history.conflicts) == [("edge-2", 2)]


def test_what_goes_back_is_a_regression() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(2, "bcd", 5), playlist(1, "abc", 5))
    seen(history, "edge-2", playlist(2, "bcd", 5), playlist(3, "cde", 4))
    assert len(history.regressions) == 2


def test_numbers_that_an_edge_never_listed_are_lost() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(1, "abc"), playlist(6, "fgh"))
    assert history.lost() == {4, 5}


def test_numbers_that_passed_while_an_edge_was_away_are_not_lost() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(1, "abc"))
    history.edge("edge-1").leave()
    history.edge("edge-1").is_away = False
    seen(history, "edge-1", playlist(6, "fgh"), playlist(12, "lmn"))
    assert history.lost() == {9, 10, 11}


def test_a_segment_that_cannot_be_fetched_is_lost() -> None:
    history = History("show")
    history.see("edge-1", playlist(1, "ab"), 0)
    history.fetched("edge-1", 1, "digest of a", None)
    assert history.lost() == {2}


def test_a_gap_is_lost_where_another_edge_has_media() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(1, "abc", gaps="bc"))
    seen(history, "edge-2", playlist(1, "abc", gaps="b"))
    assert history.lost() == {3}
    assert history.gaps() == {2, 3}
    assert list(history.conflicts) == [("edge-2", 3)]


def test_media_that_does_not_go_on_where_it_ended_is_a_hole() -> None:
    history = History("show")
    seen(history, "edge-1", playlist(1, "abc"))
    history.fetched("edge-1", 3, "digest of c", 4.0)
    assert history.holes() == {3}
