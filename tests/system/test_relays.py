"""Who may play where, with real processes and a real player: a cluster whose clocks are five minutes apart."""

from __future__ import annotations

import json

from livestream.push.relay_admission import PLAY_AT_AN_EDGE, PLAY_WITHOUT
from tests.system.cluster import Cluster, ClusterNode
from tests.system.conftest import Site
from tests.system.processes import FFMPEG, Process, until

KEY = "a-key-of-these-tests"
SETTINGS = ("transcode.ladder=[]", f'ingest.keys={{show="{KEY}"}}')
CLOCKS = {"ingest-1": 145, "origin-1": -145, "edge-1": 145}


def _play(cluster: Cluster, node: ClusterNode, query: str = "") -> str:
    """What ffmpeg says that plays a second of the stream; nothing if it got that."""
    log = cluster.site.folder / f"player-{node.id}{len(query)}.log"
    url = f"{node.rtmp}/live/show{query}"
    words = [FFMPEG, "-hide_banner", "-loglevel", "error", "-nostdin", "-i", url, "-t", "1", "-c", "copy"]
    player = cluster.site.run(Process([*words, "-f", "null", "-"], log))
    assert (player.wait(20) != 0) == bool(player.words()), player.words()
    return player.words()


def test_the_push_goes_through_the_tiers_of_a_cluster_and_strangers_get_what_is_for_them(site: Site) -> None:
    cluster = Cluster(site, tuple(CLOCKS), SETTINGS, clocks=CLOCKS)
    ingest, origin, edge = cluster.nodes.values()
    site.publish(f"{ingest.rtmp}/live/show?key={KEY}", 60, gop_s=1)
    until(lambda: '"show"' in json.dumps(edge.daemon.json("/api/v1/streams")), "the edge has heard of it", 20)
    assert _play(cluster, edge) == ""
    assert ingest.daemon.metric("livestream_viewers", protocol="relay") == 1
    assert PLAY_AT_AN_EDGE in _play(cluster, ingest) and PLAY_AT_AN_EDGE in _play(cluster, ingest, "?relay=1")
    assert PLAY_WITHOUT in _play(cluster, edge, "?relay=1") and PLAY_WITHOUT in _play(cluster, origin, "?relay=1")
    assert ingest.daemon.metric("livestream_limits_hit_total", limit="relay") == 2
    assert "relay=" not in "".join(node.daemon.words() for node in cluster.nodes.values())
