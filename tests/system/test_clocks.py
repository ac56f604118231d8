"""Real processes whose clocks are five minutes apart, and a recording that is played to one that has just started."""

from __future__ import annotations

from typing import Any

import pytest

from .cluster import Cluster
from .conftest import Site
from .processes import until
from .viewer import Viewer

KEY = "the key of the show"
SETTINGS = ("transcode.ladder=[]", "hls.segment_s=1", f'ingest.keys={{show="{KEY}"}}')
CLOCKS = {"ingest-1": 145, "ingest-2": -145, "origin-1": -145, "edge-1": 145}


def _nodes(cluster: Cluster, name: str) -> dict[str, Any]:
    """The nodes as the node ``name`` knows them, by their ids."""
    answer: Any = cluster.nodes[name].daemon.json("/api/v1/nodes")
    return {node["id"]: node for node in answer["nodes"]}


def _believed(cluster: Cluster, name: str) -> set[str]:
    return {each["id"] for each in _nodes(cluster, name).values() if each["state"] != "cut_off"}


def _publish(cluster: Cluster, ingest: str) -> None:
    url = f"{cluster.nodes[ingest].rtmp}/live/show?key={KEY.replace(' ', '%20')}"
    cluster.site.publish(url, 60, f"publisher-of-{ingest}", gop_s=1)


def _newest(viewer: Viewer) -> int:
    source = viewer.renditions.get("source")
    return max(source.segments, default=0) if source else 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_publisher_moves_between_ingests_whose_clocks_are_five_minutes_apart(site: Site, sign: int) -> None:
    clocks = {name: sign * clock_s for name, clock_s in CLOCKS.items()}
    cluster = Cluster(site, tuple(CLOCKS), SETTINGS, clocks=clocks)
    for name in CLOCKS:
        cluster.nodes[name].daemon.await_ready()
        until(lambda name=name: _believed(cluster, name) == set(CLOCKS), f"{name} believes all", 10)  # type: ignore[misc]
    assert _nodes(cluster, "ingest-1")["ingest-2"]["clock_ahead_s"] == pytest.approx(-sign * 290, abs=2)
    viewer = Viewer(cluster.nodes["edge-1"].http, "show")
    with viewer.watching():
        _publish(cluster, "ingest-1")
        until(lambda: _newest(viewer) and len(viewer.renditions["source"].segments) > 2, "segments", 20)
        before = _newest(viewer)
        _publish(cluster, "ingest-2")
        source = viewer.renditions["source"]
        until(lambda: any(msn > before for msn in source.discontinuities), "it goes on at the other ingest", 20)
        after = _newest(viewer)
        until(lambda: _newest(viewer) > after + 2, "more segments", 20)
    assert viewer.troubles == [] and viewer.lost("source") == [] and source.gaps == []
    assert len(source.discontinuities) == 1
    for name in ("ingest-1", "ingest-2"):
        assert "does not say how far it is" not in cluster.nodes[name].daemon.words()
