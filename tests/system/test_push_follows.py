"""The push of a stream whose ingest is frozen: it goes on at the other ingest, as soon as the publisher is there."""

from __future__ import annotations

import signal
import threading
import time

from attrs import define, field

from tests.lab.verifier import PushViewer
from tests.lab.waits import LongestWait
from tests.system.cluster import Cluster, ClusterNode
from tests.system.conftest import Site
from tests.system.processes import until

KEY = "a key of these tests"
SETTINGS = ("transcode.ladder=[]", "hls.segment_s=1", f'ingest.keys={{"*" = "{KEY}"}}')
GOES_ON_S = 2.5


@define(eq=False)
class LastNews(LongestWait):
    """Also has the time of the last event."""

    at_s: float = field(default=0.0, init=False)

    def happened(self, now_s: float) -> None:
        super().happened(now_s)
        self.at_s = now_s


def _publish(site: Site, ingest: ClusterNode) -> float:
    """Publish there, and return when the ingest has taken it."""
    site.publish(f"{ingest.rtmp}/live/show?key={KEY.replace(' ', '%20')}", 60, name=f"to-{ingest.id}", gop_s=1)
    until(lambda: ingest.daemon.metric("livestream_broadcasts") == 1, "a broadcast", 20)
    return time.monotonic()


def test_viewers_go_on_where_the_publisher_has_gone_from_a_frozen_ingest_without_redis(site: Site) -> None:
    cluster = Cluster(site, ("ingest-1", "ingest-2", "origin-1", "edge-1"), SETTINGS, wired=["origin-1"])
    first, second, origin, edge = cluster.nodes.values()
    news, stop = LastNews(), threading.Event()
    viewer = PushViewer(edge.id, (edge.host, edge.http_port), "/live/show.flv", threading.Lock(), news)
    watching = threading.Thread(target=viewer.play, args=(stop,), daemon=True)
    _publish(site, first)
    watching.start()
    try:
        until(lambda: news.at_s, "media", 20)
        connections = viewer.connections  # it may have come before the edge had heard of the broadcast

        cluster.wires["origin-1"].cut()
        first.daemon.kill(signal.SIGSTOP)
        until(lambda: origin.daemon.metric("livestream_relays", state="connecting"), "the frozen ingest is lost", 10)
        came_s = _publish(site, second)
        until(lambda: news.at_s > came_s, "media from where the publisher is", GOES_ON_S)
        print(f"goes on {news.at_s - came_s:.2f} s after the publisher came, silent {news.longest_s:.2f} s in all")
        assert viewer.connections == connections
    finally:
        stop.set()
        watching.join(5)
