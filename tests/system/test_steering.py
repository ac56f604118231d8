"""Viewers of a real cluster are told which edge to use, and move while they watch."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.system.cluster import Cluster, ClusterNode
from tests.system.conftest import Site
from tests.system.processes import Process, get, until
from tests.system.test_watch_page import CHROMIUM

GOP_S = 2
NAMES = ("ingest-1", "origin-1", "edge-1", "edge-2")


def _drain(cluster: Cluster, name: str) -> None:
    url = f"http://127.0.0.1:{cluster.nodes[name].daemon.ops}/drain"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
        assert answer.status in (200, 202)


def _order(cluster: Cluster) -> list[str]:
    """The edges for a viewer, as a gateway is told them."""
    known = cluster.nodes["edge-2"].daemon.json("/api/v1/route?stream=show&address=192.0.2.1")
    assert isinstance(known, dict)
    return [edge["node"] for edge in known["edges"]]


def _pathways(node: ClusterNode) -> list[str]:
    """Where a node tells a player of edge-1 to play, best first."""
    pathways: list[str] = json.loads(get(f"{node.http}/steer/show?base=edge-1")[2])["PATHWAY-PRIORITY"]
    return pathways


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="no Chromium: apt-get install chromium")
def test_a_page_goes_on_from_another_edge_when_its_own_drains_with_the_player_it_has(site: Site) -> None:
    cluster = Cluster(site, NAMES, ["transcode.ladder=[]", "hls.segment_s=1", "cluster.drain_s=60"])
    first, second = cluster.nodes["edge-1"], cluster.nodes["edge-2"]
    site.publish(f"{cluster.nodes['ingest-1'].rtmp}/live/show", 90, gop_s=GOP_S)
    playlist = f"{first.http}/live/show/master.m3u8"
    until(lambda: b"CONTENT-STEERING" in get(playlist)[2], "a broadcast", 40)
    until(lambda: sorted(_order(cluster)) == ["edge-1", "edge-2"], "both edges known to each other")
    assert get(playlist)[2] == get(f"{second.http}/live/show/master.m3u8")[2]
    looker = site.run(_browser(f"{first.http}/watch/show", second.http, site.folder))
    until(lambda: "playing" in looker.words() or looker.child.poll() is not None, "a page that plays", 40)
    _drain(cluster, "edge-1")
    until(lambda: _order(cluster) == ["edge-2", "edge-1"], "edge-1 is the last choice")
    for node in cluster.nodes.values():
        until(lambda node=node: _pathways(node) == ["edge-2", "."], "every node hears of it")  # type: ignore[misc]
        assert get(f"{node.http}/go/live/show/master.m3u8")[1]["cache-status"].startswith("edge-2;")
    assert looker.wait(40) == 0, looker.words()
    said = json.loads(looker.words().splitlines()[-1])
    print(said)
    assert (said["restarts"], said["state"]) == (0, "Live")
    assert said["skipped"] < 1.5 * GOP_S, "hls.js may take a segment that is on its way for an empty one, and no more"


def _browser(url: str, elsewhere: str, folder: Path) -> Process:
    script = Path(__file__).parent / "browser.py"
    arguments = [sys.executable, "-u", str(script), "steered", url, str(folder / "page.png"), elsewhere]
    return Process(arguments, folder / "browser.log", {"CHROMIUM": CHROMIUM or "/usr/bin/chromium"})
