"""Two ingests and two origins of one cluster: whichever of them dies, the broadcast and its push go on."""

from __future__ import annotations

import time

from livestream.steering.nodes import Node
from livestream.steering.rendezvous import ranked
from tests.system.cluster import Cluster
from tests.system.conftest import Site
from tests.system.processes import FFMPEG, Process, until
from tests.system.viewer import Viewer

NAMES = ("ingest-1", "ingest-2", "origin-1", "origin-2", "edge-1")
KEY = "the key of the show"
SETTINGS = ("transcode.ladder=[]", "hls.segment_s=1", f'ingest.keys={{show="{KEY}"}}')
GOP_S = 1
ENOUGH = 6
"""So many segments of a second tell which origin is asked."""


def _publish(cluster: Cluster, ingest: str, name: str) -> None:
    url = f"{cluster.nodes[ingest].rtmp}/live/show?key={KEY.replace(' ', '%20')}"
    cluster.site.publish(url, 60, name, gop_s=GOP_S)


def _newest(viewer: Viewer) -> int:
    source = viewer.renditions.get("source")
    return max(source.segments, default=0) if source else 0


def _await_more(viewer: Viewer, count: int) -> int:
    """Wait for so many segments more; return the newest number."""
    wanted = max(_newest(viewer), 1) + count
    until(lambda: _newest(viewer) >= wanted, f"{count} segments", 20)
    return _newest(viewer)


def _play(cluster: Cluster) -> Process:
    """A player of the push, by FLV."""
    url = f"{cluster.nodes['edge-1'].http}/live/show.flv"
    log = cluster.site.folder / "player.log"
    return cluster.site.run(Process([FFMPEG, "-nostdin", "-i", url, "-c", "copy", "-f", "null", "-"], log))


def _await_push(cluster: Cluster) -> None:
    """Wait until more is pushed to the player."""
    pushed = lambda: cluster.nodes["edge-1"].daemon.metric("livestream_push_bytes_total", protocol="flv")  # noqa: E731
    wanted = pushed() + 50_000
    until(lambda: pushed() > wanted, "the push goes on", 20)


def test_an_origin_and_an_ingest_are_killed_and_viewers_stay_and_get_every_number(site: Site) -> None:
    cluster = Cluster(site, NAMES, SETTINGS)
    origins = [Node(name, "origin", cluster.nodes[name].http) for name in NAMES if name.startswith("origin")]
    first, second = (cluster.nodes[node.id] for node in ranked("show", origins))
    viewer = Viewer(cluster.nodes["edge-1"].http, "show")
    with viewer.watching():
        _publish(cluster, "ingest-1", "publisher")
        until(lambda: viewer.renditions and _newest(viewer), "a segment", 20)
        _await_more(viewer, 2)
        player = _play(cluster)
        _await_push(cluster)
        asked = lambda node: node.daemon.metric("livestream_http_requests_total", kind="segment")  # noqa: E731
        until(lambda: asked(first) >= ENOUGH, "the first choice is asked", 20)
        assert asked(second) < ENOUGH / 2  # for what the first had not heard of yet

        first.daemon.kill()
        killed_at = time.monotonic()
        _await_push(cluster)
        _await_more(viewer, 2)
        assert viewer.troubles == []
        cluster.start(first)
        first.daemon.await_ready()

        cluster.nodes["ingest-1"].daemon.kill()
        before = _newest(viewer)
        _publish(cluster, "ingest-2", "second")
        source = viewer.renditions["source"]
        until(lambda: any(msn > before for msn in source.discontinuities), "it goes on at the other ingest", 20)
        _await_more(viewer, 2)
        _await_push(cluster)
        assert player.child.poll() is None, player.words()

        until(lambda: asked(first) > 0, "the stream is at its first choice again", 20)
        print(f"back after {time.monotonic() - killed_at:.1f} s, longest list {source.oldest_s:.1f} s old")
    assert [trouble for trouble in viewer.troubles if "came" not in trouble] == []  # but late, as its publisher was
    assert viewer.lost("source") == [] and source.gaps == []
    assert len(source.discontinuities) == 1
