"""One name, two real ingests and one or two encoders, which the ingests tell apart by what they tell each other."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from livestream.ingest.takeovers import MAX_TAKEOVERS
from tests.system.cluster import Cluster
from tests.system.conftest import Site
from tests.system.encoder import Encoder
from tests.system.processes import get, until

SETTINGS = ("transcode.ladder=[]", "hls.segment_s=1")
KEY = "a key of these tests"
KEYS = f'ingest.keys={{"*" = "{KEY}"}}'


def epochs(cluster: Cluster, ingest: str) -> set[int]:
    """The epochs in which an ingest has segments to show."""
    status, _, text = get(f"{cluster.nodes[ingest].http}/state/show")
    known = map(json.loads, text.splitlines()) if status == 200 else ()
    return {told["epoch"] for told in known if told["kind"] == "segment"}


def test_a_second_encoder_at_another_ingest_is_refused_for_as_long_as_the_first_publishes(site: Site) -> None:
    cluster = Cluster(site, ("ingest-1", "ingest-2"), SETTINGS)
    with Encoder(f"{cluster.nodes['ingest-1'].rtmp}/live/show").running() as first:
        until(lambda: epochs(cluster, "ingest-1"), "a segment")
        for _ in range(2):
            with Encoder(f"{cluster.nodes['ingest-2'].rtmp}/live/show").running() as second:
                assert second.refusal == "show is already being published at ingest-1"
        assert not first.is_cut


@pytest.mark.parametrize("key", ["", KEY], ids=["without keys", "with keys"])
def test_an_encoder_that_goes_from_one_ingest_to_the_other_is_let_in_at_once(site: Site, key: str) -> None:
    cluster = Cluster(site, ("ingest-1", "ingest-2"), [*SETTINGS, *([KEYS] if key else [])])
    query = f"?key={quote(key)}" if key else ""
    for turn in range(MAX_TAKEOVERS + 2):
        ingest = f"ingest-{turn % 2 + 1}"
        before = epochs(cluster, ingest)
        with Encoder(f"{cluster.nodes[ingest].rtmp}/live/show{query}").running() as encoder:
            assert encoder.refusal == ""
            until(lambda: epochs(cluster, ingest) - before, "a segment of this turn")  # noqa: B023
            encoder.leave(in_order=turn % 4 < 2)


def test_two_encoders_with_the_same_key_at_two_ingests_do_not_fight_for_ever(site: Site) -> None:
    cluster = Cluster(site, ("ingest-1", "ingest-2"), [*SETTINGS, KEYS])
    refusals = []
    for turn in range(2 * MAX_TAKEOVERS + 2):
        ingest = f"ingest-{turn % 2 + 1}"
        before = epochs(cluster, ingest)
        encoder = site.enter(Encoder(f"{cluster.nodes[ingest].rtmp}/live/show?key={quote(KEY)}").running())
        refusals.append(encoder.refusal)
        if encoder.refusal:
            break
        until(lambda: epochs(cluster, ingest) - before, "a segment of this turn")  # noqa: B023
    assert refusals[-1] == "show: two encoders compete for this name; stop one of them"
    assert len(refusals) > MAX_TAKEOVERS
