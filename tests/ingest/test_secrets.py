"""A publishing key is not in the log, whatever part of the URL it was typed into."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs, formatEvent

from livestream.ingest.keys import PublishKeys
from livestream.ingest.publish_admission import PublishAdmission
from livestream.ingest.rtmp import RtmpPublishing
from livestream.ingest.takeovers import Takeovers
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.push.feed import PushLimits
from livestream.push.feeds import Feeds
from livestream.push.relay_admission import NearRelays, RelayAdmission
from livestream.push.rtmp import RtmpPlaying
from livestream.push.viewer_admission import ViewerAdmission
from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import PeerRefused
from tests.ingest.test_publish_admission import FakeRegistry
from tests.net.rtmp.test_connection import Peer, Scene

KEY = "hush-hush-hush"
WAYS = [
    ("live", f"show?key={KEY}x"),
    ("live", f"show?{KEY}"),
    ("live", f"show&key={KEY}"),
    ("live", f"show/{KEY}"),
    ("live", KEY),
    ("live", f"?key={KEY}"),
    ("live", f"%3Fkey={KEY}"),
    (f"live/{KEY}", "show"),
    (f"live?key={KEY}", "show"),
    (KEY, "show"),
    (f"live/show?key={KEY}", ""),
    ("", KEY),
]


def port() -> Scene:
    """A port of an ingest that has a key, and streams that may be watched."""
    scene = Scene()
    takeovers = Takeovers(scene.clock)
    keys = PublishKeys({"show": KEY})
    admission = PublishAdmission(keys, FakeRegistry(), scene.clock, scene.metrics, 2, takeovers)
    feeds = Feeds(PushLimits(), scene.clock, scene.metrics)
    play = RtmpPlaying(ViewerAdmission(feeds), RelayAdmission(NearRelays(()), True, scene.clock.seconds))
    scene.factory = RtmpServerFactory(RtmpPublishing(admission), play, RtmpLimits(), scene.clock, scene.metrics)
    return scene


@pytest.mark.parametrize("publishes", [True, False], ids=["publish", "play"])
@pytest.mark.parametrize(("app", "name"), WAYS)
def test_a_refusal_is_logged_without_what_was_typed(app: str, name: str, publishes: bool) -> None:
    scene = port()
    with capturedLogs() as logged:
        peer = scene.connect()
        peer.client = ClientSession(b"c", app, f"rtmp://x/{app}", name, publishes)
        peer.run()
        peer.connection.connectionLost()
        scene.clock.advance(10)  # plays that are refused are logged together
    assert [type(event) for event in peer.told] == [PeerRefused]
    [line] = [str(formatEvent(event)) for event in logged]
    assert ("refused: " if publishes else "such as an RTMP play from 192.0.2.1") in line
    assert KEY not in repr(logged)


def test_the_right_key_is_not_logged_either() -> None:
    scene = port()
    with capturedLogs() as logged:
        peer: Peer = scene.connect()
        peer.client = ClientSession(b"c", "live", "rtmp://x/live", f"show?key={KEY}", True)
        peer.run()
        peer.connection.connectionLost()
    assert str(formatEvent(logged[0])) == "192.0.2.1 publishes show"
    assert KEY not in repr(logged)
