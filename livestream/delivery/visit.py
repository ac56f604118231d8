"""One viewer's stay with a feed, whatever protocol it speaks: asks, waits, watches, and leaves once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred

from livestream.delivery.backlog import Backlog
from livestream.delivery.feed import Feed, NotLive, Wire
from livestream.delivery.feeds import Feeds
from livestream.delivery.viewer import Outlet, Seat, Viewer
from livestream.model import InvalidName, rendition_name, stream_name


@define(eq=False)
class Visit:
    """Made by :func:`visit`; must be left in the end, watched or not."""

    feeds: Feeds
    feed: Feed
    wire: Wire
    _ready: Deferred[None] | None = field(default=None, init=False)
    _viewer: Viewer | None = field(default=None, init=False)
    _is_paused: bool = field(default=False, init=False)
    _has_left: bool = field(default=False, init=False)

    def ready(self, wait_s: float) -> Deferred[None]:
        """
        Fire when the feed can be watched. It is cancelled by leaving.

        :raises NotLive: it cannot, and did not begin within ``wait_s`` seconds either.
        """
        self._ready = self.feed.ready(self.feeds.clock.seconds() + wait_s)
        return self._ready

    def watch(self, transport: Outlet, seat: Seat) -> None:
        """Have the feed pushed into a transport, from the next tick on."""
        self._ready = None
        limits = self.feeds.limits
        self._viewer = Viewer(transport, seat, Backlog(limits.slow_bytes, round(limits.slow_s * 1000)))
        self.feed.fanout(self.wire).attach(self._viewer)
        self.feeds.metrics.viewers.labels(self.wire.value).inc()

    def pause(self, paused: bool) -> None:
        """Stop or go on, at the viewer's wish; what it has already is no wish."""
        if self._viewer is not None and paused is not self._is_paused:
            self._is_paused = paused
            fanout = self.feed.fanout(self.wire)
            if paused:
                fanout.pause(self._viewer)
            else:
                fanout.resume(self._viewer)

    def spoke(self) -> None:
        """The viewer's connection has written something of its own (see :meth:`Fanout.spoke`)."""
        if self._viewer is not None:
            self.feed.fanout(self.wire).spoke(self._viewer)

    def at_key_frame(self, action: Callable[[], None]) -> None:
        """Have something done when the viewer has been given the next key frame, or now, before it watches."""
        if self._viewer is None:
            action()
        else:
            self.feed.fanout(self.wire).after_key_frame(action)

    def leave(self) -> None:
        """The viewer is gone: its transport must not be written to again."""
        if self._has_left:
            return
        self._has_left = True
        if self._ready is not None:
            self._ready.cancel()
        viewer, self._viewer = self._viewer, None  # which refers to this
        if viewer is not None:
            self.feed.fanout(self.wire).detach(viewer)
            self.feeds.metrics.viewers.labels(self.wire.value).dec()
        self.feeds.left(self.feed)


def visit(feeds: Feeds, stream: str, rendition: str, wire: Wire) -> Visit:
    """
    Begin a viewer's stay with the feed of these names, as the viewer gave them.

    :raises NotLive: there can be no such feed.
    """
    try:
        feed = feeds.join(stream_name(stream), rendition_name(rendition))
    except InvalidName as error:
        raise NotLive(str(error)) from None
    return Visit(feeds, feed, wire)
