"""One viewer's playback of a feed, whatever protocol it speaks."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from livestream.model.admission import PushProtocol
from livestream.net.tcp import TcpTuning, tune
from livestream.push.backlog import Backlog
from livestream.push.fanout import Fanout
from livestream.push.feed import Feed
from livestream.push.feeds import Feeds
from livestream.push.viewer import Viewer, ViewerConnection, ViewerTransport


@define(eq=False)
class PlaybackSession:
    """
    A viewer that has been admitted to a feed with frames (see `livestream.push.viewer_admission`).

    It must be ended by :meth:`leave`, whether or not it was played.
    """

    feeds: Feeds
    feed: Feed
    protocol: PushProtocol
    _fanout: Fanout = field(init=False)
    _viewer: Viewer | None = field(default=None, init=False)
    _is_paused: bool = field(default=False, init=False)
    _has_left: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._fanout = self.feed.fanout(self.protocol)

    def play(self, transport: ViewerTransport, connection: ViewerConnection) -> None:
        """Push the feed into a transport, from the next tick on."""
        limits = self.feeds.limits
        self._viewer = Viewer(transport, connection, Backlog(limits.slow_bytes, round(limits.slow_s * 1000)))
        if self._viewer.direct is not None:
            tune(transport, TcpTuning(limits.send_buffer_bytes))
        self._fanout.attach(self._viewer)
        self.feeds.metrics.viewers.labels(self.protocol.value).inc()

    def pause(self, paused: bool) -> None:
        """Pause or resume, at the viewer's request; a request for what is so already does nothing."""
        if self._viewer is not None and paused is not self._is_paused:
            self._is_paused = paused
            if paused:
                self._fanout.pause(self._viewer)
            else:
                self._fanout.resume(self._viewer)

    def wrote(self) -> None:
        """The viewer's connection has written a message of its own (see :meth:`Fanout.wrote`)."""
        if self._viewer is not None:
            self._fanout.wrote(self._viewer)

    def at_key_frame(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the next key frame has been sent."""
        self._fanout.after_key_frame(action)

    def leave(self) -> None:
        """End the session: its transport must not be written to again."""
        if self._has_left:
            return
        self._has_left = True
        viewer, self._viewer = self._viewer, None  # which refers to this
        if viewer is not None:
            self._fanout.detach(viewer)
            self.feeds.metrics.viewers.labels(self.protocol.value).dec()
        self.feeds.leave(self.feed)
        self.feeds.audience -= 1
