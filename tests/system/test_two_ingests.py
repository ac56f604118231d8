"""One name, two real ingests and one or two encoders, which the ingests tell apart by what they tell each other."""

from __future__ import annotations

from collections.abc import Callable

from .cluster import Cluster
from .conftest import Site
from .encoder import Encoder
from .processes import get, until

NO_LADDER = "transcode.ladder=[]"


def listed(cluster: Cluster, ingest: str) -> Callable[[], bool]:
    """Whether an ingest has a segment of the stream to show."""
    return lambda: b'"segment"' in get(f"{cluster.nodes[ingest].http}/state/show")[2]


def test_a_second_encoder_at_another_ingest_is_refused_for_as_long_as_the_first_publishes(site: Site) -> None:
    cluster = Cluster(site, ("ingest-1", "ingest-2"), [NO_LADDER])
    with Encoder(f"{cluster.nodes['ingest-1'].rtmp}/live/show").running() as first:
        until(listed(cluster, "ingest-1"), "a segment")
        for _ in range(2):
            with Encoder(f"{cluster.nodes['ingest-2'].rtmp}/live/show").running() as second:
                assert second.refusal == "show is being published already at ingest-1"
        assert not first.is_cut
