"""Real processes whose clocks are five minutes apart, and a recording that is played to one that has just started."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.system.cluster import Cluster, ClusterNode
from tests.system.conftest import Site
from tests.system.processes import until
from tests.system.viewer import Viewer

KEY = "the key of the show"
SETTINGS = ("transcode.ladder=[]", "hls.segment_s=1", f'ingest.keys={{show="{KEY}"}}')
ABOVE = 'edge.upstreams=[{http="http://127.0.0.1:9"}]'
"""An edge is ready once it has somebody to ask; nothing is asked here."""
CHANNEL = b"livestream:2:nodes"
MESSAGE = re.compile(rb"[0-9a-f]{64} \{[^\r]*\}")
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


def test_a_publisher_moves_to_an_ingest_whose_clock_is_five_minutes_behind(site: Site) -> None:
    cluster = Cluster(site, tuple(CLOCKS), SETTINGS, clocks=CLOCKS)
    for name in CLOCKS:
        until(lambda name=name: _believed(cluster, name) == set(CLOCKS), f"{name} believes all", 10)  # type: ignore[misc]
    assert _nodes(cluster, "ingest-1")["ingest-2"]["clock_ahead_s"] == pytest.approx(-290, abs=2)
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
        assert "did not report its position" not in cluster.nodes[name].daemon.words()


@contextmanager
def _redis(cluster: Cluster, *words: bytes) -> Iterator[socket.socket]:
    """A connection on which Redis has been asked for something."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(cluster.redis.socket))
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in words))
        yield connection


def _record(cluster: Cluster, name: str, count: int) -> Sequence[bytes]:
    """So many messages of a node, as Redis has carried them."""
    heard = b""
    with _redis(cluster, b"SUBSCRIBE", CHANNEL) as connection:
        while True:
            heard += connection.recv(65536)
            messages = [each for each in MESSAGE.findall(heard) if b'"id":"%b"' % name.encode() in each]
            if len(messages) >= count:
                return messages


def test_a_recording_of_a_dead_node_is_not_believed_by_a_process_that_has_just_started(site: Site) -> None:
    cluster = Cluster(site, ("edge-1", "edge-2"), (ABOVE,))
    recording = _record(cluster, "edge-2", 5)
    cluster.nodes["edge-2"].daemon.kill()
    late = cluster.nodes["edge-3"] = ClusterNode("edge-3", "edge", "127.0.0.3")
    cluster.start(late)
    began = time.monotonic()
    until(lambda: "edge-1" in _believed(cluster, "edge-3"), "it believes who lives", 5)
    print(f"believes the others after {time.monotonic() - began:.1f} s")
    for message in recording:
        with _redis(cluster, b"PUBLISH", CHANNEL, message) as connection:
            assert connection.recv(16).startswith(b":")
        assert _believed(cluster, "edge-3") == {"edge-1", "edge-3"}
    unanswered = lambda: late.daemon.metric("livestream_node_messages_total", outcome="unanswered")  # noqa: E731
    until(lambda: unanswered() >= len(recording), "all of it was heard", 5)
    assert _believed(cluster, "edge-3") == {"edge-1", "edge-3"}
    assert _nodes(cluster, "edge-3")["edge-2"]["state"] == "cut_off"
