"""Whatever moves, dies, restarts, forgets or is cut off: no number ever changes, differs or goes back on any edge."""

from __future__ import annotations

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred

from livestream.bus.published import PublishedStreams
from livestream.ingest.pending_announcements import PendingAnnouncements, _Pending
from livestream.model.segments import Announcement, SegmentAnnounced
from livestream.packaging.numbering import Epochs
from tests.histories.world import World

FAULTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "Redis is unavailable": ("redis away",),
    "Redis forgets": ("redis forgets",),
    "an ingest is cut off from Redis": ("A-R",),
    "an ingest is cut off from Redis and the other ingest": ("A-R", "A-B"),
    "an ingest is cut off from Redis and an origin": ("A-R", "O1-A", "O1-R"),
    "an ingest is cut off from Redis and dies": ("A-R", "an ingest dies"),
    "an ingest dies": ("an ingest dies",),
    "Redis is unavailable and the ingests are cut off from each other": ("redis away", "A-B"),
    "Redis forgets and an ingest is cut off from it": ("redis forgets", "A-R"),
    "any links are cut": ("cuts",),
    "any links are cut, an ingest dies and Redis forgets": ("cuts", "an ingest dies", "redis forgets"),
    "an origin restarts": ("an origin restarts", "cuts"),
}
SEEDS = (*range(12), 1010)
"""In the last one an edge hears of a stream's second segment before its first."""


@pytest.mark.parametrize("stays", [False, True], ids=["one encoder", "two encoders compete"])
@pytest.mark.parametrize("faults", FAULTS)
def test_one_stream_has_one_history_and_what_an_origin_had_is_listed(faults: str, stays: bool) -> None:
    for seed in SEEDS:
        world = World(seed, FAULTS[faults], stays=stays).run()
        assert world.is_sound, "\n".join([f"seed {seed}: {dict(world.troubles)}", *world.said])
        assert all(edge.ever for edge in world.edges.values())


@pytest.mark.parametrize("faults", FAULTS)
def test_without_a_cluster_the_word_of_redis_is_enough_for_one_history(faults: str) -> None:
    for seed in SEEDS:
        world = World(seed, FAULTS[faults], has_cluster=False).run()
        assert world.is_consistent, "\n".join([f"seed {seed}: {dict(world.troubles)}", *world.said])


def test_nothing_is_lost_while_nothing_fails() -> None:
    for seed in range(40):
        assert not World(seed).run().troubles


def _troubles(*faults: str) -> set[str]:
    """What goes wrong in any of some histories."""
    return {kind for seed in range(60) for kind in World(seed, faults, stays=True).run().troubles}


def test_a_reader_that_corrects_a_number_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    announce = PublishedStreams.announce

    def lifting(published: PublishedStreams, announcement: Announcement) -> None:
        if isinstance(announcement, SegmentAnnounced) and published.node == "O1" and announcement.segment.msn % 8 == 0:
            segment = announcement.segment
            announcement = evolve(announcement, segment=evolve(segment, msn=segment.msn + 1))
        announce(published, announcement)

    monkeypatch.setattr(PublishedStreams, "announce", lifting)
    assert {"two edges differ", "a listed number changed"} & _troubles()


def test_a_number_that_is_shown_before_it_is_accepted_and_then_taken_back_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = PendingAnnouncements._submit

    def early(offers: PendingAnnouncements, offer: _Pending) -> Deferred[bool]:
        offers.commit(offer.announcement)
        return add(offers, offer)

    monkeypatch.setattr(PendingAnnouncements, "_submit", early)
    assert "shown, and then another's" in _troubles("an origin restarts")


def test_a_promise_that_is_forgotten_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Epochs, "refusal", lambda *_: None)
    assert {"two edges differ", "a listed number changed"} & _troubles("redis away", "A-B")
