"""What the kernel may hold for a viewer, whatever it speaks."""

from __future__ import annotations

import socket

import pytest

from livestream.metrics import Metrics
from livestream.model.admission import PushProtocol
from livestream.push.feed import PushLimits
from livestream.push.feeds import Feeds
from livestream.push.timeline_splice import TimelineOrigin
from tests.push.frames import configs, picture
from tests.push.show import FakeReactor, Player
from tests.push.viewers import come


def live(limits: PushLimits) -> Feeds:
    feeds = Feeds(limits, FakeReactor(), Metrics())
    feed = feeds.begin("show", "source", TimelineOrigin(1))
    for frame in [*configs(), picture(0, True)]:
        feed.add(frame)
    return feeds


def send_buffer(feeds: Feeds, protocol: PushProtocol) -> int:
    """That of a new viewer's socket: what is asked for, which the kernel doubles (socket(7))."""
    player = Player(feeds.clock)  # type: ignore[arg-type]
    stay, _ = come(feeds, protocol=protocol)
    stay.watch(player.transport, player)
    size = player.near.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    stay.leave()
    player.close()
    return size // 2


@pytest.mark.parametrize("protocol", PushProtocol)
def test_a_viewers_send_buffer_is_the_limit_at_the_time(protocol: PushProtocol) -> None:
    feeds = live(PushLimits(send_buffer_bytes=65_536))
    assert send_buffer(feeds, protocol) == 65_536
    feeds.renew(PushLimits(send_buffer_bytes=32_768))
    assert send_buffer(feeds, protocol) == 32_768
