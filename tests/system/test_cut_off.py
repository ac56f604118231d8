"""A node that loses Redis alone: everybody reaches it, so the broadcast goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.system.cluster import Cluster
from tests.system.conftest import Site
from tests.system.processes import until
from tests.system.viewer import Viewer

CUT_S = 8
STALL_S = 5
SETTINGS = ("transcode.ladder=[]", "hls.segment_s=1")


def _nodes(cluster: Cluster, name: str) -> dict[str, Any]:
    """The nodes as the node ``name`` knows them, by their ids."""
    answer: Any = cluster.nodes[name].daemon.json("/api/v1/nodes")
    return {node["id"]: node for node in answer["nodes"]}


@pytest.mark.parametrize("cut_off", ["ingest-1", "origin-1"])
def test_a_broadcast_goes_on_while_one_of_its_nodes_is_cut_off_from_redis(site: Site, cut_off: str) -> None:
    names = ("ingest-1", "origin-1", "edge-1")
    cluster = Cluster(site, names, SETTINGS, wired=[cut_off])
    viewer = Viewer(cluster.nodes["edge-1"].http, "show")
    newest = lambda: max(viewer.renditions["source"].segments, default=0) if viewer.renditions else 0  # noqa: E731
    with viewer.watching():
        cluster.site.publish(f"{cluster.nodes['ingest-1'].rtmp}/live/show", 60, gop_s=1)
        until(newest, "a segment", 20)
        first = newest()
        until(lambda: newest() > first + 2, "some segments", 20)

        cluster.wires[cut_off].cut()
        began, before = time.monotonic(), newest()
        until(lambda: _nodes(cluster, "edge-1")[cut_off]["cut_off_since"], "it is said to be cut off", 6)
        ready: Any = cluster.nodes[cut_off].daemon.json("/readyz")
        assert ready["ready"] and ready["warnings"][0].startswith("cut off from the bus since")
        assert _nodes(cluster, cut_off)[cut_off]["cut_off_since"]
        until(lambda: time.monotonic() - began > CUT_S, "the end of the cut", CUT_S + 5)
        assert _nodes(cluster, "edge-1")[cut_off]["state"] == "cut_off"
        assert newest() >= before + CUT_S - STALL_S

        cluster.wires[cut_off].mend()
        until(lambda: _nodes(cluster, "edge-1")[cut_off]["state"] == "ready", "it is heard again", 10)
        again = newest()
        until(lambda: newest() > again + 2, "more segments", 20)
    source = viewer.renditions["source"]
    print(f"longest list {source.oldest_s:.1f} s old")
    assert source.oldest_s < STALL_S
    assert viewer.lost("source") == [] and source.gaps == [] and len(source.discontinuities) == 0


def test_a_broadcast_that_begins_at_an_ingest_that_is_cut_off_is_found_also_by_who_starts_later(site: Site) -> None:
    cluster = Cluster(site, ("ingest-1", "origin-1", "edge-1"), SETTINGS, wired=["ingest-1"])
    cluster.wires["ingest-1"].cut()
    until(lambda: _nodes(cluster, "origin-1")["ingest-1"]["state"] == "cut_off", "it is cut off", 6)
    cluster.nodes["origin-1"].daemon.kill()
    cluster.start(cluster.nodes["origin-1"])
    viewer = Viewer(cluster.nodes["edge-1"].http, "show")
    with viewer.watching():
        cluster.site.publish(f"{cluster.nodes['ingest-1'].rtmp}/live/show", 30, gop_s=1)
        until(lambda: viewer.renditions and len(viewer.renditions["source"].segments) > 3, "segments", 15)
